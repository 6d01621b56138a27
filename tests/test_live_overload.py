"""A live line on a machine that is too slow: no frame grows old, and what is given up is given up in order.

Time is made by hand: while the network works on one frame the clock goes on by some periods and the camera gives as
many frames, one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Semaphore

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.backends.fake import FakeEngine
from rtmatte.clock import ManualClock
from rtmatte.contract import Gates
from rtmatte.control import Control
from rtmatte.frame import Frame, Mask
from rtmatte.ladder import Rung
from rtmatte.live import LiveLine
from rtmatte.live.line import LEFT_OUT
from rtmatte.pipeline import NETWORK_BUSY, Counts
from rtmatte.settings import Settings
from rtmatte.sources.synthetic import SyntheticSource
from rtmatte.step import Array, State

SIZE = (96, 54)
PERIOD = 1 / 30
LONG = 30.0


class SlowLine:
    """A line whose network takes `periods` of the camera for each call, until `frames` came or the lowest rung."""

    def __init__(self, *, periods: int, frames: int) -> None:
        self.clock = ManualClock()
        self.ages: list[float] = []  # of each frame when it was written
        self.rungs: list[Rung] = []
        self._scene = SyntheticSource(self.clock, size=SIZE)
        self._periods, self._count = periods, frames
        self._go, self._arrived, self._written = Semaphore(0), Semaphore(0), Semaphore(0)
        self._over = False
        mask = Mask((self._scene.alpha_of(0) > 0.5).astype(np.float32))
        control = Control(Settings(background="green"))
        self.line = LiveLine(SlowEngine(self.work), control, self.clock, size=SIZE, first_mask=mask)

    def run(self) -> Counts:
        return self.line.run(self._frames(), self, progress=self._note)

    def work(self, call: int) -> None:
        """Lets time pass for one call of the network, once what came before it was written."""
        if call:
            assert self._written.acquire(timeout=LONG)
        for _ in range(self._periods):
            if not self._over:
                self._next_frame()

    def _next_frame(self) -> None:
        """Lets a period pass and the camera give a frame; returns once that is in the mailbox, or was left out."""
        self.clock.advance(PERIOD)
        self._go.release()
        assert self._arrived.acquire(timeout=LONG)

    def _frames(self) -> Iterator[Frame]:
        for seq in range(self._count):
            if seq:  # the first comes by itself: the network has nothing to work on before it
                assert self._go.acquire(timeout=LONG)
            if self._over:
                break
            # The disc stands still, so that a frame lost in between does not lose it.
            yield Frame(seq, self._scene.pixels_of(0), self.clock.now())
            # Asked for the next one: whoever took this one has put it where it goes.
            self._over = self._over or seq == self._count - 1
            if seq:
                self._arrived.release()

    def _note(self, counts: Counts) -> None:
        self.rungs.append(self.line.status.rung)
        if self.rungs[-1] is Rung.BLUR_ALL:  # the network runs no more, so time would stand still
            self._over = True
            self._go.release()
        self._written.release()

    def write(self, frame: Frame) -> None:
        self.ages.append(self.clock.now() - frame.captured_at)


class SlowEngine(FakeEngine):
    def __init__(self, work: object) -> None:
        super().__init__(*SIZE)
        self._work = work

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        assert callable(self._work)
        self._work(len(self.calls))
        return super().step(frame, mask, gates, state)


@pytest.mark.parametrize("periods", [1, 3, 7])
def test_no_frame_is_older_than_two_periods_and_the_time_its_stages_take(periods: int) -> None:
    slow = SlowLine(periods=periods, frames=40 * periods)

    counts = slow.run()

    assert len(slow.ages) > 30
    assert max(slow.ages) <= (2 + periods) * PERIOD + 1e-9
    whole_rate = [age for age, rung in zip(slow.ages, slow.rungs, strict=True) if not rung.gives_up(Rung.HALF_RATE)]
    assert max(whole_rate) <= periods * PERIOD + 1e-9  # the newest frame there was, and no older than its own way
    assert np.mean(slow.ages[-10:]) <= np.mean(slow.ages[5:15]) + 1e-9  # it does not grow
    assert counts.received == counts.sent + sum(counts.dropped.values())
    assert (counts.dropped.get(NETWORK_BUSY, 0) > 0) is (periods > 1)


def test_under_overload_each_rung_is_taken_and_told() -> None:
    slow = SlowLine(periods=6, frames=3000)

    counts = slow.run()

    assert list(dict.fromkeys(slow.rungs)) == [Rung.FULL, Rung.SPARSE, Rung.HALF_RATE, Rung.BLUR_ALL]
    warnings = slow.line.status.warnings
    assert [rung.warning in warnings for rung in Rung] == [False, False, True, True, True]
    assert counts.dropped[LEFT_OUT] > 0
    assert counts.received == counts.sent + sum(counts.dropped.values())
    assert slow.line.status.to_dict()["rung"] == "nobody shown"
