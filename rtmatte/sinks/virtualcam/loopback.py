"""What Linux needs beyond pyvirtualcam: the module v4l2loopback, whose nodes are the virtual cameras there.

Elsewhere every function answers as if there were nothing to do.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Browsers and meeting programs list only devices that say they can capture and nothing else: exclusive_caps.
LOAD_MODULE = 'sudo modprobe v4l2loopback devices=1 exclusive_caps=1 max_buffers=2 card_label="rtmatte"'
RELOAD_MODULE = f"sudo modprobe -r v4l2loopback && {LOAD_MODULE}"

NODES = "devices/virtual/video4linux"  # below /sys
SYSFS = Path("/sys")
# From linux/videodev2.h: _IOW('V', 18, int) and V4L2_BUF_TYPE_VIDEO_OUTPUT.
VIDIOC_STREAMON = 0x40045612
VIDEO_OUTPUT = 2
LOOKS = 3  # a new reader may first get a picture or two that an earlier writer left


def devices(sysfs: Path = SYSFS) -> list[str]:
    """Returns the virtual cameras that the module has made, in use or not."""
    return [f"/dev/{node.name}" for node in (sysfs / NODES).glob("video*")]


def carried_format(device: str, sysfs: Path = SYSFS) -> str:
    """Returns what the module says that `device` carries, like YU12:1280x720; empty where it does not say."""
    try:
        return (sysfs / NODES / Path(device).name / "format").read_text().partition("@")[0].strip()
    except OSError:
        return ""


def own_descriptors(device: str) -> list[int]:
    """Returns the descriptors under which this process has `device` open."""
    found: list[int] = []
    if sys.platform == "linux":
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # closed since it was listed, or no file of that name
                if os.path.samefile(link, device):
                    found.append(int(link.name))
    return found


def stream_on(device: str) -> None:
    """Marks the open `device` as written to, which pyvirtualcam leaves out.

    Without it version 0.12 of the module with exclusive_caps refuses every later writer once this one has closed or
    was killed. Where it is refused the camera still works, so errors are passed over.
    """
    if sys.platform == "linux":
        import fcntl

        for descriptor in own_descriptors(device):
            with suppress(OSError):
                fcntl.ioctl(descriptor, VIDIOC_STREAMON, VIDEO_OUTPUT.to_bytes(4, sys.byteorder))


def comes_back(device: str, sent: NDArray[np.uint8]) -> bool:
    """Returns whether a reader of `device` gets the bytes just `sent`; pyvirtualcam does not tell of a refused write.

    True where there is no way to look: no such node, or one that lets no further reader in.
    """
    expected = sent.tobytes()
    if sys.platform == "linux":
        with suppress(OSError), open(device, "rb", buffering=0, opener=_without_waiting) as reader:
            return any(reader.read(len(expected) + 1) == expected for _ in range(LOOKS))
    return True


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
