"""The way between two hosts, as a process: a TUN device in each namespace, and what happens to packets in between.

python -m tests.network.weather FIRST SECOND    the names of two network namespaces

It says "ready" when both have a device called DEVICE, and obeys lines: "fair", "rough" (LOSS and up to JITTER, so that
packets overtake each other), "cut" (none arrives). To each it answers with the time on the monotonic clock.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import random
import struct
import sys
import time
from contextlib import suppress

from tests.network import DEVICE

assert sys.platform == "linux", "only there are network namespaces"

LOSS, JITTER = 0.05, 0.030  # seconds
LARGEST = 2048  # bytes of a packet; the devices take 1500

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000


class Weather:
    """Carries packets both ways; seeded, so that the same packets are lost in every run."""

    def __init__(self, first: int, second: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._chance = random.Random(7)
        self.now = "fair"
        self.lost = 0
        for here, there in ((first, second), (second, first)):
            self._loop.add_reader(here, self._carry, here, there)

    def _carry(self, here: int, there: int) -> None:
        packet = os.read(here, LARGEST)
        if self.now == "fair":
            _leave(there, packet)
        elif self.now == "cut" or self._chance.random() < LOSS:
            self.lost += 1
        else:
            self._loop.call_later(self._chance.uniform(0, JITTER), _leave, there, packet)


def _leave(device: int, packet: bytes) -> None:
    with suppress(OSError):  # the other host is not up yet, or has gone
        os.write(device, packet)


def open_device(namespace: str) -> int:
    """Returns a TUN device in the namespace, into which this process goes."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if libc.setns(place, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.close(place)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


async def _run(first: str, second: str) -> None:
    weather = Weather(open_device(first), open_device(second))
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print("ready", flush=True)
    while line := (await orders.readline()).decode().strip():
        weather.now = line
        print(time.monotonic(), weather.lost, flush=True)


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
