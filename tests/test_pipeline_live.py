"""The straight line on threads: the newest frame with its own alpha, every frame accounted for."""

from __future__ import annotations

import threading
from threading import Event, Thread

import pytest

from rtmatte.errors import SinkError, SourceTruncated
from rtmatte.latency import Meter
from rtmatte.pipeline import (
    FAILED,
    LEFT_BEHIND,
    NETWORK_BUSY,
    OUTPUT_BUSY,
    STOPPED,
    Counts,
    run_live,
)
from tests.wall import (
    COUNT,
    LONG,
    Engine,
    Wall,
    frames,
    no_thread_stays,
    session_of,
    wait,
)

_threads = pytest.fixture(autouse=True)(no_thread_stays)


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
