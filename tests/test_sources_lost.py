"""A watched source that is lost, by a plug, a refusal or silence: what is told and shown, and how it is opened again.

Time is made by hand and sources are made of queues. A test waits for a fact, never for time to pass.
"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from rtmatte.clock import ManualClock
from rtmatte.errors import SourceBusy, SourceDenied, SourceError, SourceGone
from rtmatte.frame import Frame
from rtmatte.sources import SourceState
from rtmatte.sources.watch import LATEST, PATIENCE, SOONEST, STALLED_LONG, WatchedSource
from tests.cameras import LONG, PERIOD, Camera, Cameras, watched
from tests.wall import no_thread_stays

_threads = pytest.fixture(autouse=True)(no_thread_stays)


def until(source: WatchedSource, state: SourceState) -> Frame:
    """Returns the first frame that comes in `state`."""
    for frame in source:
        if source.state is state:
            return frame
    raise AssertionError("the source ended")


def step(source: WatchedSource, clock: ManualClock) -> Frame:
    """Returns the next frame once an attempt that it began, if any, has been answered, and lets a period pass."""
    frame = next(source)
    deadline = time.monotonic() + LONG
    while (reader := source._reader) is not None and not reader.opened:
        assert time.monotonic() < deadline
        time.sleep(0)
    clock.advance(PERIOD)
    return frame


def step_until_tried(source: WatchedSource, clock: ManualClock, cameras: Cameras, times: int) -> None:
    while len(cameras.tried) < times:
        step(source, clock)


def test_an_unplugged_source_says_so_and_blank_frames_come_at_its_rate() -> None:
    clock = ManualClock()
    camera = Camera(clock)
    source, _ = watched(camera, clock=clock)
    camera.show(100)
    next(source)

    camera.fail(SourceGone("expected a camera, found none"))
    blanks, times = [], []
    for _ in range(5):
        blanks.append(until(source, SourceState.UNPLUGGED))
        times.append(clock.now())
        clock.advance(PERIOD)

    assert all(frame.blank and not frame.pixels.any() and frame.size == (32, 24) for frame in blanks)
    assert np.diff(times) == pytest.approx([PERIOD] * 4)
    assert [frame.seq for frame in blanks] == [1, 2, 3, 4, 5]
    assert source.message == "expected a camera, found none"
    source.close()


def test_after_a_machine_slept_blank_frames_do_not_come_in_a_burst() -> None:
    clock = ManualClock()
    camera = Camera(clock)
    source, _ = watched(camera, SourceGone("expected a camera, found none"), clock=clock)
    camera.fail(SourceGone("expected a camera, found none"))
    until(source, SourceState.UNPLUGGED)

    clock.advance(3600.0)
    blank = next(source)

    assert blank.captured_at == clock.now()
    assert source._blank_due == pytest.approx(clock.now() + PERIOD)  # and none of the thousands that were missed
    source.close()


def test_attempts_are_made_further_and_further_apart() -> None:
    clock = ManualClock()
    camera = Camera(clock)
    gone = SourceGone("not there")
    source, cameras = watched(camera, *[gone] * 6, clock=clock)

    camera.fail(gone)
    step_until_tried(source, clock, cameras, 7)

    pauses = np.diff(cameras.tried)[1:]
    assert cameras.tried[1] == pytest.approx(SOONEST, abs=3 * PERIOD)
    assert pauses == pytest.approx([1, 2, 4, LATEST, LATEST], abs=3 * PERIOD)
    source.close()


def test_a_source_that_seems_to_be_back_is_opened_at_once() -> None:
    clock = ManualClock()
    first, second = Camera(clock), Camera(clock)
    gone = SourceGone("not there")
    plugged = threading.Event()
    source, cameras = watched(first, *[gone] * 4, second, clock=clock, returned=plugged.is_set)

    first.fail(gone)
    step_until_tried(source, clock, cameras, 5)  # the next attempt would be five seconds later
    plugged.set()
    returned_at = clock.now()
    step_until_tried(source, clock, cameras, 6)
    second.show(100)
    frame = until(source, SourceState.LIVE)

    assert clock.now() - returned_at < SOONEST
    assert (source.state, source.message, source.reopened) == (SourceState.LIVE, "", 1)
    assert not frame.blank  # blank ones came before it
    source.close()


def test_a_silent_source_is_stalled_after_half_a_second_and_opened_again_after_three() -> None:
    clock = ManualClock()
    first, second = Camera(clock), Camera(clock)
    first.hangs = True
    source, cameras = watched(first, second, clock=clock)
    first.show(100)
    next(source)

    clock.advance(PATIENCE)
    assert next(source).blank
    assert source.state is SourceState.STALLED
    assert len(cameras.tried) == 1
    clock.advance(STALLED_LONG - PATIENCE)
    step_until_tried(source, clock, cameras, 2)
    second.show(100)
    until(source, SourceState.LIVE)

    assert first.closed.is_set()
    assert cameras.tried[1] == pytest.approx(STALLED_LONG, abs=2 * PERIOD)
    first._items.put(None)  # the driver lets go at last
    source.close()


def test_a_slow_source_is_not_called_stalled_before_five_of_its_periods() -> None:
    clock = ManualClock()
    camera = Camera(clock, fps=2.0)
    source, _ = watched(camera, clock=clock)

    camera.show(100)
    next(source)
    clock.advance(2.4)
    camera.show(101)

    assert not next(source).blank
    assert source.state is SourceState.LIVE
    source.close()


def test_what_a_reader_that_was_given_up_reads_is_not_shown() -> None:
    clock = ManualClock()
    first, second = Camera(clock), Camera(clock)
    first.hangs = True
    source, cameras = watched(first, second, clock=clock)
    clock.advance(STALLED_LONG)
    step_until_tried(source, clock, cameras, 2)

    first.asked.acquire()
    first._items.put(Frame(0, np.full((24, 32, 3), 222, np.uint8), clock.now()))
    second.show(100)
    frame = until(source, SourceState.LIVE)

    assert frame.pixels.max() == 100
    source.close()


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (SourceBusy("in use by another; close it"), SourceState.BUSY),
        (SourceDenied("this user may not"), SourceState.DENIED),
        (SourceError("no pictures"), SourceState.FAILED),
    ],
)
def test_each_reason_has_a_state_and_its_message(error: SourceError, state: SourceState) -> None:
    clock = ManualClock()
    camera = Camera(clock)
    source, _ = watched(camera, clock=clock)

    camera.fail(error)
    frame = until(source, state)

    assert frame.blank
    assert source.message == str(error)
    source.close()
