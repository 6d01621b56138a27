"""A folder of pictures as frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtmatte.clock import ManualClock
from rtmatte.errors import SourceError
from rtmatte.imaging import save_png
from rtmatte.sources.folder import FolderSource


def grey(level: int, width: int = 8, height: int = 6) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((height, width, 3), level, np.uint8)


def test_numbers_in_names_count_by_value(tmp_path: Path) -> None:
    for number, name in enumerate(["2.png", "10.png", "a9.png", "a10.png", "b.png"]):
        save_png(tmp_path / name, grey(number))

    with FolderSource(tmp_path, ManualClock(), fps=10) as source:
        frames = list(source)

    assert [frame.pixels[0, 0, 0] for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.seq for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.pts for frame in frames] == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_hidden_and_other_files_are_left_out(tmp_path: Path) -> None:
    save_png(tmp_path / "1.PNG", grey(1))
    save_png(tmp_path / "._1.png", grey(2))
    (tmp_path / "notes.txt").write_text("no picture")

    with FolderSource(tmp_path, ManualClock()) as source:
        assert (source.frame_count, len(list(source))) == (1, 1)


def test_each_picture_keeps_its_size(tmp_path: Path) -> None:
    save_png(tmp_path / "1.png", grey(1, 8, 6))
    save_png(tmp_path / "2.png", grey(1, 1, 1))

    with FolderSource(tmp_path, ManualClock()) as source:
        assert source.size == (8, 6)
        assert [frame.size for frame in source] == [(8, 6), (1, 1)]


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    save_png(tmp_path / "1.png", grey(1))
    (tmp_path / "2.png").write_bytes(b"no picture")

    with FolderSource(tmp_path, ManualClock()) as source, pytest.raises(SourceError, match=r"2\.png"):
        list(source)


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="found none"):
        FolderSource(tmp_path, ManualClock())


def test_closing_ends_the_iteration(tmp_path: Path) -> None:
    for number in range(3):
        save_png(tmp_path / f"{number}.png", grey(number))
    source = FolderSource(tmp_path, ManualClock())

    frames = iter(source)
    next(frames)
    source.close()

    assert list(frames) == []
