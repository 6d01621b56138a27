"""Recorded frames at the pace of a camera, on a clock that only moves when somebody sleeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np

from rtmatte.clock import ManualClock
from rtmatte.frame import Frame
from rtmatte.sources.paced import PATIENCE, PacedSource
from tests.assertions import assert_media_times


class TimedSource:
    """Frames with given times; reading each takes `effort` seconds."""

    def __init__(self, clock: ManualClock, times: list[float | None], *, effort: float = 0.0) -> None:
        self.name, self.size, self.fps, self.frame_count = "timed", (4, 2), 10.0, len(times)
        self.closed = False
        self._clock, self._times, self._effort = clock, times, effort

    def __iter__(self) -> Iterator[Frame]:
        for seq, time in enumerate(self._times):
            self._clock.advance(self._effort)
            yield Frame(seq, np.zeros((2, 4, 3), np.uint8), self._clock.now(), time)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def stamps(clock: ManualClock, times: list[float | None], *, effort: float = 0.0) -> list[float]:
    """Returns when the frames come, counted from the first."""
    found = [frame.captured_at for frame in PacedSource(TimedSource(clock, times, effort=effort), clock)]
    return [stamp - found[0] for stamp in found]


def test_frames_come_when_they_are_due_by_their_times() -> None:
    assert_media_times(stamps(ManualClock(start=7.0), [5.0, 5.1, 5.15, 7.0]), [0.0, 0.1, 0.15, 2.0])


def test_frames_without_times_come_at_the_rate() -> None:
    assert_media_times(stamps(ManualClock(), [None] * 4), [0.0, 0.1, 0.2, 0.3])


def test_reading_does_not_slow_the_pace() -> None:
    assert_media_times(stamps(ManualClock(), [None] * 4, effort=0.04), [0.0, 0.1, 0.2, 0.3])


def test_late_frames_come_at_once_and_none_is_dropped() -> None:
    assert_media_times(stamps(ManualClock(), [None] * 4, effort=0.25), [0.0, 0.25, 0.5, 0.75])


def test_after_the_machine_slept_there_is_no_burst() -> None:
    clock, found = ManualClock(), []

    for frame in PacedSource(TimedSource(clock, [None] * 5), clock):
        found.append(frame.captured_at)
        if frame.seq == 1:
            clock.advance(PATIENCE + 9.0)

    assert_media_times(found, [0.0, 0.1, 10.1, 10.2, 10.3])


def test_closing_ends_a_long_wait() -> None:
    class Impatient(ManualClock):
        """Closes the source while it waits."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.now() > 1.0:
                paced.close()

    clock = Impatient()
    source = TimedSource(clock, [0.0, 3600.0])
    paced = PacedSource(source, clock)

    assert [frame.seq for frame in paced] == [0]
    assert clock.now() < 2.0
    assert source.closed


def test_it_looks_like_the_source_it_plays() -> None:
    clock = ManualClock()
    source = TimedSource(clock, [None] * 4)

    with PacedSource(source, clock) as paced:
        assert (paced.name, paced.size, paced.fps, paced.frame_count) == ("timed", (4, 2), 10.0, 4)

    assert source.closed
