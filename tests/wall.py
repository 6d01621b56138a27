"""What the tests of the line share. The source here owns one buffer and poisons it, so whoever keeps a lease too long
is caught; threads meet at events, and nothing is timed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from threading import Event

import numpy as np
from numpy.typing import NDArray

from rtmatte.backends.fake import FakeEngine, Faults
from rtmatte.clock import ManualClock
from rtmatte.contract import Gates
from rtmatte.frame import Frame, Mask, Matte
from rtmatte.session import Session
from rtmatte.step import Array, State
from rtmatte.targets.mask import MaskTarget

WIDTH, HEIGHT = 64, 36
COUNT = 30
LONG = 20.0  # seconds before a test that hangs gives up

Hook = Callable[[int], object]


def nothing(seq: int) -> None:
    pass


def disc(seq: int) -> NDArray[np.bool_]:
    """Returns where the disc is in frame `seq`; no two frames are further apart than the fake engine can follow."""
    y, x = np.ogrid[0:HEIGHT, 0:WIDTH]
    inside: NDArray[np.bool_] = (x - 28 - seq % 9) ** 2 + (y - HEIGHT / 2) ** 2 < 81
    return inside


def picture(seq: int) -> NDArray[np.uint8]:
    return np.where(disc(seq)[..., None], np.array([220, 210, seq % 9 + 150]), 20).astype(np.uint8)


def frames(count: int = COUNT, *, after: Hook = nothing, error: Exception | None = None) -> Iterator[Frame]:
    """Yields frames in one buffer, calls `after(seq)` when the next is asked for, and raises `error` at the end."""
    buffer = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for seq in range(count):
        np.copyto(buffer, picture(seq))
        yield Frame(seq, buffer, captured_at=0.0)
        buffer.fill(255)
        after(seq)
    if error is not None:
        raise error


class Engine(FakeEngine):
    """Calls `before(number of the call)` in front of every step."""

    def __init__(
        self, before: Hook = nothing, *, faults: Faults | None = None, clock: ManualClock | None = None
    ) -> None:
        super().__init__(WIDTH, HEIGHT, faults=faults, clock=clock)
        self._before = before

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        self._before(len(self.calls))
        return super().step(frame, mask, gates, state)


class Wall:
    """Compositor and sink in one: calls `before(seq)` in every write, then notes what it has been given.

    `sent` holds the seq of every frame, `wrong` of those whose pixels or alpha were another frame's by then.
    """

    def __init__(self, before: Hook = nothing) -> None:
        self.sent: list[int] = []
        self.wrong: list[int] = []
        self._before = before

    def render(self, matte: Matte) -> Frame:
        self._matte = matte
        return matte.frame

    def write(self, frame: Frame) -> None:
        self._before(frame.seq)
        self.sent.append(frame.seq)
        alpha = self._matte.alpha
        own = alpha is not None and bool((np.abs(alpha - disc(frame.seq)) < 0.1).all())
        if not own or not (frame.pixels == picture(frame.seq)).all():
            self.wrong.append(frame.seq)


def session_of(engine: FakeEngine, clock: ManualClock | None = None) -> Session:
    mask = Mask(disc(0).astype(np.float32))
    return Session(engine, MaskTarget(mask), clock or ManualClock())


def wait(event: Event) -> None:
    assert event.wait(LONG)


def no_thread_stays() -> Iterator[None]:
    """Runs a test, and waits for the threads that it leaves: a fixture."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(LONG)
        assert not thread.is_alive()
