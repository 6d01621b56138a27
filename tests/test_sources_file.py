"""Video files made with PyAV: what is read is upright, in time, and counted; what cannot be read is said in a line."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from rtmatte.clock import ManualClock
from rtmatte.colour import Colour, Matrix
from rtmatte.errors import SourceError, SourceTruncated
from rtmatte.frame import Frame
from rtmatte.ring import IN_FLIGHT
from rtmatte.sources.file import FileSource
from tests.assertions import assert_colours, assert_media_times, assert_no_growth
from tests.video_files import add_tone, patches, write_tone, write_video

FULL = Colour(Matrix.BT601, full_range=True)  # JPEG knows no other range


def numbered(count: int, width: int = 64, height: int = 48) -> list[NDArray[np.uint8]]:
    """Returns flat grey pictures that get lighter, so that a frame says which one it is."""
    return [np.full((height, width, 3), 20 + 6 * number, np.uint8) for number in range(count)]


def number_of(frame: Frame) -> int:
    return round((float(frame.pixels.mean()) - 20) / 6)


def frames_before_the_cut(source: Iterable[Frame]) -> tuple[int, str]:
    """Returns how many frames come before SourceTruncated, and its message."""
    count = 0
    try:
        for _ in source:
            count += 1
    except SourceTruncated as error:
        return count, str(error)
    pytest.fail(f"{count} frames and no word about the cut")


def refusal(path: Path) -> str:
    """Returns the message, a single line, with which a file is refused."""
    with pytest.raises(SourceError) as caught:
        FileSource(path, ManualClock())
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_frames_come_in_order_with_number_time_and_stamp(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", numbered(8))
    clock = ManualClock(start=5.0)

    with FileSource(path, clock) as source:
        frames = [(frame.seq, number_of(frame), frame.captured_at) for frame in source]

        assert (source.name, source.size, source.fps, source.frame_count) == ("clip.mkv", (64, 48), 30.0, 8)
        assert source.corrupt == 0
    assert frames == [(number, number, 5.0) for number in range(8)]


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
def test_variable_frame_times_are_kept(tmp_path: Path, name: str) -> None:
    times = [0.0, 0.02, 0.1, 0.35, 0.4, 1.4]
    path = write_video(tmp_path / name, numbered(6), times=times, codec="libx264")

    with FileSource(path, ManualClock()) as source:
        found = [frame.pts for frame in source]

    assert_media_times(found, times)


def test_times_count_from_the_start_of_the_file(tmp_path: Path) -> None:
    times = [10 + number / 30 for number in range(5)]  # a broadcast, or the middle of a recording
    path = write_video(tmp_path / "clip.ts", numbered(5), times=times, codec="libx264")

    with FileSource(path, ManualClock()) as source:
        found = [frame.pts for frame in source]

    assert_media_times(found, [number / 30 for number in range(5)])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pictures_are_turned_upright(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    picture = patches()
    path = write_video(tmp_path / "clip.mp4", [picture], codec="libx264", rotation=rotation, mirrored=mirrored)
    # The metadata says: turn it so many degrees against the clock, then mirror it from left to right.
    upright = np.rot90(picture, rotation // 90)
    expected = upright[:, ::-1] if mirrored else upright

    with FileSource(path, ManualClock()) as source:
        frame = next(source)

        assert source.size == frame.size == (expected.shape[1], expected.shape[0])
    assert_colours(frame.pixels, expected)


def test_wide_pixels_become_square(tmp_path: Path) -> None:
    path = write_video(tmp_path / "dv.mp4", numbered(2), codec="libx264", pixel_aspect=Fraction(16, 11))

    with FileSource(path, ManualClock()) as source:
        assert source.size == next(source).size == (93, 48)


def test_a_size_that_changes_midway_is_followed(tmp_path: Path) -> None:
    small = write_video(tmp_path / "a.h264", numbered(3), codec="libx264")
    large = write_video(tmp_path / "b.h264", numbered(3, 96, 64), codec="libx264")
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())

    with FileSource(path, ManualClock()) as source:
        sizes = [frame.size for frame in source]

    assert sizes == [(64, 48)] * 3 + [(96, 64)] * 3


def test_a_lease_lasts_as_long_as_frames_are_in_flight(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", numbered(2 * IN_FLIGHT))

    with FileSource(path, ManualClock()) as source:
        held = [next(source) for _ in range(IN_FLIGHT)]
        assert [number_of(frame) for frame in held] == list(range(IN_FLIGHT))
        later = next(source)

    assert later.pixels is held[0].pixels


def test_closing_ends_the_iteration_for_another_thread(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", numbered(20))
    source = FileSource(path, ManualClock())
    begun, closed, seen = threading.Event(), threading.Event(), []

    def read() -> None:
        for frame in source:
            seen.append(frame.seq)
            begun.set()
            closed.wait()

    reader = threading.Thread(target=read)
    reader.start()
    begun.wait()
    source.close()
    closed.set()
    reader.join()

    assert seen == [0]


def test_reading_holds_no_pictures_back(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", [np.zeros((240, 320, 3), np.uint8)] * 400, codec="libx264")
    process = psutil.Process()

    gc.disable()  # a cycle would hold pictures until it runs
    try:
        with FileSource(path, ManualClock()) as source:
            memory = [process.memory_info().rss for _ in source]
    finally:
        gc.enable()

    assert len(memory) == 400
    assert_no_growth(memory[50:])


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("sound", [0.0, 3.0])
def test_a_cut_file_gives_every_whole_frame_then_says_so(tmp_path: Path, part: float, sound: float) -> None:
    path = write_video(tmp_path / "clip.mkv", noisy(60), sound=sound)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])

    with FileSource(cut, ManualClock()) as source:
        count, message = frames_before_the_cut(source)

    assert 60 * part - 4 <= count <= 60 * part + 4
    assert f"{count} frames" in message
    assert "\n" not in message


def test_a_cut_avi_is_measured_by_the_frames_it_declares(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", noisy(30), codec="mjpeg", colour=FULL)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with FileSource(path, ManualClock()) as source:
        assert len([None for _ in source]) == 30
    with FileSource(cut, ManualClock()) as source:
        count, _ = frames_before_the_cut(source)

    assert 5 <= count <= 20


def test_a_cut_mp4_with_its_index_in_front_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", noisy(30), codec="libx264", options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with FileSource(cut, ManualClock()) as source:
        count, _ = frames_before_the_cut(source)

        assert source.frame_count == 30
    assert 10 <= count <= 20


@pytest.mark.parametrize("sound", [0.5, 3.0])
@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4", "clip.mov"])
def test_sound_of_another_length_is_no_truncation(tmp_path: Path, name: str, sound: float) -> None:
    path = write_video(tmp_path / name, numbered(30), codec="libx264", sound=sound)

    with FileSource(path, ManualClock()) as source:
        assert [number_of(frame) for frame in source] == list(range(30))


def test_damaged_pictures_are_skipped_and_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", numbered(10), codec="mjpeg", colour=FULL)
    damage(path, {4, 7})

    with FileSource(path, ManualClock()) as source:
        found = [number_of(frame) for frame in source]

    assert found == [0, 1, 2, 3, 5, 6, 8, 9]
    assert source.corrupt == 2


def test_what_is_no_video_is_refused_in_a_line(tmp_path: Path) -> None:
    empty, junk, text = tmp_path / "empty.mp4", tmp_path / "junk.mp4", tmp_path / "text.mkv"
    empty.touch()
    junk.write_bytes(np.random.default_rng(0).bytes(5000))
    text.write_text("no video " * 200)

    assert "nothing at" in refusal(tmp_path / "missing.mp4")
    assert "empty" in refusal(empty)
    assert "damaged or no video" in refusal(junk)
    assert refusal(text)
    assert "cannot read" in refusal(tmp_path / ("long" * 100))
    assert "cannot read" in refusal(tmp_path)


def test_a_title_in_an_old_encoding_is_no_obstacle(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mkv", numbered(2), title="Caf?")
    data = path.read_bytes()
    assert b"Caf?" in data
    path.write_bytes(data.replace(b"Caf?", "Café".encode("latin-1")))

    with FileSource(path, ManualClock()) as source:
        assert len([None for _ in source]) == 2


def test_a_file_cut_before_its_index_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", numbered(10), codec="libx264")
    path.write_bytes(path.read_bytes()[:-200])

    assert "damaged" in refusal(path)


def test_a_playlist_is_refused_without_opening_what_it_names(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", numbered(2), codec="libx264")
    playlist, concat = tmp_path / "list.m3u8", tmp_path / "concat.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nclip.mp4\n#EXT-X-ENDLIST\n")
    concat.write_text("ffconcat version 1.0\nfile clip.mp4\n")

    assert "another kind of file" in refusal(playlist)
    assert "another kind of file" in refusal(concat)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.mkv"
    with av.open(str(path), "w") as output:
        write_tone(output, add_tone(output, "aac"), 0.5)

    assert "sound only" in refusal(path)


def test_a_file_whose_pictures_are_all_damaged_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", numbered(3), codec="mjpeg", colour=FULL)
    damage(path, {0, 1, 2})

    assert "none that can be decoded" in refusal(path)


def damage(path: Path, numbers: set[int]) -> None:
    """Fills the data of these pictures with ones."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.pos is not None]
    data = bytearray(path.read_bytes())
    for number in numbers:
        start, size = places[number]
        data[start + 8 : start + 8 + size] = b"\xff" * size
    path.write_bytes(data)


def noisy(count: int) -> list[NDArray[Any]]:
    """Returns pictures that compress badly, so that a file's size follows its length."""
    random = np.random.default_rng(1)
    return [random.integers(0, 256, (48, 64, 3)) for _ in range(count)]
