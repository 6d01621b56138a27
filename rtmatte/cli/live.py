"""What a live run says about itself: one calm line a second, and a table of latencies at the end."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.table import Table

from rtmatte.cli.console import warn
from rtmatte.latency import END_TO_END, Meter, Percentiles
from rtmatte.pipeline import Counts
from rtmatte.session import Session

PERIOD = 1.0  # seconds between two lines
WINDOW = 10.0  # seconds of frames behind the percentiles of a line
CLEAR = "\r\x1b[K"


class StatusLine:
    """A `progress` for run_live: rewrites its line on a terminal, adds one elsewhere, and passes warnings on once."""

    def __init__(self, session: Session, meter: Meter, *, backend: str, stream: TextIO | None = None) -> None:
        self._session = session
        self._meter = meter
        self._backend = backend
        self._stream = stream or sys.stderr
        self._rewrites = self._stream.isatty()
        self._next = session.clock.now() + PERIOD
        self._told: set[str] = set()

    def __call__(self, counts: Counts) -> None:
        now = self._session.clock.now()
        if now < self._next:
            return
        self._next += PERIOD * (1 + (now - self._next) // PERIOD)  # on the beat again after any pause
        self._tell_warnings()
        line = status_line(counts, self._session, self._meter, backend=self._backend)
        self._stream.write(f"{CLEAR}{line}" if self._rewrites else f"{line}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leaves the last line standing."""
        self._tell_warnings()
        if self._rewrites:
            self._stream.write("\n")

    def _tell_warnings(self) -> None:
        status = self._session.status
        for sentence in (*status.warnings, *filter(None, [status.last_error])):
            if sentence not in self._told:
                self._told.add(sentence)
                if self._rewrites:
                    self._stream.write(CLEAR)
                warn(sentence)


def status_line(counts: Counts, session: Session, meter: Meter, *, backend: str) -> str:
    """Returns the line: rate, latency from capture to sending, drops by reason, faults, phase, and what runs."""
    now, status = session.clock.now(), session.status
    parts = [f"{meter.fps(now):4.0f} fps"]
    latency = meter.summary(since=now - WINDOW).get(END_TO_END)
    if latency is not None:
        parts.append(f"latency {latency.p50:.0f}/{latency.p95:.0f}/{latency.p99:.0f} ms (p50/p95/p99)")
    parts.append(_drops(counts))
    if status.faults:
        parts.append(f"{status.faults} faults")
    return " · ".join((*parts, status.phase.value, backend))


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
