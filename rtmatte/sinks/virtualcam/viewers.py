"""Whether anybody watches a v4l2loopback device: how often other programs hold it open, told by inotify (Linux)."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import sys
from pathlib import Path
from threading import Event, Thread
from typing import Self

from rtmatte.errors import EnvironmentFault
from rtmatte.sinks.virtualcam.loopback import SYSFS, devices, own_descriptors

IN_CLOSE, IN_OPEN = 0x18, 0x20  # from linux/inotify.h; the first is closing after writing or not
EVENT = struct.Struct("iIII")  # watch, mask, cookie, bytes of a name; a node's own events have no name
PERIOD = 0.5  # seconds after which the reading thread looks whether it is to end


class Viewers:
    """Counts the opens of `device` by others, from any thread. Made when this process has opened it for itself.

    An open is not yet a stream: programs open a camera for a moment to list it. The kernel tells two equal events in
    a row as one when they are not read at once, so its count of the module's users, where there is one, has the last
    word.
    """

    def __init__(self, device: str, *, sysfs: Path = SYSFS) -> None:
        """Starts to watch; EnvironmentFault where that cannot be done."""
        self._users = sysfs / "module/v4l2loopback/refcnt"
        self._alone = len(devices(sysfs)) == 1
        self._own = len(own_descriptors(device))
        self._opens = 0
        self._closing = Event()
        self._events = _watch(device)
        self._thread = Thread(target=self._read, name="viewers", daemon=True)
        self._thread.start()

    def count(self) -> int:
        """Returns how many opens of the device others hold."""
        try:
            others = int(self._users.read_text()) - self._own
        except (OSError, ValueError):  # the module is part of the kernel, or counts nothing
            return self._opens
        return max(0, others if self._alone else min(self._opens, others))

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _read(self) -> None:
        with open(self._events, "rb", buffering=0) as events:
            while not self._closing.is_set():
                if select.select([events], [], [], PERIOD)[0]:
                    for _, mask, _, _ in EVENT.iter_unpack(events.read(64 * EVENT.size)):
                        self._opens += bool(mask & IN_OPEN)
                        self._opens = max(0, self._opens - bool(mask & IN_CLOSE))


def _watch(device: str) -> int:
    """Returns the descriptor of an inotify that tells every open and close of `device`."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        events = libc.inotify_init1(os.O_CLOEXEC)
        if events >= 0 and libc.inotify_add_watch(events, os.fsencode(device), IN_OPEN | IN_CLOSE) >= 0:
            return int(events)
        reason = os.strerror(ctypes.get_errno())
        if events >= 0:
            os.close(events)
        raise EnvironmentFault(f"cannot watch {device} ({reason}); leave --on-demand out")
    raise EnvironmentFault("only v4l2loopback on Linux tells who watches; leave --on-demand out")
