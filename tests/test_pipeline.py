"""The straight line, the network one frame ahead: every frame in order, with its own alpha."""

from __future__ import annotations

import threading

import pytest

from rtmatte.backends.fake import Faults
from rtmatte.clock import ManualClock
from rtmatte.errors import SinkError, SourceTruncated
from rtmatte.latency import END_TO_END, WAITING, Meter, Stage
from rtmatte.pipeline import Counts, run_ahead
from tests.wall import COUNT, LONG, Engine, Wall, frames, no_thread_stays, session_of

_threads = pytest.fixture(autouse=True)(no_thread_stays)


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


def test_each_stage_is_metered() -> None:
    class Noted(Meter):
        def mark(self, seq: int, stage: Stage, at: float, *, began: float | None = None) -> None:
            super().mark(seq, stage, at, began=began)
            if stage is Stage.SENT:
                sent.release()

    def await_it(seq: int) -> None:
        assert sent.acquire(timeout=LONG)  # one clock for both threads: they take turns

    sent, clock, meter = threading.Semaphore(0), ManualClock(), Noted()
    engine = Engine(faults=Faults(step_seconds=0.010), clock=clock)
    wall = Wall(before=lambda seq: clock.advance(0.003))

    run_ahead(frames(after=await_it), session_of(engine, clock), wall, wall, meter=meter)

    p50 = {name: round(percentiles.p50, 3) for name, percentiles in meter.summary().items()}
    assert (p50["network"], p50["composited"], p50["sent"], p50[WAITING]) == (10, 0, 3, 0)
    assert END_TO_END in p50


def test_a_truncated_source_is_told_after_its_last_frame_is_sent() -> None:
    wall = Wall()

    with pytest.raises(SourceTruncated, match="cut"):
        run_ahead(frames(5, error=SourceTruncated("cut off")), session_of(Engine()), wall, wall)

    assert wall.sent == list(range(5))


def test_an_error_of_the_sink_ends_the_run_and_nothing_is_sent_after_it() -> None:
    def full(seq: int) -> None:
        if seq == 3:
            raise SinkError("no space left")

    wall = Wall(before=full)

    with pytest.raises(SinkError, match="no space"):
        run_ahead(frames(), session_of(Engine()), wall, wall)

    assert wall.sent == [0, 1, 2]
