"""Video files as they are written: sizes, times, alpha, sound, and what is left of them when something breaks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.clock import ManualClock
from rtmatte.errors import SinkError
from rtmatte.frame import Frame
from rtmatte.sinks.video import TAIL, VideoSink
from rtmatte.sources.file import FileSource
from tests.assertions import assert_media_times, assert_path_colours
from tests.video_files import patches, sound_packets, write_video

ROOT = Path(__file__).parents[1]
SIZE = (64, 48)


def frame(seq: int, pixels: NDArray[Any] | None = None, pts: float | None = None) -> Frame:
    return Frame(seq, patches(*SIZE) if pixels is None else pixels, 0.0, pts)


def written(path: Path, *frames: Frame, size: tuple[int, int] = SIZE, fps: float = 30.0) -> Path:
    with VideoSink(path, size=size, fps=fps) as sink:
        for one in frames:
            sink.write(one)
    return path


def times_of(path: Path) -> list[float | None]:
    with FileSource(path, ManualClock()) as source:
        return [one.pts for one in source]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
@pytest.mark.parametrize("size", [(1, 1), (101, 57), (64, 48)])
def test_every_size_is_kept(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    picture = np.full((size[1], size[0], 3), (150, 20, 90), np.uint8)

    path = written(tmp_path / f"out{suffix}", *(frame(seq, picture) for seq in range(3)), size=size)

    with FileSource(path, ManualClock()) as source:
        assert (source.size, source.frame_count, len([None for _ in source])) == (size, 3, 3)


def test_frames_of_another_size_are_fitted_in(tmp_path: Path) -> None:
    narrow = np.full((48, 24, 3), 200, np.uint8)
    expected = np.zeros((48, 64, 3))
    expected[:, 20:44] = 200

    path = written(tmp_path / "out.mp4", frame(0, narrow))

    with FileSource(path, ManualClock()) as source:
        assert_path_colours(next(source).pixels, expected)


def test_float_pixels_are_rounded(tmp_path: Path) -> None:
    picture = patches()

    path = written(tmp_path / "out.mp4", frame(0, picture + np.float32(0.4)), size=(192, 64))

    with FileSource(path, ManualClock()) as source:
        assert_path_colours(next(source).pixels, picture)


def test_without_times_the_gaps_in_the_numbers_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path / "out.mp4", *(frame(seq) for seq in (7, 8, 11)), fps=10)

    assert_media_times(times_of(path), [0.0, 0.1, 0.4])


def test_times_that_stand_still_or_go_back_do_not_stop_the_writing(tmp_path: Path) -> None:
    path = written(tmp_path / "out.mp4", *(frame(seq, pts=pts) for seq, pts in enumerate([0.0, 0.1, 0.1, 0.05, 0.2])))

    assert_media_times(times_of(path), [0.0, 0.1, 0.1, 0.1, 0.2])


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "ffv1"), (".mov", "prores")])
@pytest.mark.parametrize("size", [SIZE, (51, 37)])
def test_alpha_is_kept(tmp_path: Path, suffix: str, codec: str, size: tuple[int, int]) -> None:
    ramp = np.linspace(0, 255, size[0]).astype(np.uint8)
    picture = np.dstack([patches(*size), np.broadcast_to(ramp, size[::-1])])

    path = written(tmp_path / f"out{suffix}", *(frame(seq, picture) for seq in range(2)), size=size)

    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
        assert container.streams.video[0].codec_context.name == codec
        found = pictures[1].to_ndarray(format="rgba")
    assert len(pictures) == 2
    assert_path_colours(found[..., 3], picture[..., 3])
    if codec == "ffv1":
        np.testing.assert_array_equal(found, picture)


def test_alpha_in_webm_is_a_layer_of_its_own(tmp_path: Path) -> None:
    picture = np.dstack([patches(*SIZE), np.full((48, 64), 77, np.uint8)])

    path = written(tmp_path / "out.webm", frame(0, picture))

    decoder = av.CodecContext.create("libvpx-vp9", "r")  # FFmpeg's own decoder passes the layer over
    with av.open(str(path)) as container:
        found = next(one for packet in container.demux(video=0) for one in decoder.decode(packet))
    assert_path_colours(found.to_ndarray(format="rgba")[..., 3], picture[..., 3])


def test_a_container_that_holds_no_alpha_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"

    with VideoSink(path, size=SIZE, fps=30) as sink, pytest.raises(SinkError, match=r"\.mkv, \.mov, \.webm"):
        sink.write(frame(0, np.zeros((48, 64, 4), np.uint8)))

    assert not path.exists()


@pytest.mark.parametrize(("name", "codec"), [("in.mp4", "aac"), ("in.mkv", "libopus")])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_is_copied_packet_by_packet_in_step_with_the_pictures(
    tmp_path: Path, name: str, codec: str, suffix: str
) -> None:
    source = write_video(tmp_path / name, [patches()] * 60, codec="libx264", sound=2.0, sound_codec=codec)

    output = with_sound(source, tmp_path / f"out{suffix}")

    before, after = sound_packets(source), sound_packets(output)
    assert len(before) > 40
    assert [data for _, data in after] == [data for _, data in before]
    assert_media_times(since_first_picture(output), since_first_picture(source))


def since_first_picture(path: Path) -> list[float]:
    """Returns the times of the sound's packets, counted from the first picture."""
    with av.open(str(path)) as container:
        first = next(container.decode(video=0)).time
    return [time - first for time, _ in sound_packets(path)]


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".webm", "opus")])
def test_sound_that_the_container_does_not_take_is_encoded_anew(tmp_path: Path, suffix: str, codec: str) -> None:
    source = write_video(tmp_path / "in.mkv", [patches()] * 30, codec="libx264", sound=1.0, sound_codec="pcm_s16le")

    output = with_sound(source, tmp_path / f"out{suffix}")

    with av.open(str(output)) as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == codec
        samples = [sound.to_ndarray().ravel().astype(np.float64) for sound in container.decode(audio=0)]
    level = float(np.sqrt(np.mean(np.concatenate(samples)[4800:43200] ** 2)))
    assert 0.3 < level < 0.6  # a sine of 20000 in 32768 has 0.43
    assert 44000 < sum(len(one) for one in samples) < 52000


