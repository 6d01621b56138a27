"""What a live run says about itself: one calm line a second, and a table of latencies at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TextIO

from rich.table import Table

from rtmatte.cli.console import warn
from rtmatte.clock import Clock
from rtmatte.ladder import Rung
from rtmatte.latency import END_TO_END, Meter, Percentiles
from rtmatte.live import LiveLine
from rtmatte.pipeline import Counts
from rtmatte.session import Session
from rtmatte.sources import SourceState

PERIOD = 1.0  # seconds between two lines
WINDOW = 10.0  # seconds of frames behind the percentiles of a line
CLEAR = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to say now: a line, and warnings that are to be told once each."""

    line: str
    warnings: tuple[str, ...]


class StatusLine:
    """A `progress` for run_live: rewrites its line on a terminal, adds one elsewhere, and passes warnings on once."""

    def __init__(self, clock: Clock, report: Callable[[Counts], Report], *, stream: TextIO | None = None) -> None:
        self._clock = clock
        self._report = report
        self._stream = stream or sys.stderr
        self._rewrites = self._stream.isatty()
        self._next = clock.now() + PERIOD
        self._counts = Counts()
        self._told: set[str] = set()

    def __call__(self, counts: Counts) -> None:
        self._counts = counts
        now = self._clock.now()
        if now < self._next:
            return
        self._next += PERIOD * (1 + (now - self._next) // PERIOD)  # on the beat again after any pause
        report = self._report(counts)
        self._tell(report.warnings)
        self._stream.write(f"{CLEAR}{report.line}" if self._rewrites else f"{report.line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leaves the last line standing."""
        self._tell(self._report(self._counts).warnings)
        if self._rewrites:
            self._stream.write("\n")

    def _tell(self, warnings: Iterable[str]) -> None:
        for sentence in warnings:
            if sentence not in self._told:
                self._told.add(sentence)
                if self._rewrites:
                    self._stream.write(CLEAR)
                warn(sentence)


def report_of_line(line: LiveLine) -> Callable[[Counts], Report]:
    """Returns what a live line has to say, after the frames that were counted."""

    def report(counts: Counts) -> Report:
        status = line.status
        states = [status.phase.value]
        if status.source is not SourceState.LIVE:
            states.insert(0, f"camera {status.source.value}")
        if status.rung is not Rung.FULL:
            states.insert(0, status.rung.value)
        text = _line(counts, status.fps, status.latency, status.faults, *states, status.backend)
        return Report(text, (*status.warnings, *filter(None, [status.message])))

    return report


def report_of_session(session: Session, meter: Meter, *, backend: str) -> Callable[[Counts], Report]:
    """Returns what a session has to say whose frames `meter` marks."""

    def report(counts: Counts) -> Report:
        now, status = session.clock.now(), session.status
        latency = meter.summary(since=now - WINDOW).get(END_TO_END)
        text = _line(counts, meter.fps(now), latency, status.faults, status.phase.value, backend)
        return Report(text, (*status.warnings, *filter(None, [status.last_error])))

    return report


def _line(counts: Counts, fps: float, latency: Percentiles | None, faults: int, *rest: str) -> str:
    """Returns the line: rate, latency from capture to sending, drops by reason, faults, and the rest."""
    parts = [f"{fps:4.0f} fps"]
    if latency is not None:
        parts.append(f"latency {latency.p50:.0f}/{latency.p95:.0f}/{latency.p99:.0f} ms (p50/p95/p99)")
    parts.append(_drops(counts))
    if faults:
        parts.append(f"{faults} faults")
    return " · ".join((*parts, *rest))


def _drops(counts: Counts) -> str:
    total = sum(counts.dropped.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.dropped.items())
    return f"{total} dropped ({reasons})" if total else "0 dropped"


def latency_table(summary: dict[str, Percentiles], *, title: str) -> Table:
    """Returns the table of a meter's summary, in milliseconds."""
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for name in ("p50", "p95", "p99"):
        table.add_column(f"{name} ms", justify="right")
    for stage, times in summary.items():
        table.add_row(stage, *(f"{value:.1f}" for value in (times.p50, times.p95, times.p99)))
    return table
