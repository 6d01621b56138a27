"""The camera source before cameras made of lists: its pictures, its formats, and what it says when there are none."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.clock import ManualClock
from rtmatte.errors import SourceBusy, SourceDenied, SourceError
from rtmatte.ring import IN_FLIGHT
from rtmatte.sources.camera import CameraSource, explain, holder_of, list_cameras, open_capture, seems_free
from tests.assertions import EXACT_LEVELS

Picture = NDArray[np.uint8]
RED = np.full((6, 8, 3), (0, 0, 255), np.uint8)  # OpenCV's order
LONG = 20.0


class FakeCamera:
    """Gives its pictures in turn and then none; the first is the one that opening waits for. Grabbing takes place at
    the clock's time, decoding five seconds more."""

    def __init__(self, clock: ManualClock, *pictures: Picture, fps: float = 25.0, fourcc: str = "MJPG") -> None:
        self._clock = clock
        self._pictures = list(pictures)
        self._values = {cv2.CAP_PROP_FPS: fps, cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*fourcc))}
        self.released = threading.Event()

    def read(self) -> tuple[bool, NDArray[Any]]:
        return bool(self._pictures), self._pictures.pop(0) if self._pictures else RED

    def grab(self) -> bool:
        return bool(self._pictures)

    def retrieve(self, image: NDArray[Any] | None = None) -> tuple[bool, NDArray[Any]]:
        self._clock.advance(5.0)
        return True, self._pictures.pop(0)

    def get(self, propId: int) -> float:
        return self._values[propId]

    def release(self) -> None:
        self.released.set()


def source_of(fake: FakeCamera, clock: ManualClock | None = None) -> CameraSource:
    return CameraSource(0, clock or ManualClock(), opener=lambda device, *, size, fps: fake)


def test_frames_are_rgb_and_stamped_when_grabbed() -> None:
    clock = ManualClock(start=10.0)
    with source_of(FakeCamera(clock, RED, RED, RED), clock) as source:
        frames = [next(source), next(source)]

    assert frames[0].pixels[0, 0].tolist() == [255, 0, 0]
    assert [(frame.seq, frame.captured_at, frame.pts) for frame in frames] == [(0, 10.0, None), (1, 15.0, None)]
    assert (source.size, source.fps, source.format, source.frame_count) == ((8, 6), 25.0, "MJPG", None)


def test_a_lease_stands_for_as_many_frames_as_are_in_flight() -> None:
    levels = [np.full((6, 8, 3), level, np.uint8) for level in range(IN_FLIGHT + 1)]
    with source_of(FakeCamera(ManualClock(), *levels)) as source:
        held = [next(source).pixels for _ in range(IN_FLIGHT)]

    assert [pixels.max() for pixels in held] == list(range(1, IN_FLIGHT + 1))


@pytest.mark.parametrize(
    ("fourcc", "convert", "size"),
    [
        ("GREY", None, (8, 6)),
        ("NV12", None, (8, 4)),
        ("YUYV", None, (8, 6)),
        ("AB24", cv2.COLOR_BGR2BGRA, (8, 6)),
        ("YU12", cv2.COLOR_BGR2YUV_I420, (8, 6)),
    ],
)
def test_a_format_that_the_driver_chose_is_taken_as_it_comes(
    fourcc: str, convert: int | None, size: tuple[int, int]
) -> None:
    raw = {
        "GREY": np.full((6, 8), 90, np.uint8),
        "NV12": np.full((6, 8), 128, np.uint8),
        "YUYV": np.full((6, 8, 2), 128, np.uint8),
    }
    picture: Any = cv2.cvtColor(RED, convert) if convert is not None else raw[fourcc]
    with source_of(FakeCamera(ManualClock(), picture, picture, fourcc=fourcc)) as source:
        pixels = next(source).pixels

    middle = {"GREY": (90, 90, 90), "NV12": (130, 130, 130), "YUYV": (130, 130, 130)}.get(fourcc, (255, 0, 0))
    assert source.size == (pixels.shape[1], pixels.shape[0]) == size
    assert np.abs(pixels.astype(int) - middle).max() <= EXACT_LEVELS


