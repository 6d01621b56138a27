"""Cameras made of queues, that give a picture, fail or fall silent when a test says so, and sources watching them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rtmatte.clock import ManualClock
from rtmatte.errors import SourceError
from rtmatte.frame import Frame
from rtmatte.sources import Source
from rtmatte.sources.watch import WatchedSource

RATE = 25.0
PERIOD = 1 / RATE
LONG = 20.0  # seconds before a test that hangs gives up


class Camera:
    """Gives the frames that were put in; an error that was put in is raised, None is the end."""

    name, frame_count = "camera", None

    def __init__(self, clock: ManualClock, *, size: tuple[int, int] = (32, 24), fps: float = RATE) -> None:
        self.size, self.fps = size, fps
        self._clock = clock
        self._items: queue.Queue[Frame | Exception | None] = queue.Queue()
        self.asked = threading.Semaphore(0)
        self.closed = threading.Event()
        self.hangs = False  # a driver that holds the reading thread although the source was closed

    def show(self, level: int, *, width: int = 32) -> None:
        """Gives a picture of one level now, and returns when it was taken."""
        self.give(np.full((24, width, 3), level, np.uint8))

    def give(self, pixels: NDArray[Any]) -> None:
        assert self.asked.acquire(timeout=LONG)
        self._items.put(Frame(0, pixels, self._clock.now()))
        self.settle()

    def fail(self, error: Exception | None) -> None:
        assert self.asked.acquire(timeout=LONG)
        self._items.put(error)

    def settle(self) -> None:
        assert self.asked.acquire(timeout=LONG)
        self.asked.release()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            self.asked.release()
            item = self._items.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                return
            yield item

    def close(self) -> None:
        if not self.hangs:
            self._items.put(None)
        self.closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Cameras:
    """An opener that gives what it has in turn; `tried` holds when it was asked, `opened` follows every answer."""

    def __init__(self, clock: ManualClock, *found: Camera | SourceError) -> None:
        self._clock = clock
        self._found = list(found)
        self.tried: list[float] = []
        self.opened = threading.Semaphore(0)

    def __call__(self) -> Source:
        self.tried.append(self._clock.now())
        self.opened.release()
        found = self._found.pop(0)
        if isinstance(found, SourceError):
            raise found
        return found


def watched(
    *found: Camera | SourceError, clock: ManualClock, returned: Callable[[], bool] = lambda: False
) -> tuple[WatchedSource, Cameras]:
    """Returns a source that watches the first camera found, once that was opened, and the opener of all."""
    cameras = Cameras(clock, *found)
    source = WatchedSource(cameras, clock, returned=returned)
    cameras.opened.acquire()
    return source, cameras
