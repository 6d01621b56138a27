"""A camera as a source (OpenCV): every picture it gives, in RGB, and the reason when it gives none."""

from __future__ import annotations

import os
import selectors
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import cv2
from numpy.typing import NDArray

from rtmatte.clock import Clock
from rtmatte.errors import SourceBusy, SourceDenied, SourceError, SourceGone
from rtmatte.frame import Frame, Pixels
from rtmatte.ring import Ring

SYSFS = Path("/sys/class/video4linux")
BACKENDS = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
LARGE = 640 * 480  # pixels; up to here raw pictures are asked for
LOOK = 0.25  # seconds after which whoever waits for a picture looks whether the source was closed
# What OpenCV hands on as it came where it does not know better.
PLANAR = {"NV12": cv2.COLOR_YUV2RGB_NV12, "YU12": cv2.COLOR_YUV2RGB_I420, "YV12": cv2.COLOR_YUV2RGB_YV12}
PACKED = {"YUYV": cv2.COLOR_YUV2RGB_YUYV, "UYVY": cv2.COLOR_YUV2RGB_UYVY}


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
    """Returns the camera, asked for `size` at `fps`, as motion JPEG where that is large; it may choose otherwise.

    Raises SourceError that says why it cannot be opened.
    """
    if isinstance(why := explain(device), SourceGone | SourceDenied):
        raise why  # OpenCV cannot say why a camera does not open; on Linux its node can
    quiet = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(device, BACKENDS.get(sys.platform, cv2.CAP_ANY))
    finally:
        cv2.utils.logging.setLogLevel(quiet)
    if not capture.isOpened():
        capture.release()
        raise explain(device)
    # Raw video over USB leaves 720p at 10 fps or less, and saves decoding where it fits. The format has to be asked for
    # before the size, and a camera that does not have it keeps its own.
    large = size[0] * size[1] > LARGE
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*("MJPG" if large else "YUYV")))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    capture.set(cv2.CAP_PROP_FPS, fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


class CameraSource:
    """The frames of a camera, stamped when grabbed and leased from a ring; `seq` counts them.

    It iterates at the pace of the camera, on the thread of whoever asks, and ends by SourceError when the camera is
    lost: `WatchedSource` is what opens it again. `close` may come from another thread.
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
        self._device, self._clock = device, clock
        self._closed = False
        self._using = threading.Lock()  # whoever closes must not free the capture while a grab is under way
        self._ring = Ring()
        self._seq = 0
        self._capture = opener(device, size=size, fps=fps)
        arrived, self._raw = self._capture.read()
        self.format = _format(self._capture)
        if not arrived:
            self._capture.release()
            raise explain(device)
        self.size = size_of(self._raw, self.format)
        given = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = given if 1 <= given <= 240 else fps
        self._descriptor = _descriptor_of(device)

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        with self._using:
            try:
                return self._next_frame()
            finally:
                if self._closed:
                    self._capture.release()

    def _next_frame(self) -> Frame:
        while not self._closed and not _ready(self._descriptor):
            pass
        if self._closed:
            raise StopIteration
        try:
            arrived = self._capture.grab()
            captured_at = self._clock.now()
            if arrived:
                arrived, self._raw = self._capture.retrieve(self._raw)
        except cv2.error as reason:
            raise SourceError(f"{self.name} gave a picture that cannot be decoded: {reason.err}") from reason
        if not arrived:
            raise explain(self._device)
        raw = self._raw
        width, height = size_of(raw, self.format)
        pixels = self._ring.lease((height, width, 3))
        to_rgb(raw, self.format, pixels)
        self._seq += 1
        return Frame(self._seq - 1, pixels, captured_at)

    def close(self) -> None:
        self._closed = True
        if self._using.acquire(blocking=False):  # otherwise whoever is grabbing frees it
            self._capture.release()
            self._using.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def size_of(raw: NDArray[Any], fourcc: str) -> tuple[int, int]:
    """Returns (width, height) of a picture as a camera of that format gives it."""
    height, width = raw.shape[:2]
    return width, height * 2 // 3 if raw.ndim == 2 and fourcc in PLANAR else height


def to_rgb(raw: NDArray[Any], fourcc: str, out: Pixels) -> None:
    """Writes the picture `raw` into `out` (H, W, 3) RGB: OpenCV's BGR, or what a driver gave that it left as it was."""
    if raw.ndim == 2:
        code = PLANAR.get(fourcc, cv2.COLOR_GRAY2RGB)
    else:
        packed = PACKED.get(fourcc, cv2.COLOR_YUV2RGB_YUYV)
        code = {1: cv2.COLOR_GRAY2RGB, 2: packed, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}[raw.shape[2]]
    cv2.cvtColor(raw, code, dst=out)


def _format(capture: Capture) -> str:
    """Returns the four letters of the pixel format that was agreed on, empty where the camera does not say."""
    code = max(0, int(capture.get(cv2.CAP_PROP_FOURCC)))
    return code.to_bytes(8, "little")[:4].decode("latin-1").strip("\0 ")


def _descriptor_of(device: int | str) -> int | None:
    """Returns the descriptor of the camera that this process opened last, on Linux; None where it cannot be known."""
    found = None
    if sys.platform == "linux":
        node = _node(device)
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if os.readlink(link) == str(node):
                    found = max(found or 0, int(link.name))
    return found


def _ready(descriptor: int | None) -> bool:
    """Whether a grab will not block: a picture waits, or an error does. Waits for up to `LOOK` seconds.

    A driver may hold a grab for ten seconds and more, in which nobody could stop the reading thread.
    """
    if descriptor is None:
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(LOOK))


def seems_free(device: int | str) -> bool:
    """Whether it is worth a try to open the camera now; elsewhere than on Linux nobody can tell, and it is not."""
    node = _node(device)
    return sys.platform == "linux" and os.access(node, os.R_OK | os.W_OK) and holder_of(node) is None


def holder_of(node: Path) -> str | None:
    """Returns the program that has `node` open, with its process number, as far as this user may look; not ours."""
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        with suppress(OSError):
            if any(os.readlink(link) == str(node) for link in (process / "fd").iterdir()):
                return f"{_text(process / 'comm') or 'a program'} (process {process.name})"
    return None


def explain(device: int | str) -> SourceError:
    """Returns why a camera gives no pictures, as far as that can be found out, and what to do."""
    if sys.platform == "linux":
        node = _node(device)
        if not node.exists():
            return SourceGone(f"expected a camera at {node}, found none; {_known_cameras()}")
        if not os.access(node, os.R_OK | os.W_OK):
            return SourceDenied(
                f"this user may not open the camera {node}; run: sudo usermod -aG video $USER, "
                "then log out and in again"
            )
        if (holder := holder_of(node)) is not None:
            return SourceBusy(f"the camera {node} is in use by {holder}; close that program")
    return SourceError(_unusable(device))


def _node(device: int | str) -> Path:
    return Path(f"/dev/video{device}" if isinstance(device, int) else device)


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
