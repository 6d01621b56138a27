"""A virtual camera as a sink (pyvirtualcam, which is GPLv2: optional and loaded late).

Frames are sent when they come; nothing waits for a clock, since that would only add latency.
"""

from __future__ import annotations

import sys
from threading import Event, Lock, Thread
from typing import Any, Self

import numpy as np

from rtmatte.clock import Clock, MonotonicClock
from rtmatte.errors import EnvironmentFault, SinkError
from rtmatte.frame import Frame
from rtmatte.imaging import Fit
from rtmatte.sinks import rgb_of
from rtmatte.sinks.virtualcam.layout import Packer, PixelFormat
from rtmatte.sinks.virtualcam.loopback import (
    LOAD_MODULE,
    RELOAD_MODULE,
    carried_format,
    comes_back,
    devices,
    stream_on,
)
from rtmatte.sinks.virtualcam.viewers import Viewers

__all__ = ["HINTS", "LOAD_MODULE", "RELOAD_MODULE", "PixelFormat", "Viewers", "VirtualCameraSink"]

HINTS = {
    "linux": f"sudo apt install v4l2loopback-dkms (or your system's package of it), then run: {LOAD_MODULE}",
    "darwin": "install OBS Studio 30 or newer, start its virtual camera once and stop it again",
    "win32": "install OBS Studio, start its virtual camera once and stop it again",
}
SLATE = (52, 58, 66)  # RGB
BEAT = 0.25  # seconds without a frame after which the last one is sent again; browsers give a silent camera up
HOLD = 1.0  # seconds after which it is the slate instead: nobody shall take an old picture for a live one


class VirtualCameraSink:
    """Shows RGB frames as a camera of one fixed size; frames of another are fitted in with black around them.

    Sides are made even. From its opening on a slate is shown, and again when nobody has written for a while. The
    pixel format is I420 on Linux, where readers get what was sent, elsewhere RGB, which the system converts.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int],
        fps: float,
        device: str | None = None,
        backend: str | None = None,
        pixel_format: PixelFormat | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Opens `device` (any free one when None); EnvironmentFault or SinkError says what to run when it cannot,
        also when what is sent there reaches no reader."""
        width, height = (side - side % 2 for side in size)
        chosen = pixel_format or (PixelFormat.I420 if sys.platform == "linux" else PixelFormat.RGB)
        self._clock = clock or MonotonicClock()
        self._packer = Packer(chosen, (width, height))
        self._canvas = np.full((height, width, 3), SLATE, np.uint8)
        self._camera = _open((width, height), fps, chosen, device, backend)
        self.device: str = self._camera.device
        self._sending = Lock()
        self._hold = max(HOLD, 2 / fps)  # a camera of one picture a second is no silent one
        self._written_at = -self._hold
        try:
            self._begin(chosen)
        except SinkError:
            self._camera.close()
            raise
        self._closing = Event()
        self._keeper = Thread(target=self._keep, name="virtual camera", daemon=True)
        self._keeper.start()

    def write(self, frame: Frame) -> None:
        height, width = self._canvas.shape[:2]
        pixels = rgb_of(frame)
        with self._sending:
            Fit.contain(frame.size, (width, height)).forward(pixels, self._canvas)
            self._send()
            self._written_at = self._sent_at

    def keep_alive(self) -> None:
        """Sends again what the camera shows when it has been silent, the slate when it has been silent for long."""
        with self._sending:
            now = self._clock.now()
            if now - self._sent_at >= BEAT / 2:
                if now - self._written_at > self._hold - BEAT:  # by the next beat it would have stood too long
                    self._canvas[:] = SLATE
                self._send()

    def close(self) -> None:
        self._closing.set()
        self._keeper.join()
        self._camera.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _begin(self, chosen: PixelFormat) -> None:
        """Shows the slate; SinkError when readers would not get it as it is sent."""
        height, width = self._canvas.shape[:2]
        stream_on(self.device)
        carried = carried_format(self.device)
        if carried not in ("", f"{chosen.fourcc}:{width}x{height}"):
            raise SinkError(
                f"{self.device} carries {carried} as long as a program has it open that did so before; close that "
                "program, or ask for this size and pixel format"
            )
        self._send()
        if chosen is not PixelFormat.RGB and not comes_back(self.device, self._packed):
            raise SinkError(f"what is sent to {self.device} reaches no reader; run: {RELOAD_MODULE}")

    def _keep(self) -> None:
        while not self._closing.wait(BEAT):
            try:
                self.keep_alive()
            except SinkError:  # the next write meets it, too, and tells
                return

    def _send(self) -> None:
        self._packed = self._packer.pack(self._canvas)
        try:
            self._camera.send(self._packed)
        except (OSError, RuntimeError) as reason:
            raise SinkError(f"the virtual camera {self.device} takes no more frames: {reason}; start again") from reason
        self._sent_at = self._clock.now()


def _open(size: tuple[int, int], fps: float, pixel_format: PixelFormat, device: str | None, backend: str | None) -> Any:
    try:
        import pyvirtualcam
    except ImportError as reason:
        raise EnvironmentFault(
            "the virtual camera needs the package pyvirtualcam; run: pip install 'rtmatte[vcam]'"
        ) from reason
    layout = pyvirtualcam.PixelFormat[pixel_format.name]
    try:
        return pyvirtualcam.Camera(*size, fps, fmt=layout, device=device, backend=backend)
    except RuntimeError as reason:
        raise _explained(str(reason), device) from reason


def _explained(reason: str, device: str | None) -> EnvironmentFault | SinkError:
    """Returns the error for what pyvirtualcam said, by the words it uses."""
    name = device or ", ".join(devices()) or "the virtual camera"
    if "in use" in reason or "busy" in reason:
        return SinkError(f"{name} is in use by another program; stop that one or give another device")
    if "not a video output device" in reason or (device is None and devices()):
        # With exclusive_caps a device takes one writer; older modules refuse the next ones, too, if rtmatte was not it.
        return SinkError(
            f"{name} takes no pictures; stop the program that shows some there (fuser -v {name} tells which), and if "
            f"there is none, run: {RELOAD_MODULE}"
        )
    hint = HINTS.get(sys.platform, "see the documentation of pyvirtualcam")
    return EnvironmentFault(f"expected a virtual camera, found none ({' '.join(reason.split())}); {hint}")
