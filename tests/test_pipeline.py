"""The straight line, in turn and on threads: every frame with its own alpha, every frame accounted for.

The sources here own one buffer and poison it, so whoever keeps a lease too long is caught. Threads meet at events;
nothing is timed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from threading import Event, Thread

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.backends.fake import FakeEngine, Faults
from rtmatte.clock import ManualClock
from rtmatte.contract import Gates
from rtmatte.errors import SinkError, SourceTruncated
from rtmatte.frame import Frame, Mask, Matte
from rtmatte.latency import END_TO_END, WAITING, Meter
from rtmatte.pipeline import (
    FAILED,
    LEFT_BEHIND,
    NETWORK_BUSY,
    OUTPUT_BUSY,
    STOPPED,
    Counts,
    run_ahead,
    run_inline,
    run_live,
)
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


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(LONG)
        assert not thread.is_alive()


# In turn.


def test_every_frame_is_sent_in_order_with_its_own_alpha() -> None:
    wall, told = Wall(), list[Counts]()

    counts = run_inline(frames(), session_of(Engine()), wall, wall, progress=told.append)

    assert counts == Counts(COUNT, COUNT, {})
    assert wall.sent == list(range(COUNT))
    assert wall.wrong == []
    assert [c.sent for c in told] == list(range(1, COUNT + 1))


def test_each_stage_is_metered() -> None:
    clock, meter = ManualClock(), Meter()
    engine = Engine(faults=Faults(step_seconds=0.010), clock=clock)
    wall = Wall(before=lambda seq: clock.advance(0.003))

    run_inline(frames(), session_of(engine, clock), wall, wall, meter=meter)

    p50 = {name: round(percentiles.p50, 3) for name, percentiles in meter.summary().items()}
    assert (p50["network"], p50["composited"], p50["sent"], p50[WAITING]) == (10, 0, 3, 0)
    assert END_TO_END in p50


def test_a_truncated_source_is_told_after_its_last_frame_is_sent() -> None:
    wall = Wall()

    with pytest.raises(SourceTruncated, match="cut"):
        run_inline(frames(5, error=SourceTruncated("cut off")), session_of(Engine()), wall, wall)

    assert wall.sent == list(range(5))


# One frame ahead.


def test_the_network_has_the_next_frame_while_one_is_drawn_and_each_keeps_its_own_alpha() -> None:
    told, read, ahead = list[Counts](), list[int](), threading.Semaphore(0)

    def step(number: int) -> None:
        if read:  # of a frame after the first
            ahead.release()

    def draw(seq: int) -> None:
        if seq < COUNT - 1:
            assert ahead.acquire(timeout=LONG)  # would never be if the network waited for the drawing

    wall = Wall(before=draw)
    counts = run_ahead(frames(after=read.append), session_of(Engine(step)), wall, wall, progress=told.append)

    assert counts == Counts(COUNT, COUNT, {})
    assert (wall.sent, wall.wrong) == (list(range(COUNT)), [])
    assert [c.sent for c in told] == list(range(1, COUNT + 1))


def test_ahead_a_truncated_source_is_told_after_its_last_frame_is_sent() -> None:
    wall = Wall()

    with pytest.raises(SourceTruncated, match="cut"):
        run_ahead(frames(5, error=SourceTruncated("cut off")), session_of(Engine()), wall, wall)

    assert wall.sent == list(range(5))


def test_ahead_an_error_of_the_sink_ends_the_run_and_nothing_is_sent_after_it() -> None:
    def full(seq: int) -> None:
        if seq == 3:
            raise SinkError("no space left")

    wall = Wall(before=full)

    with pytest.raises(SinkError, match="no space"):
        run_ahead(frames(), session_of(Engine()), wall, wall)

    assert wall.sent == [0, 1, 2]


# On threads.


def test_a_line_that_keeps_up_sends_every_frame() -> None:
    sent = Event()

    def written(seq: int) -> None:
        sent.set()

    def await_it(seq: int) -> None:
        wait(sent)
        sent.clear()

    wall = Wall(before=written)
    counts = run_live(frames(after=await_it), session_of(Engine()), wall, wall)

    assert counts == Counts(COUNT, COUNT, {})
    assert wall.sent == list(range(COUNT))
    assert wall.wrong == []


def test_when_the_network_is_busy_the_newest_frame_waits_for_it() -> None:
    begun, read = Event(), Event()
    meter, wall = Meter(), Wall()

    def hold(call: int) -> None:
        begun.set()
        wait(read)

    def go_on(seq: int) -> None:
        wait(begun)  # with frame 0
        if seq == COUNT - 1:
            read.set()

    counts = run_live(frames(after=go_on), session_of(Engine(hold)), wall, wall, meter=meter)

    assert wall.sent[-1] == COUNT - 1
    assert wall.wrong == []
    assert counts.dropped[NETWORK_BUSY] == COUNT - 2
    assert counts.sent + counts.dropped.get(OUTPUT_BUSY, 0) == 2
    assert meter.drops == counts.dropped


def test_when_the_output_is_busy_the_newest_matte_waits_for_it_and_no_memory_is_reused() -> None:
    writing, read = Event(), Event()
    begun = threading.Semaphore(0)

    def cut_out(call: int) -> None:
        if call >= 2:  # the last pass over frame 0, then one call for every frame
            begun.release()

    def go_on(seq: int) -> None:
        assert begun.acquire(timeout=LONG)  # the mailbox before the network is free again
        wait(writing)
        if seq == COUNT - 1:
            read.set()

    def hold(seq: int) -> None:
        writing.set()
        wait(read)

    wall = Wall(before=hold)
    counts = run_live(frames(after=go_on), session_of(Engine(cut_out)), wall, wall)

    assert wall.sent[0] == 0
    assert wall.sent[-1] == COUNT - 1
    assert wall.wrong == []
    assert counts.dropped == {OUTPUT_BUSY: COUNT - counts.sent}
    assert counts.sent <= 3


def test_however_the_threads_run_every_frame_is_accounted_for() -> None:
    wall, meter = Wall(), Meter()

    counts = run_live(frames(200), session_of(Engine()), wall, wall, meter=meter)

    assert counts.received == 200
    assert counts.sent == len(wall.sent)
    assert wall.sent == sorted(wall.sent)
    assert wall.sent[-1] == 199
    assert wall.wrong == []
    assert LEFT_BEHIND not in counts.dropped
    assert counts.received == counts.sent + sum(meter.drops.values())


def test_an_error_of_the_source_is_told_after_what_came_before_it() -> None:
    wall = Wall()

    with pytest.raises(SourceTruncated, match="cut"):
        run_live(frames(5, error=SourceTruncated("cut off")), session_of(Engine()), wall, wall)

    assert wall.sent[-1] == 4


def test_an_error_of_the_network_ends_the_run_and_is_raised() -> None:
    meter, wall, failed = Meter(), Wall(), Event()

    def fail(call: int) -> None:
        failed.set()
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="mistake"):
        run_live(frames(after=lambda seq: wait(failed)), session_of(Engine(fail)), wall, wall, meter=meter)

    assert meter.drops[FAILED] == 1
    assert LEFT_BEHIND not in meter.drops
    assert wall.sent == []


def test_an_error_of_the_sink_ends_the_run_and_is_raised() -> None:
    meter, failed = Meter(), Event()

    def fail(seq: int) -> None:
        failed.set()
        raise SinkError("disk full")

    wall = Wall(before=fail)
    with pytest.raises(SinkError, match="disk full"):
        run_live(frames(after=lambda seq: wait(failed)), session_of(Engine()), wall, wall, meter=meter)

    assert meter.drops[FAILED] == 1
    assert LEFT_BEHIND not in meter.drops


def test_an_interrupt_reaches_the_caller_and_leaves_no_thread() -> None:
    def interrupt(seq: int) -> None:
        raise KeyboardInterrupt

    wall = Wall(before=interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_live(frames(), session_of(Engine()), wall, wall)


# Stopping.


def test_a_run_can_be_stopped_between_two_frames() -> None:
    stop = Event()
    wall = Wall()

    def enough(counts: Counts) -> None:
        stop.set()

    counts = run_live(
        frames(after=lambda seq: wait(stop)), session_of(Engine()), wall, wall, progress=enough, stop=stop
    )

    assert wall.sent == [0]
    assert counts.sent == 1
    assert set(counts.dropped) <= {STOPPED}
    assert counts.under_way == 0


def test_a_run_stops_while_the_source_blocks() -> None:
    stop, release, blocked, ended = Event(), Event(), Event(), Event()
    wall, results = Wall(), list[Counts]()

    def block(seq: int) -> None:
        blocked.set()
        wait(release)

    def run() -> None:
        results.append(run_live(frames(after=block), session_of(Engine()), wall, wall, stop=stop))
        ended.set()

    runner = Thread(target=run)
    runner.start()
    wait(blocked)
    stop.set()
    wait(ended)  # while the source still blocks
    release.set()
    runner.join(LONG)

    assert results[0].received == 1
    assert results[0].under_way == 0


def test_a_network_that_does_not_come_back_is_left_behind() -> None:
    stop, release, blocked, ended = Event(), Event(), Event(), Event()
    wall, results, meter = Wall(), list[Counts](), Meter()

    def block(call: int) -> None:
        blocked.set()
        wait(release)

    def run() -> None:
        results.append(run_live(frames(1), session_of(Engine(block)), wall, wall, stop=stop, meter=meter))
        ended.set()

    runner = Thread(target=run)
    runner.start()
    wait(blocked)
    stop.set()
    wait(ended)
    release.set()
    runner.join(LONG)

    assert results == [Counts(1, 0, {LEFT_BEHIND: 1})]
    assert meter.drops == {LEFT_BEHIND: 1}
