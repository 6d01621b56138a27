"""Several sinks as one: who gets which frame, and what a failing one costs the others."""

from __future__ import annotations

import numpy as np
import pytest

from rtmatte.errors import SinkError, StopRequested
from rtmatte.frame import Frame
from rtmatte.outputs import Outputs
from rtmatte.sinks.memory import MemorySink


class Failing(MemorySink):
    """Fails from its `fails_at`-th frame on, and again when it is closed."""

    def __init__(self, fails_at: int, error: Exception | None = None) -> None:
        super().__init__()
        self.closed = False
        self._fails_at = fails_at
        self._error = error or SinkError("the disk is full")

    def write(self, frame: Frame) -> None:
        if self.count >= self._fails_at:
            raise self._error
        super().write(frame)

    def close(self) -> None:
        self.closed = True
        raise self._error


def frame(seq: int) -> Frame:
    return Frame(seq, np.zeros((4, 4, 3), np.uint8), 0.0)


def test_each_sink_gets_every_frame() -> None:
    one, other = MemorySink(), MemorySink()
    outputs = Outputs([one, other])

    outputs.write(frame(0))
    outputs.write(frame(1))

    assert [each.seq for each in one.frames] == [each.seq for each in other.frames] == [0, 1]


def test_a_sink_that_fails_is_closed_and_the_others_go_on() -> None:
    full, fine = Failing(1), MemorySink()
    outputs = Outputs([full, fine])

    for seq in range(3):
        outputs.write(frame(seq))

    assert (full.count, full.closed, fine.count) == (1, True, 3)
    assert outputs.warnings == ("the disk is full; the other outputs go on",)


def test_the_error_of_the_last_sink_is_raised() -> None:
    outputs = Outputs([Failing(0)])

    with pytest.raises(SinkError, match="disk is full"):
        outputs.write(frame(0))


def test_a_request_to_stop_is_no_failure() -> None:
    outputs = Outputs([Failing(0, StopRequested("closed")), MemorySink()])

    with pytest.raises(StopRequested):
        outputs.write(frame(0))


def test_sinks_come_and_go() -> None:
    first, second = MemorySink(), MemorySink()
    outputs = Outputs([first])

    outputs.add(second)
    outputs.write(frame(0))
    outputs.remove(second)
    outputs.remove(second)
    outputs.write(frame(1))

    assert (first.count, second.count) == (2, 1)
