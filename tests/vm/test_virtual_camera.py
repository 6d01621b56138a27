"""What programs get from the virtual camera while its writer runs, is killed, and comes back. In this order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rtmatte.errors import SinkError
from rtmatte.sinks.virtualcam import VirtualCameraSink
from tests.vm.cameras import SCENE, Layout, Run, announced_format, numbers, read_with_ffmpeg, read_with_v4l2_ctl

pytestmark = pytest.mark.vm

FRAMES = 20
RATE = 5


class Writer:
    """The one writer of these tests; it is started when first needed, and again after it was killed."""

    def __init__(self) -> None:
        self.run: Run | None = None

    def start(self, layout: Layout = "i420") -> None:
        self.stop()
        self.run = Run("synthetic", SCENE, "--fps", str(RATE), "--pixel-format", layout)
        self.run.wait_until_shown(layout)

    def stop(self) -> None:
        if self.run is not None:
            self.run.kill()
            self.run = None


@pytest.fixture(scope="module")
def writer() -> Iterator[Writer]:
    kept = Writer()
    kept.start()
    yield kept
    kept.stop()


def assert_flows(found: list[int | None]) -> None:
    """Every picture is whole and none comes after a newer one; where the emulator is slow, some come twice."""
    whole = [number for number in found if number is not None]
    assert whole == found, f"damaged pictures among {found}"
    assert whole == sorted(whole), f"out of order: {found}"
    assert len(set(whole)) > len(whole) // 3, f"stands still: {found}"


@pytest.mark.usefixtures("writer")
def test_ffmpeg_gets_i420_whole_and_in_order() -> None:
    assert_flows(numbers(read_with_ffmpeg(FRAMES)))


@pytest.mark.usefixtures("writer")
def test_v4l2_ctl_gets_i420_whole_and_in_order() -> None:
    assert "YU12" in announced_format()
    assert_flows(numbers(read_with_v4l2_ctl(FRAMES, "i420")))


@pytest.mark.usefixtures("writer")
def test_twenty_readers_come_and_go() -> None:
    seen: list[int | None] = []
    for _ in range(20):
        seen += numbers(read_with_v4l2_ctl(2, "i420"))

    assert_flows(seen)


@pytest.mark.usefixtures("writer")
def test_a_second_writer_is_told_of_the_first() -> None:
    with pytest.raises(SinkError, match="stop the program"):
        VirtualCameraSink(size=SCENE, fps=RATE)


@pytest.mark.parametrize("time", [1, 2])
def test_a_killed_writer_comes_back(writer: Writer, time: int) -> None:
    writer.start()

    assert_flows(numbers(read_with_v4l2_ctl(FRAMES, "i420")))


def test_a_writer_killed_for_the_third_time_comes_back_in_another_format(writer: Writer) -> None:
    writer.start("yuyv")

    assert "YUYV" in announced_format()
    assert_flows(numbers(read_with_v4l2_ctl(FRAMES, "yuyv")))


@pytest.mark.usefixtures("writer")
def test_ffmpeg_gets_yuyv_whole_and_in_order() -> None:
    assert_flows(numbers(read_with_ffmpeg(FRAMES)))