def test_sound_ends_soon_after_pictures_that_were_cut_short(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", [patches()] * 10, codec="libx264", sound=4.0)

    output = with_sound(source, tmp_path / "out.mp4")

    last = sound_packets(output)[-1][0]
    assert 10 / 30 + TAIL - 0.1 < last < 10 / 30 + TAIL + 0.1


def test_sound_and_pictures_lie_side_by_side_in_the_file(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", [patches()] * 60, codec="libx264", sound=2.0)

    output = with_sound(source, tmp_path / "out.mkv")

    with av.open(str(output)) as container:
        order = [packet.stream.type for packet in container.demux() if packet.dts is not None]
    assert order[: len(order) // 2].count("audio") > 20
    assert order[len(order) // 2 :].count("audio") > 20


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_damaged_sound_does_not_stop_the_pictures(tmp_path: Path, suffix: str) -> None:
    source = write_video(tmp_path / "in.mkv", [patches()] * 30, codec="libx264", sound=1.0)
    data = bytearray(source.read_bytes())
    for _, sound in sound_packets(source)[10:14]:
        start = data.index(sound)
        data[start : start + len(sound)] = b"\xff" * len(sound)
    source.write_bytes(data)

    output = with_sound(source, tmp_path / f"out{suffix}")

    assert len(times_of(output)) == 30
    assert sound_packets(output)[-1][0] > 0.9


def test_a_source_without_sound_gives_none(tmp_path: Path) -> None:
    source = write_video(tmp_path / "in.mp4", [patches()] * 2, codec="libx264")

    output = with_sound(source, tmp_path / "out.mp4")

    with av.open(str(output)) as container:
        assert not container.streams.audio


def with_sound(source: Path, output: Path) -> Path:
    """Copies the pictures through the source and the sink, and the sound beside them."""
    frames = FileSource(source, ManualClock())
    with frames, VideoSink(output, size=frames.size, fps=frames.fps, audio_from=source) as sink:
        for one in frames:
            sink.write(one)
    return output


def test_what_a_file_held_is_lost_with_the_first_frame_only(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"precious")

    with VideoSink(path, size=SIZE, fps=30):
        pass
    assert path.read_bytes() == b"precious"

    written(path, frame(0))
    assert len(times_of(path)) == 1


def test_no_frame_leaves_no_file(tmp_path: Path) -> None:
    with VideoSink(tmp_path / "out.mp4", size=SIZE, fps=30):
        pass

    assert not (tmp_path / "out.mp4").exists()


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()

    for path in (tmp_path / "absent" / "out.mp4", tmp_path / "folder.mp4", Path("/proc/out.mp4")):
        with pytest.raises(SinkError, match="cannot write") as caught:
            VideoSink(path, size=SIZE, fps=30)
        assert "\n" not in str(caught.value)


# Writes ten seconds of noise at 20 fps, then does not end as it should. A key frame, and so a fragment, each second.
WRITER = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
from rtmatte.errors import SinkError
from rtmatte.frame import Frame
from rtmatte.sinks.video import VideoSink

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
random = np.random.default_rng(0)
sink = VideoSink(Path(sys.argv[1]), size=(64, 48), fps=20)
try:
    for seq in range(200):
        sink.write(Frame(seq, random.integers(0, 256, (48, 64, 3), np.uint8), 0.0))
except SinkError as error:
    print(error)
    sink.close()
    sys.exit(2)
os.kill(os.getpid(), signal.SIGKILL)
"""


def run_writer(path: Path, how: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WRITER, str(path), how], capture_output=True, text=True, cwd=ROOT, check=False
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_killed_process_leaves_a_file_that_plays_to_two_seconds_before_the_end(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"

    ended = run_writer(path, "killed")

    assert ended.returncode == -9
    assert 200 - 40 <= len(times_of(path)) <= 200


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of a file there")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_an_error_and_what_fits_plays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"

    ended = run_writer(path, "full")

    assert ended.returncode == 2
    assert ended.stderr == ""
    assert "File too large" in ended.stdout
    promised = int(ended.stdout.split("its first ")[1].split()[0])
    assert 0 < promised - 40 <= len(times_of(path))
