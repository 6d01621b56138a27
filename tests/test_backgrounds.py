"""Backgrounds: what a user may type, pictures that are not stretched, videos that keep their pace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.compose.backgrounds import (
    Background,
    BackgroundSpec,
    Looped,
    Still,
    VideoSource,
    cover,
    open_background,
    parse_background,
)
from rtmatte.errors import InputError, SourceError, SourceTruncated
from rtmatte.frame import Frame
from rtmatte.imaging import Size, save_png

SIZE: Size = (64, 36)


def flat(value: int, size: Size = SIZE) -> NDArray[np.uint8]:
    return np.full((size[1], size[0], 3), value, np.uint8)


def clip(values: list[int], *, fps: float | None = 10.0, end: SourceError | None = None) -> VideoSource:
    """Returns a way to play flat frames of these grey values from one buffer, which the next frame overwrites."""

    def play(path: Path) -> Iterator[Frame]:
        buffer = flat(0)
        for number, value in enumerate(values):
            buffer[:] = value
            yield Frame(number, buffer, 0.0, pts=None if fps is None else 5.0 + number / fps)
        if end is not None:
            raise end

    return play


def plain(background: Background, size: Size, *, at: float = 0.0) -> NDArray[np.uint8]:
    out = np.empty((size[1], size[0], 3), np.uint8)
    background.plain(out, at=at)
    return out


def shown(video: Looped, times: list[float]) -> list[int]:
    return [int(plain(video, SIZE, at=at)[0, 0, 0]) for at in times]


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("blur", BackgroundSpec("blur", strength=50)),
        ("blur:12.5", BackgroundSpec("blur", strength=12.5)),
        (" None ", BackgroundSpec("none")),
        ("transparent", BackgroundSpec("transparent")),
        ("side-by-side", BackgroundSpec("side-by-side")),
        ("green", BackgroundSpec("colour", colour=(0, 255, 0))),
        ("#0a8Fff", BackgroundSpec("colour", colour=(10, 143, 255))),
    ],
)
def test_a_word_or_a_colour_names_a_background(text: str, spec: BackgroundSpec) -> None:
    assert parse_background(text) == spec


@pytest.mark.parametrize(("name", "kind"), [("beach.JPG", "image"), ("a:b.png", "image"), ("waves.mp4", "video")])
def test_a_file_is_told_by_its_suffix(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.touch()

    spec = parse_background(str(path))

    assert (spec.kind, spec.path) == (kind, path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a background"),
        ("blurr", "expected a background"),
        ("blur:", "1 to 100"),
        ("blur:0", "1 to 100"),
        ("blur:101", "1 to 100"),
        ("blur:nan", "1 to 100"),
        ("blur:strong", "1 to 100"),
        ("#12345", "expected a background"),
        ("#gggggg", "expected a background"),
        ("notes.txt", "expected a background"),
        ("no/such/beach.png", "found none at"),
    ],
)
def test_anything_else_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_background(text)


def test_an_unreadable_picture_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture")

    with pytest.raises(SourceError, match=r"broken\.png"):
        open_background(parse_background(str(path)))


def test_a_video_needs_a_source_and_nothing_behind_is_no_background(tmp_path: Path) -> None:
    for spec in (BackgroundSpec("video", path=tmp_path / "a.mp4"), BackgroundSpec("none")):
        with pytest.raises(InputError):
            open_background(spec)


def test_a_colour_fills_the_frame_exactly() -> None:
    picture = plain(open_background(parse_background("#0a8fff")), (7, 3))

    assert picture.shape == (3, 7, 3)
    assert (picture == (10, 143, 255)).all()


def test_a_picture_of_the_frames_size_is_shown_exactly(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (36, 64, 3), np.uint8)
    save_png(tmp_path / "room.png", picture)

    found = plain(open_background(parse_background(str(tmp_path / "room.png"))), SIZE)

    np.testing.assert_array_equal(found, picture)


@pytest.mark.parametrize("target", [(640, 360), (360, 640), (200, 200), (1280, 300)])
@pytest.mark.parametrize("source", [(800, 600), (300, 900)])
def test_a_circle_stays_a_circle(source: Size, target: Size) -> None:
    width, height = source
    y, x = np.mgrid[0:height, 0:width]
    radius = 30
    inside = np.hypot(x - width / 2 + 0.5, y - height / 2 + 0.5) < radius
    picture = np.where(inside[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=2)
    out = np.empty((target[1], target[0], 3), np.uint8)

    cover(picture, out)

    scale = max(target[0] / width, target[1] / height)
    rows, columns = (np.flatnonzero((out[..., 0] > 127).any(axis=axis)) for axis in (1, 0))
    for span, length in ((rows, target[1]), (columns, target[0])):
        assert span.size == pytest.approx(2 * radius * scale, abs=2)
        assert (span[0] + span[-1] + 1) / 2 == pytest.approx(length / 2, abs=1.5), "the middle is kept"


@pytest.mark.parametrize("source", [(1, 1), (4000, 1), (1, 4000), (3, 5)])
@pytest.mark.parametrize("target", [(1, 1), (101, 57), (2, 300)])
def test_any_picture_fills_any_frame(source: Size, target: Size) -> None:
    out = np.zeros((target[1], target[0], 3), np.uint8)

    cover(flat(90, source), out)

    assert (out == 90).all()


def test_a_still_is_fitted_anew_when_the_frame_changes_its_size() -> None:
    still = Still(flat(90))

    for size in ((20, 10), (20, 10), (10, 20)):
        assert (plain(still, size) == 90).all()


def test_a_video_keeps_its_own_pace_and_starts_again() -> None:
    video = Looped(Path("waves.mp4"), clip([10, 20, 30], fps=10))

    at_thirty = shown(video, [100 + number / 30 + 0.001 for number in range(12)])

    assert at_thirty == [10, 10, 10, 20, 20, 20, 30, 30, 30, 10, 10, 10]


def test_a_video_faster_than_the_stream_drops_frames() -> None:
    video = Looped(Path("waves.mp4"), clip([10, 20, 30, 40, 50, 60], fps=60))

    assert shown(video, [number / 30 + 0.001 for number in range(3)]) == [10, 30, 50]


def test_frames_without_a_time_are_thirty_a_second() -> None:
    video = Looped(Path("waves.gif"), clip([10, 20, 30], fps=None))

    assert shown(video, [number / 60 + 0.001 for number in range(5)]) == [10, 10, 20, 20, 30]


def test_after_a_long_pause_a_video_goes_on_at_its_pace() -> None:
    video = Looped(Path("waves.mp4"), clip(list(range(100)), fps=10))

    before, after, later = shown(video, [0.0, 3600.0, 3600.1001])

    assert (before, after - before <= Looped.CATCH_UP, later - after) == (0, True, 1)


def test_a_stream_that_starts_over_does_not_stop_the_video() -> None:
    video = Looped(Path("waves.mp4"), clip(list(range(100)), fps=10))

    assert shown(video, [0.0, 0.101, 0.201, 0.0, 0.1]) == [0, 1, 2, 2, 3]


def test_a_truncated_video_is_looped_over_what_there_is() -> None:
    video = Looped(Path("cut.mp4"), clip([10, 20], fps=10, end=SourceTruncated("ended early")))

    assert shown(video, [number / 10 + 0.001 for number in range(5)]) == [10, 20, 10, 20, 10]


def test_a_video_of_one_frame_is_opened_once() -> None:
    opened: list[Path] = []

    def play(path: Path) -> Iterator[Frame]:
        opened.append(path)
        return iter(clip([70])(path))

    video = Looped(Path("one.mp4"), play)

    assert shown(video, [0.0, 1.0, 2.0]) == [70, 70, 70]
    assert len(opened) == 1


def test_a_video_that_cannot_be_opened_again_keeps_its_last_picture() -> None:
    rounds = iter([clip([10, 20], fps=10)])

    def play(path: Path) -> Iterator[Frame]:
        for once in rounds:
            return iter(once(path))
        raise SourceError("the file is gone")

    video = Looped(Path("gone.mp4"), play)

    assert shown(video, [0.0, 0.1001, 0.3, 9.0]) == [10, 20, 20, 20]


def test_a_video_without_frames_is_refused() -> None:
    with pytest.raises(SourceError, match=r"at least one frame.*empty\.mp4"):
        Looped(Path("empty.mp4"), clip([]))


def test_a_video_fits_a_frame_that_changes_its_size() -> None:
    video = Looped(Path("waves.mp4"), clip([10, 20], fps=1))
    plain(video, SIZE)

    found = plain(video, (11, 31), at=0.1)

    assert found.shape == (31, 11, 3)
    assert (found == 10).all()
