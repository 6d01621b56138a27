"""A virtual camera as a sink (pyvirtualcam, which is GPLv2: optional and loaded late).

Frames are sent when they come; nothing waits for a clock, since that would only add latency.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from rtmatte.errors import EnvironmentFault, SinkError
from rtmatte.frame import Frame
from rtmatte.imaging import Fit
from rtmatte.sinks import rgb_of

LOAD_MODULE = 'sudo modprobe v4l2loopback devices=1 exclusive_caps=1 max_buffers=2 card_label="rtmatte"'
HINTS = {
    # Browsers and meeting programs list only devices that say they can capture and nothing else: exclusive_caps.
    "linux": f"install v4l2loopback-dkms, then run: {LOAD_MODULE}",
    "darwin": "install OBS Studio 30 or newer, start its virtual camera once and stop it again",
    "win32": "install OBS Studio, start its virtual camera once and stop it again",
}
# From linux/videodev2.h: _IOW('V', 18, int) and V4L2_BUF_TYPE_VIDEO_OUTPUT.
VIDIOC_STREAMON = 0x40045612
VIDEO_OUTPUT = 2


class VirtualCameraSink:
    """Shows RGB frames as a camera of one fixed size; frames of another are fitted in with black around them."""

    def __init__(
        self, *, size: tuple[int, int], fps: float, device: str | None = None, backend: str | None = None
    ) -> None:
        """Opens `device` (any free one when None); EnvironmentFault or SinkError says what to run when it cannot."""
        self._canvas = np.zeros((size[1], size[0], 3), np.uint8)
        self._camera = _open(size, fps, device, backend)
        self.device: str = self._camera.device
        _stream_on(self.device)

    def write(self, frame: Frame) -> None:
        height, width = self._canvas.shape[:2]
        Fit.contain(frame.size, (width, height)).forward(rgb_of(frame), self._canvas)
        try:
            self._camera.send(self._canvas)
        except (OSError, RuntimeError) as reason:
            raise SinkError(f"the virtual camera {self.device} takes no more frames: {reason}; start again") from reason

    def close(self) -> None:
        self._camera.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _open(size: tuple[int, int], fps: float, device: str | None, backend: str | None) -> Any:
    try:
        import pyvirtualcam
    except ImportError as reason:
        raise EnvironmentFault(
            "the virtual camera needs the package pyvirtualcam; run: pip install 'rtmatte[vcam]'"
        ) from reason
    try:
        return pyvirtualcam.Camera(*size, fps, device=device, backend=backend)
    except RuntimeError as reason:
        raise _explained(str(reason), device) from reason


def _explained(reason: str, device: str | None) -> EnvironmentFault | SinkError:
    """Returns the error for what pyvirtualcam said, by the words it uses."""
    name = device or "the virtual camera"
    if "in use" in reason or "busy" in reason:
        return SinkError(f"{name} is in use by another program; stop that one or give another device")
    if "not a video output device" in reason:
        # What older modules do to a device with exclusive_caps once its writer has left.
        return EnvironmentFault(
            f"{name} takes no pictures any more; run: sudo modprobe -r v4l2loopback && {LOAD_MODULE}"
        )
    hint = HINTS.get(sys.platform, "see the documentation of pyvirtualcam")
    return EnvironmentFault(f"expected a virtual camera, found none ({' '.join(reason.split())}); {hint}")


def _stream_on(device: str) -> None:
    """Marks a v4l2loopback device as streaming, which pyvirtualcam leaves out; elsewhere it does nothing.

    Without it version 0.12 with exclusive_caps refuses every later writer once this one has closed. Where it is
    refused the camera still works, so errors are passed over.
    """
    if sys.platform == "linux":
        import fcntl

        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if os.path.samefile(link, device):
                    fcntl.ioctl(int(link.name), VIDIOC_STREAMON, VIDEO_OUTPUT.to_bytes(4, sys.byteorder))
