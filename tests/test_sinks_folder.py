"""A folder of numbered PNG files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.errors import SinkError
from rtmatte.frame import Frame
from rtmatte.sinks.folder import FolderSink


def frame(pixels: NDArray[Any], seq: int = 0) -> Frame:
    return Frame(seq, pixels, 0.0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_frames_are_numbered_without_holes_in_folders_made_for_them(tmp_path: Path) -> None:
    with FolderSink(tmp_path / "a" / "b") as sink:
        for seq in (0, 3, 9):
            sink.write(frame(np.zeros((2, 3, 3), np.uint8), seq))

    assert names(tmp_path / "a" / "b") == ["0000.png", "0001.png", "0002.png"]


@pytest.mark.parametrize("order", [[0], [2, 1, 0], [2, 1, 0, 3]], ids=["grey", "rgb", "rgba"])
def test_pixels_come_back_as_they_were(tmp_path: Path, order: list[int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, len(order)), np.uint8)

    with FolderSink(tmp_path) as sink:
        sink.write(frame(pixels))

    found = cv2.imread(str(tmp_path / "0000.png"), cv2.IMREAD_UNCHANGED)
    assert found is not None
    np.testing.assert_array_equal(found, pixels[..., order].squeeze())  # OpenCV reads blue first


def test_float_pixels_are_rounded(tmp_path: Path) -> None:
    with FolderSink(tmp_path) as sink:
        sink.write(frame(np.full((2, 3, 3), 99.6, np.float32)))

    found = cv2.imread(str(tmp_path / "0000.png"))
    assert found is not None
    assert found.min() == found.max() == 100


def test_an_earlier_output_is_replaced_as_a_whole_with_the_first_frame(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number:04d}.png").write_bytes(b"old")

    sink = FolderSink(tmp_path)
    assert names(tmp_path) == ["0000.png", "0001.png", "0002.png"]
    sink.write(frame(np.zeros((2, 3, 3), np.uint8)))

    assert names(tmp_path) == ["0000.png"]


@pytest.mark.parametrize("name", ["holiday.jpg", "1.png", "0000.png.txt"])
def test_a_folder_with_anything_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"precious")
    (tmp_path / "0000.png").write_bytes(b"old")

    with pytest.raises(SinkError, match=name):
        FolderSink(tmp_path)

    assert names(tmp_path) == sorted([name, "0000.png"])


def test_a_file_in_the_way_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")

    with pytest.raises(SinkError, match="cannot write the folder") as caught:
        FolderSink(tmp_path / "out")

    assert "\n" not in str(caught.value)


def test_a_folder_without_permission_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(SinkError, match="Permission denied"):
        FolderSink(tmp_path)


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    (tmp_path / "0000.png").mkdir()

    with pytest.raises(SinkError, match=r"0000\.png"):
        sink.write(frame(np.zeros((2, 3, 3), np.uint8)))