def test_a_format_that_changes_midway_is_followed() -> None:
    grey, wide = np.full((6, 8), 90, np.uint8), np.full((6, 12, 3), 50, np.uint8)
    with source_of(FakeCamera(ManualClock(), RED, RED, grey, wide)) as source:
        shapes = [frame.pixels.shape for frame in (next(source), next(source), next(source))]

    assert shapes == [(6, 8, 3), (6, 8, 3), (6, 12, 3)]


def test_a_rate_that_the_driver_does_not_know_is_the_one_asked_for() -> None:
    with source_of(FakeCamera(ManualClock(), RED, fps=0.0)) as source:
        assert source.fps == 30.0


def test_a_camera_that_gives_no_more_pictures_is_an_error_with_its_reason() -> None:
    with source_of(FakeCamera(ManualClock(), RED, RED)) as source:
        next(source)
        with pytest.raises(SourceError, match="camera"):
            next(source)


def test_closing_while_a_grab_is_under_way_leaves_the_release_to_the_one_who_grabs() -> None:
    fake, grabbing, go_on = FakeCamera(ManualClock(), RED, RED), threading.Event(), threading.Event()

    def grab() -> bool:
        grabbing.set()
        assert go_on.wait(LONG)
        return True

    fake.grab = grab  # type: ignore[method-assign]
    source = source_of(fake)
    reader = threading.Thread(target=lambda: next(source))
    reader.start()
    assert grabbing.wait(LONG)

    source.close()

    assert not fake.released.is_set()
    go_on.set()
    reader.join(LONG)
    assert fake.released.is_set()


@pytest.mark.skipif(sys.platform != "linux", reason="pictures are waited for outside of the driver on Linux only")
def test_closing_ends_a_wait_for_a_picture_that_never_comes() -> None:
    silent, other_end = os.pipe()
    source = source_of(FakeCamera(ManualClock(), RED, RED))
    source._descriptor = silent
    frames: list[list[Any]] = []
    reader = threading.Thread(target=lambda: frames.append(list(source)))
    reader.start()

    source.close()
    reader.join(LONG)

    assert frames == [[]]
    os.close(silent)
    os.close(other_end)


def test_large_pictures_are_asked_for_as_motion_jpeg_and_small_ones_raw(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[int, float]] = []

    class Recorder:
        def __init__(self, device: str, backend: int) -> None: ...

        def isOpened(self) -> bool:  # noqa: N802
            return True

        def set(self, name: int, value: float) -> bool:
            asked.append((name, value))
            return name != cv2.CAP_PROP_FOURCC  # the camera does not have it

    node = tmp_path / "video9"
    node.touch()
    monkeypatch.setattr(cv2, "VideoCapture", Recorder)

    open_capture(str(node), size=(1280, 720), fps=30)
    open_capture(str(node), size=(640, 480), fps=30)

    formats = [value for name, value in asked if name == cv2.CAP_PROP_FOURCC]
    assert formats == [cv2.VideoWriter.fourcc(*"MJPG"), cv2.VideoWriter.fourcc(*"YUYV")]


@pytest.mark.skipif(sys.platform != "linux", reason="cameras are nodes below /dev on Linux only")
def test_a_camera_in_use_names_the_program_that_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = tmp_path / "video9"
    node.touch()
    assert seems_free(str(node))

    with node.open():
        monkeypatch.setattr(os, "getpid", lambda: 0)  # we are the other program
        holder = holder_of(node)
        reason = explain(str(node))

        assert holder is not None
        assert isinstance(reason, SourceBusy)
        assert holder in str(reason)
        assert not seems_free(str(node))


def test_a_camera_without_a_picture_is_an_error_that_says_what_to_do() -> None:
    fake = FakeCamera(ManualClock())

    with pytest.raises(SourceError, match="expected"):
        source_of(fake)

    assert fake.released.is_set()


@pytest.mark.skipif(sys.platform != "linux", reason="cameras are nodes below /dev on Linux only")
def test_a_camera_that_this_user_may_not_open_is_an_error_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = tmp_path / "video0"
    node.touch()
    monkeypatch.setattr("os.access", lambda *_: False)

    with pytest.raises(SourceDenied, match="usermod -aG video"):
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
