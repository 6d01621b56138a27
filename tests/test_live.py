"""What a live run says: when, how often, and what. Time is made by hand."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest

from rtmatte.backends.fake import FakeEngine
from rtmatte.cli.live import CLEAR, StatusLine, report_of_session
from rtmatte.clock import ManualClock
from rtmatte.frame import Frame, Mask
from rtmatte.latency import Meter, Stage
from rtmatte.pipeline import Counts
from rtmatte.session import Session

SIZE = (32, 24)


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def line_of(stream: StringIO) -> tuple[StatusLine, ManualClock, Meter, Session]:
    clock, meter = ManualClock(), Meter()
    session = Session(FakeEngine(*SIZE), None, clock)
    report = report_of_session(session, meter, backend="fake")
    return StatusLine(clock, report, stream=stream), clock, meter, session


def test_one_line_a_second_however_many_frames() -> None:
    stream = StringIO()
    status, clock, _, _ = line_of(stream)

    for sent in range(100):
        clock.advance(0.0301)
        status(Counts(received=sent + 1, sent=sent + 1))

    assert stream.getvalue().count("\n") == 3


def test_the_line_names_rate_latency_drops_phase_and_backend() -> None:
    stream = StringIO()
    status, clock, meter, _ = line_of(stream)
    for seq in range(30):
        clock.advance(0.05)
        meter.mark(seq, Stage.CAPTURED, clock.now() - 0.02)
        for stage in list(Stage)[1:]:
            meter.mark(seq, stage, clock.now())

    status(Counts(received=33, sent=30, dropped={"network busy": 2, "output busy": 1}))

    said = stream.getvalue()
    assert "20 fps" in said
    assert "20/20/20 ms (p50/p95/p99)" in said
    assert "3 dropped (2 network busy, 1 output busy)" in said
    assert "waiting" in said
    assert said.endswith("fake\n")


def test_a_terminal_keeps_one_line_and_leaves_it_standing() -> None:
    stream = Terminal()
    status, clock, _, _ = line_of(stream)
    for _ in range(3):
        clock.advance(1.0)
        status(Counts())

    status.close()

    assert stream.getvalue().count(CLEAR) == 3
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("\n")


def test_a_warning_of_the_session_is_passed_on_once(capsys: pytest.CaptureFixture[str]) -> None:
    status, clock, _, session = line_of(StringIO())
    session.reseed(Mask(np.ones((48, 64), np.float32)))
    session.process(Frame(0, np.zeros((SIZE[1], SIZE[0], 3), np.uint8), 0.0))

    for _ in range(3):
        clock.advance(1.0)
        status(Counts())

    assert capsys.readouterr().err.count("warning: the mask is 64x48, the frame 32x24") == 1
