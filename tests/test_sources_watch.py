"""A watched source: what comes of a source that is late, black, too fast or of another shape.

Time is made by hand and sources are made of queues. A test waits for a fact, never for time to pass.
"""

from __future__ import annotations

import threading

import pytest

from rtmatte.clock import ManualClock
from rtmatte.errors import SourceDenied
from rtmatte.frame import Frame
from rtmatte.ring import IN_FLIGHT
from rtmatte.sources import SourceState
from rtmatte.sources.watch import BLACK_LONG, WatchedSource
from tests.cameras import LONG, PERIOD, RATE, Camera, Cameras, watched
from tests.wall import no_thread_stays

_threads = pytest.fixture(autouse=True)(no_thread_stays)


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
