"""A watched source: what comes of a source that is late, lost, black, too fast or of another shape.

Time is made by hand and sources are made of queues. A test waits for a fact, never for time to pass.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from rtmatte.clock import ManualClock
from rtmatte.errors import SourceBusy, SourceDenied, SourceError, SourceGone
from rtmatte.frame import Frame
from rtmatte.ring import IN_FLIGHT
from rtmatte.sources import SourceState
from rtmatte.sources.watch import BLACK_LONG, LATEST, PATIENCE, SOONEST, STALLED_LONG, WatchedSource
from tests.cameras import LONG, RATE, Camera, Cameras

PERIOD = 1 / RATE


def watched(
    *found: Camera | SourceError, clock: ManualClock, returned: Callable[[], bool] = lambda: False
) -> tuple[WatchedSource, Cameras]:
    cameras = Cameras(clock, *found)
    source = WatchedSource(cameras, clock, returned=returned)
    cameras.opened.acquire()
    return source, cameras


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(LONG)
        assert not thread.is_alive()


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


def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    clock = ManualClock()
    camera = Camera(clock)
    source, _ = watched(camera, clock=clock)

    for level in (101, 102, 103):
        camera.show(level)
        clock.advance(PERIOD)
    frame = next(source)

    assert (frame.seq, frame.pixels[0, 0, 0], source.dropped, frame.blank) == (2, 103, 2, False)
    source.close()


def test_a_lease_outlasts_any_number_of_frames_that_nobody_fetched() -> None:
    clock = ManualClock()
    camera = Camera(clock)
    source, _ = watched(camera, clock=clock)

    camera.show(50)
    held = next(source)
    for level in range(3 * IN_FLIGHT):
        clock.advance(PERIOD)
        camera.show(100 + level)

    assert held.pixels.max() == 50
    assert next(source).pixels.max() == 100 + 3 * IN_FLIGHT - 1
    source.close()


def test_a_rate_that_rises_midway_does_not_reach_the_output() -> None:
    clock = ManualClock()
    camera = Camera(clock)
    source, _ = watched(camera, clock=clock)

    sent = 0
    for _ in range(40):  # twice the rate
        camera.show(100)
        clock.advance(PERIOD / 2)
        if source._newest is not None:
            next(source)
            sent += 1

    assert sent == pytest.approx(20, abs=1)
    assert source.dropped == 40 - sent
    source.close()


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


def test_a_blackness_that_nobody_saw_makes_the_next_frame_blank() -> None:
    clock = ManualClock()
    camera = Camera(clock)
    source, _ = watched(camera, clock=clock)
    camera.show(3)
    clock.advance(PERIOD)
    for _ in range(20):
        camera.show(3)  # black, and nobody fetches it
        clock.advance(PERIOD)
    camera.show(100)
    clock.advance(PERIOD)
    camera.show(110)

    first = next(source)
    clock.advance(PERIOD)
    camera.show(120)

    assert (first.blank, first.pixels.max()) == (True, 110)
    assert not next(source).blank
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


def test_black_pictures_are_told_and_hidden_and_the_first_bright_one_is_blank() -> None:
    clock = ManualClock()
    camera = Camera(clock)
    source, _ = watched(camera, clock=clock)

    states, blanks = [], []
    for level in [100, *[3] * 20, 100, 100]:
        camera.show(level)
        frame = next(source)
        states.append(source.state)
        blanks.append(frame.blank)
        clock.advance(PERIOD)

    began = states.index(SourceState.BLACK)
    assert began - 1 == pytest.approx(BLACK_LONG * RATE, abs=1)
    assert states[-2:] == [SourceState.LIVE] * 2
    assert blanks[began:-1] == [True] * len(blanks[began:-1])
    assert not blanks[-1]
    source.close()


def test_a_black_source_keeps_its_rate() -> None:
    clock = ManualClock()
    camera = Camera(clock)
    source, _ = watched(camera, clock=clock)

    for _ in range(30):
        camera.show(3)
        next(source)
        clock.advance(PERIOD)
    waiting = threading.Thread(target=lambda: next(source))
    waiting.start()
    camera.show(3)
    waiting.join(LONG)

    assert source._seq == 31
    source.close()


def test_a_size_that_changes_midway_is_followed() -> None:
    clock = ManualClock()
    camera = Camera(clock)
    source, _ = watched(camera, clock=clock)

    sizes = []
    for width in (32, 48, 1):
        camera.show(100, width=width)
        sizes.append(next(source).size)
        clock.advance(PERIOD)

    assert sizes == [(32, 24), (48, 24), (1, 24)]
    assert source.size == (32, 24)
    source.close()


def test_closing_frees_whoever_waits_for_a_frame() -> None:
    clock = ManualClock()
    source, _ = watched(Camera(clock), clock=clock)
    frames: list[list[Frame]] = []
    waiting = threading.Thread(target=lambda: frames.append(list(source)))
    waiting.start()

    source.close()
    waiting.join(LONG)

    assert frames == [[]]


def test_a_mistake_of_ours_is_raised_to_whoever_iterates() -> None:
    clock = ManualClock()
    camera = Camera(clock)
    source, _ = watched(camera, clock=clock)

    camera.fail(ValueError("a mistake of ours"))

    with pytest.raises(ValueError, match="mistake"):
        next(source)
    source.close()


def test_a_source_that_cannot_be_opened_at_first_is_an_error() -> None:
    clock = ManualClock()

    with pytest.raises(SourceDenied, match="may not"):
        WatchedSource(Cameras(clock, SourceDenied("this user may not")), clock)
