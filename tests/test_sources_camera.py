"""The camera source before cameras made of queues: which frame it hands out, and what happens when one goes away.

Nothing here waits for time to pass: the fake says when the source has dealt with a frame and asks for the next.
"""

from __future__ import annotations

import queue
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.clock import ManualClock
from rtmatte.errors import SourceError
from rtmatte.ring import IN_FLIGHT
from rtmatte.sources import camera
from rtmatte.sources.camera import CameraSource, list_cameras, open_capture

Picture = NDArray[np.uint8]
RED = np.full((6, 8, 3), (0, 0, 255), np.uint8)  # OpenCV's order


def picture(level: int, width: int = 8, height: int = 6) -> Picture:
    return np.full((height, width, 3), level, np.uint8)


class FakeCamera:
    """Gives the pictures that were put in, and fails where None was. Grabbing takes place at the clock's time, decoding
    five seconds more."""

    def __init__(self, clock: ManualClock, first: Picture | None = RED) -> None:
        self._clock = clock
        self._first = first
        self._pictures: queue.Queue[Picture | None] = queue.Queue()
        self._grabbed: Picture | None = None
        self.asked = threading.Semaphore(0)
        self.released = threading.Event()

    def put(self, *pictures: Picture | None) -> None:
        """Hands over pictures one by one, each once the source is done with the one before."""
        for one in pictures:
            self.asked.acquire()
            self._pictures.put(one)

    def settle(self) -> None:
        """Waits until the source is done with all that was put in."""
        self.asked.acquire()
        self.asked.release()

    def read(self) -> tuple[bool, NDArray[Any]]:
        return self._first is not None, picture(0) if self._first is None else self._first

    def grab(self) -> bool:
        self.asked.release()
        self._grabbed = self._pictures.get()
        return self._grabbed is not None

    def retrieve(self, image: NDArray[Any] | None = None) -> tuple[bool, NDArray[Any]]:
        assert self._grabbed is not None
        self._clock.advance(5.0)
        return True, self._grabbed

    def get(self, propId: int) -> float:
        return 25.0

    def release(self) -> None:
        self.released.set()


class Cameras:
    """An opener that gives one fake after the other; None is a camera that is not there."""

    def __init__(self, *fakes: FakeCamera | None) -> None:
        self._fakes = list(fakes)

    def __call__(self, device: int | str, *, size: tuple[int, int], fps: float) -> FakeCamera:
        found = self._fakes.pop(0)
        if found is None:
            raise SourceError("not there")
        return found


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "RETRIES", (0.0,))


def close(source: CameraSource, fake: FakeCamera) -> None:
    """Closes the source without waiting for the fake's driver."""
    fake._pictures.put(None)
    source.close()


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    fake = FakeCamera(ManualClock())
    source = CameraSource(0, ManualClock(), opener=Cameras(fake))

    fake.put(picture(1), picture(2), picture(3))
    fake.settle()
    frame = next(source)

    assert (frame.seq, frame.pixels[0, 0, 0], source.dropped) == (2, 3, 2)
    close(source, fake)


def test_frames_are_rgb_and_stamped_when_grabbed() -> None:
    clock = ManualClock(start=10.0)
    fake = FakeCamera(clock)
    source = CameraSource(0, clock, opener=Cameras(fake))

    fake.put(RED)
    frame = next(source)

    assert frame.pixels[0, 0].tolist() == [255, 0, 0]
    assert (frame.captured_at, frame.pts) == (10.0, None)
    assert (source.size, source.fps, source.frame_count) == ((8, 6), 25.0, None)
    close(source, fake)


def test_a_lease_outlasts_any_number_of_frames_that_nobody_fetched() -> None:
    fake = FakeCamera(ManualClock())
    source = CameraSource(0, ManualClock(), opener=Cameras(fake))

    fake.put(picture(1))
    fake.settle()
    held = next(source)
    fake.put(*(picture(100 + n) for n in range(3 * IN_FLIGHT)))
    fake.settle()

    assert held.pixels.max() == 1
    assert next(source).pixels.max() == 100 + 3 * IN_FLIGHT - 1
    close(source, fake)


def test_a_size_that_changes_midway_is_followed() -> None:
    fake = FakeCamera(ManualClock())
    source = CameraSource(0, ManualClock(), opener=Cameras(fake))

    sizes = []
    for width in (8, 12):
        fake.put(picture(1, width))
        fake.settle()
        sizes.append(next(source).size)

    assert sizes == [(8, 6), (12, 6)]
    close(source, fake)


def test_a_camera_that_goes_away_is_opened_again() -> None:
    first, second = FakeCamera(ManualClock()), FakeCamera(ManualClock())
    source = CameraSource(0, ManualClock(), opener=Cameras(first, None, None, second))

    first.put(picture(1))
    assert next(source).seq == 0
    first.put(None)
    second.put(picture(2))
    frame = next(source)

    assert (frame.seq, frame.pixels.max(), source.reopened) == (1, 2, 1)
    assert first.released.is_set()
    close(source, second)
    assert second.released.is_set()


def test_closing_frees_whoever_waits_for_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "JOIN", 0.0)  # the fake's driver hangs, as real ones do
    fake = FakeCamera(ManualClock())
    source = CameraSource(0, ManualClock(), opener=Cameras(fake))
    ended = threading.Event()

    def wait() -> None:
        assert list(source) == []
        ended.set()

    threading.Thread(target=wait).start()
    source.close()

    assert ended.wait(10.0)
    fake._pictures.put(None)
    assert fake.released.wait(10.0)


def test_a_camera_without_a_picture_is_an_error_that_says_what_to_do() -> None:
    fake = FakeCamera(ManualClock(), first=None)

    with pytest.raises(SourceError, match="close the program that uses it"):
        CameraSource(3, ManualClock(), opener=Cameras(fake))

    assert fake.released.is_set()


@pytest.mark.skipif(sys.platform != "linux", reason="cameras are nodes below /dev on Linux only")
def test_a_camera_that_this_user_may_not_open_is_an_error_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = tmp_path / "video0"
    node.touch()
    monkeypatch.setattr("os.access", lambda *_: False)

    with pytest.raises(SourceError, match="usermod -aG video"):
        open_capture(str(node), size=(640, 480), fps=30)


@pytest.mark.skipif(sys.platform != "linux", reason="cameras are nodes below /dev on Linux only")
def test_a_node_that_is_no_camera_is_an_error_of_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    node = tmp_path / "video0"
    node.touch()

    with pytest.raises(SourceError) as caught:
        open_capture(str(node), size=(640, 480), fps=30)

    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_cameras_are_listed_by_number_without_their_side_nodes(tmp_path: Path) -> None:
    for number, index, name in ((10, "0", "rtmatte"), (2, "0", "Webcam"), (3, "1", "Webcam metadata")):
        node = tmp_path / f"video{number}"
        node.mkdir()
        (node / "index").write_text(f"{index}\n")
        (node / "name").write_text(f"{name}\n")

    found = [(one.device, one.name) for one in list_cameras(tmp_path)]

    assert found == [("/dev/video2", "Webcam"), ("/dev/video10", "rtmatte")]
    assert list_cameras(tmp_path / "absent") == []
