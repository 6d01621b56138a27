"""A camera as a source (OpenCV). The newest frame wins: what nobody fetched in time is dropped and counted.

A camera that stops giving pictures is opened again and again until it is back or the source is closed.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Protocol, Self

import cv2
from numpy.typing import NDArray

from rtmatte.clock import Clock
from rtmatte.errors import SourceError
from rtmatte.frame import Frame, Pixels
from rtmatte.ring import Ring

SYSFS = Path("/sys/class/video4linux")
BACKENDS = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
RETRIES = (0.0, 0.5, 1.0, 2.0, 4.0)  # seconds before each attempt to open it again; the last one is repeated
JOIN = 1.0  # a driver may hold the grabbing thread for longer; it ends by itself when the driver lets go


class Capture(Protocol):
    """The part of cv2.VideoCapture that is used here."""

    def read(self) -> tuple[bool, NDArray[Any]]: ...
    def grab(self) -> bool: ...
    def retrieve(self, image: NDArray[Any] | None = None) -> tuple[bool, NDArray[Any]]: ...
    def get(self, propId: int) -> float: ...
    def release(self) -> None: ...


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera of this machine: what to open, and the name its maker gave it."""

    device: str
    name: str


def list_cameras(root: Path = SYSFS) -> list[CameraInfo]:
    """Returns the cameras that the system names, by number. Only Linux tells without switching each of them on."""
    nodes = [node for node in root.glob("video*") if node.name[5:].isdecimal() and _text(node / "index") in ("0", "")]
    return [
        CameraInfo(f"/dev/{node.name}", _text(node / "name") or "unnamed")
        for node in sorted(nodes, key=lambda node: int(node.name[5:]))
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def open_capture(device: int | str, *, size: tuple[int, int], fps: float) -> Capture:
    """Returns the camera, asked for motion JPEG of `size` at `fps` (it may choose otherwise); SourceError if none."""
    if sys.platform == "linux":
        _check_node(Path(f"/dev/video{device}" if isinstance(device, int) else device))
    quiet = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(device, BACKENDS.get(sys.platform, cv2.CAP_ANY))
    finally:
        cv2.utils.logging.setLogLevel(quiet)
    if not capture.isOpened():
        capture.release()
        raise SourceError(_unusable(device))
    # Raw video over USB leaves 720p at 10 fps or less; the format has to be asked for before the size.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    capture.set(cv2.CAP_PROP_FPS, fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


class CameraSource:
    """The newest frame of a camera at each step. `seq` counts the frames grabbed, so a gap is a drop.

    Frames are stamped when grabbed and leased from a ring. `dropped` counts those nobody fetched, `reopened` how
    often the camera was lost and found again; while it is lost the iteration waits.
    """

    def __init__(
        self,
        device: int | str,
        clock: Clock,
        *,
        size: tuple[int, int] = (1280, 720),
        fps: float = 30.0,
        opener: Callable[..., Capture] = open_capture,
    ) -> None:
        """Opens the camera and waits for its first picture; SourceError says what to do when there is none."""
        self.name = f"camera {device}"
        self.frame_count: int | None = None
        self.dropped = 0
        self.reopened = 0
        self._clock = clock
        self._open: Callable[[], Capture] = partial(opener, device, size=size, fps=fps)
        self._capture = self._open()
        arrived, picture = self._capture.read()
        if not arrived:
            self._capture.release()
            raise SourceError(_unusable(device))
        self.size = picture.shape[1], picture.shape[0]
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or fps
        self._seq = 0
        self._ring = Ring()
        self._newest: Frame | None = None
        self._change = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._grab, name="camera", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        with self._change:
            while self._newest is None and not self._closing.is_set():
                self._change.wait(0.5)  # with a limit, since on Windows Ctrl-C does not end a wait without one
            if self._newest is None or self._closing.is_set():
                raise StopIteration
            frame, self._newest = self._newest, None
            return frame

    def close(self) -> None:
        self._closing.set()
        with self._change:
            self._change.notify_all()
        self._thread.join(JOIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _grab(self) -> None:
        raw: NDArray[Any] | None = None
        try:
            while not self._closing.is_set():
                arrived = self._capture.grab()
                captured_at = self._clock.now()
                if arrived:
                    arrived, raw = self._capture.retrieve(raw)
                if not arrived or raw is None:
                    raw = None
                    self._reopen()
                    continue
                pixels = self._buffer(raw.shape)
                cv2.cvtColor(raw, cv2.COLOR_BGR2RGB, dst=pixels)
                self._publish(Frame(self._seq, pixels, captured_at))
        finally:
            self._capture.release()
            self._closing.set()  # were this thread to fail, whoever waits for a frame must not wait for ever

    def _buffer(self, shape: tuple[int, ...]) -> Pixels:
        # What nobody fetched gives its buffer to the newer frame: the ring turns with the frames that were fetched,
        # so a lease lasts for five of them, not for five periods of the camera.
        with self._change:
            stale, self._newest = self._newest, None
        if stale is not None:
            self.dropped += 1
            if stale.pixels.shape == shape:
                return stale.pixels
        return self._ring.lease(shape)

    def _publish(self, frame: Frame) -> None:
        self._seq += 1
        with self._change:
            self._newest = frame
            self._change.notify_all()

    def _reopen(self) -> None:
        self._capture.release()
        for pause in chain(RETRIES, repeat(RETRIES[-1])):
            if self._closing.wait(pause):
                return
            try:
                self._capture = self._open()
            except SourceError:
                continue
            self.reopened += 1
            return


def _check_node(node: Path) -> None:
    # OpenCV cannot say why a camera does not open; on Linux its node can.
    if not node.exists():
        raise SourceError(f"expected a camera at {node}, found none; {_known_cameras()}")
    if not os.access(node, os.R_OK | os.W_OK):
        raise SourceError(
            f"this user may not open the camera {node}; run: sudo usermod -aG video $USER, then log out and in again"
        )


def _unusable(device: int | str) -> str:
    advice = {
        "linux": f"find who holds it with: fuser -v /dev/video*; {_known_cameras()}",
        "darwin": "or allow the terminal in System Settings, Privacy & Security, Camera",
        "win32": "or allow desktop apps in Settings, Privacy & security, Camera",
    }
    return (
        f"expected pictures from camera {device}, found none; close the program that uses it, "
        f"{advice.get(sys.platform, 'or try another number')}"
    )


def _known_cameras() -> str:
    found = ", ".join(f"{camera.device} ({camera.name})" for camera in list_cameras())
    return f"cameras found: {found}" if found else "no cameras found: plug one in or give a video file"
