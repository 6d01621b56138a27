"""What programs get from the virtual camera while its writer runs, is killed, and comes back. In this order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rtmatte.errors import SinkError
from rtmatte.sinks.virtualcam import VirtualCameraSink
from tests.vm.cameras import (
    RATE,
    SCENE,
    Layout,
    Run,
    announced_format,
    numbers,
    read_with_ffmpeg,
    read_with_v4l2_ctl,
    reading,
)

pytestmark = pytest.mark.vm

FRAMES = 20


class Writer:
    """The one writer of these tests; it is started when first needed, and again after it was killed."""

    run: Run

    def start(self, layout: Layout = "i420") -> None:
        """Kills the one before, if it lives, and waits until readers see this one."""
        self.stop()
        self.run = Run("synthetic", SCENE, "--pixel-format", layout)
        self.run.wait_until_shown(layout)

    def stop(self) -> None:
        if hasattr(self, "run"):
            self.run.kill()


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


def test_a_killed_writer_comes_back(writer: Writer) -> None:
    writer.start()

    assert_flows(numbers(read_with_v4l2_ctl(FRAMES, "i420")))


def test_a_reader_who_stays_through_the_second_kill_is_in_nobodys_way(writer: Writer, tmp_path: Path) -> None:
    """That reader itself stands still until it opens the camera again: version 0.12.7 of the module keeps it so."""
    raw = tmp_path / "seen.raw"
    with reading(raw):
        writer.run.wait_until(lambda: raw.exists() and raw.stat().st_size > 0, "reaching the reader")
        writer.stop()
        with pytest.raises(SinkError, match="close that program"):  # which has it open in another size
            VirtualCameraSink(size=(64, 48), fps=RATE)
        writer.start()

        assert_flows(numbers(read_with_v4l2_ctl(FRAMES, "i420")))


def test_a_writer_killed_for_the_third_time_comes_back_in_another_format(writer: Writer) -> None:
    writer.start("yuyv")

    assert "YUYV" in announced_format()
    assert_flows(numbers(read_with_v4l2_ctl(FRAMES, "yuyv")))


@pytest.mark.usefixtures("writer")
def test_ffmpeg_gets_yuyv_whole_and_in_order() -> None:
    assert_flows(numbers(read_with_ffmpeg(FRAMES)))
