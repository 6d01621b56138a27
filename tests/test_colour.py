"""Colours through files: read as they were meant, and the same again after a whole path from file to file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.clock import ManualClock
from rtmatte.colour import Colour, Matrix
from rtmatte.frame import Frame
from rtmatte.sinks.video import VideoSink
from rtmatte.sources.file import FileSource
from tests.assertions import assert_colours, assert_media_times, assert_path_colours
from tests.video_files import patches, write_video

COLOURS = [Colour(matrix, full_range) for matrix in (Matrix.BT601, Matrix.BT709) for full_range in (False, True)]


def frames_of(path: Path) -> list[Frame]:
    """Returns the frames of a short file, in memory of their own."""
    with FileSource(path, ManualClock()) as source:
        return [replace(frame, pixels=frame.pixels.copy()) for frame in source]


def copied(path: Path, output: Path, colour: Colour | None = None) -> list[Frame]:
    """Returns the frames of `output`, made of the untouched frames of `path`."""
    source = FileSource(path, ManualClock())
    with source, VideoSink(output, size=source.size, fps=source.fps, colour=colour) as sink:
        for frame in source:
            sink.write(frame)
    return frames_of(output)


def tags_of(path: Path) -> tuple[int, int]:
    """Returns the codes of matrix and range that a file carries."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.colorspace, context.color_range


def test_matrices_are_known_by_their_codes_and_guessed_by_height() -> None:
    def matrix(code: int, height: int) -> Matrix:
        return Colour.of(code, full_range=False, height=height).matrix

    assert [matrix(code, 480) for code in (1, 4, 5, 6, 9)] == [
        Matrix.BT709,
        Matrix.BT601,
        Matrix.BT601,
        Matrix.BT601,
        Matrix.BT2020,
    ]
    assert [matrix(2, height) for height in (480, 719, 720, 2160)] == [Matrix.BT601] * 2 + [Matrix.BT709] * 2


@pytest.mark.parametrize("colour", COLOURS, ids=str)
def test_a_tagged_file_is_read_in_its_own_colours(tmp_path: Path, colour: Colour) -> None:
    path = write_video(tmp_path / "clip.mkv", [patches()], colour=colour)

    assert_colours(frames_of(path)[0].pixels, patches())


@pytest.mark.parametrize(("height", "matrix"), [(64, Matrix.BT601), (720, Matrix.BT709)])
def test_an_untagged_file_is_read_by_its_height(tmp_path: Path, height: int, matrix: Matrix) -> None:
    picture = patches(192, height)
    path = write_video(tmp_path / "clip.mkv", [picture], colour=Colour(matrix), tagged=False)

    assert_colours(frames_of(path)[0].pixels, picture)


def test_the_wrong_matrix_would_be_seen(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", [patches()], colour=Colour(Matrix.BT709), tagged=False)

    with pytest.raises(AssertionError):
        assert_colours(frames_of(path)[0].pixels, patches())


@pytest.mark.parametrize("written", [None, Colour(Matrix.BT709, full_range=True)], ids=str)
@pytest.mark.parametrize("colour", COLOURS, ids=str)
def test_colours_survive_a_path_of_any_matrix_and_range(tmp_path: Path, colour: Colour, written: Colour | None) -> None:
    path = write_video(tmp_path / "in.mkv", [patches()] * 3, colour=colour)

    found = copied(path, tmp_path / "out.mp4", written)

    assert len(found) == 3
    for frame in found:
        assert_path_colours(frame.pixels, patches())


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_colours_survive_a_path_of_a_turned_file(tmp_path: Path, rotation: int) -> None:
    path = write_video(tmp_path / "in.mp4", [patches()], codec="libx264", rotation=rotation)

    found = copied(path, tmp_path / "out.mp4")

    assert_path_colours(found[0].pixels, np.rot90(patches(), rotation // 90))


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov", "out.webm"])
def test_colours_and_times_survive_a_path_of_varying_rate(tmp_path: Path, name: str) -> None:
    times = [0.0, 0.02, 0.1, 0.35, 0.4, 1.4]
    pictures = [np.roll(patches(), 32 * number, axis=1) for number in range(len(times))]
    path = write_video(tmp_path / "in.mkv", pictures, times=times)

    found = copied(path, tmp_path / name)

    assert_media_times([frame.pts for frame in found], times)
    for frame, picture in zip(found, pictures, strict=True):
        assert_path_colours(frame.pixels, picture)


@pytest.mark.parametrize("size", [(192, 720), (191, 63)])
def test_colours_survive_a_path_of_another_size(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = patches(*size)

    with VideoSink(tmp_path / "out.mp4", size=size, fps=30) as sink:
        sink.write(Frame(0, picture, 0.0))

    assert_path_colours(frames_of(tmp_path / "out.mp4")[0].pixels, picture)


@pytest.mark.parametrize(("height", "code"), [(64, 6), (720, 1)])
def test_the_usual_colours_for_the_height_are_written_and_tagged(tmp_path: Path, height: int, code: int) -> None:
    with VideoSink(tmp_path / "out.mp4", size=(64, height), fps=30) as sink:
        sink.write(Frame(0, patches(64, height), 0.0))

    assert tags_of(tmp_path / "out.mp4") == (code, 1)


def test_grey_keeps_its_levels(tmp_path: Path) -> None:
    ramp: NDArray[Any] = np.repeat(np.arange(256, dtype=np.uint8)[None], 64, axis=0)

    with VideoSink(tmp_path / "alpha.mp4", size=(256, 64), fps=30) as sink:
        sink.write(Frame(0, ramp[..., None], 0.0))

    assert_path_colours(frames_of(tmp_path / "alpha.mp4")[0].pixels, np.repeat(ramp[..., None], 3, axis=2))


def test_ten_generations_do_not_drift(tmp_path: Path) -> None:
    path = write_video(tmp_path / "0.mkv", [np.full((64, 64, 3), (150, 20, 90), np.uint8)])

    for generation in range(1, 11):
        found = copied(path, tmp_path / f"{generation}.mp4")
        path = tmp_path / f"{generation}.mp4"

    assert_path_colours(found[0].pixels, np.full((64, 64, 3), (150, 20, 90)))
