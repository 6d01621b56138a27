"""The meter: when each frame passed each stage, kept for the last few thousand frames, and what that says.

Computing and waiting are told apart: a stage that began later than the one before it ended has let the frame wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import InputError

WAITING = "waiting"
END_TO_END = "end to end"


class Stage(StrEnum):
    """The stations of a frame, in order; each is marked when the frame leaves it."""

    CAPTURED = "captured"  # stamped by the source
    RECEIVED = "received"  # handed over by the source: read, decoded
    NETWORK = "network"
    COMPOSITED = "composited"
    SENT = "sent"


_COLUMN = {stage: column for column, stage in enumerate(Stage)}


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Median, 95th and 99th percentile in milliseconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: NDArray[np.float64]) -> Percentiles:
        """Returns the percentiles of some durations, at least one."""
        p50, p95, p99 = np.percentile(seconds * 1e3, (50, 95, 99))
        return cls(float(p50), float(p95), float(p99))


class Meter:
    """Marks of the last `capacity` frames, and every drop by its reason.

    A frame is marked by one thread at a time, different frames by different ones; a summary taken meanwhile may miss
    the marks being made.
    """

    def __init__(self, capacity: int = 4096) -> None:
        if capacity < 1:
            raise InputError(f"expected room for at least 1 frame, found {capacity}")
        self._capacity = capacity
        self._seq = np.full(capacity, -1, np.int64)
        self._began = np.full((capacity, len(Stage)), np.nan)
        self._ended = np.full((capacity, len(Stage)), np.nan)
        self._drops: Counter[str] = Counter()
        self._dropping = Lock()

    def mark(self, seq: int, stage: Stage, at: float, *, began: float | None = None) -> None:
        """Notes that frame `seq` left `stage` at the time `at`, which had begun on it at `began`.

        Without `began` the stage began when the one before it ended. Times are in seconds on one clock.
        """
        row, column = seq % self._capacity, _COLUMN[stage]
        if self._seq[row] != seq:
            self._seq[row] = seq
            self._began[row] = self._ended[row] = np.nan
        self._ended[row, column] = at
        if began is not None:
            self._began[row, column] = began

    def drop(self, reason: str) -> None:
        """Counts a frame that will not be sent."""
        with self._dropping:
            self._drops[reason] += 1

    @property
    def drops(self) -> Mapping[str, int]:
        """How many frames were dropped, by reason."""
        with self._dropping:
            return dict(self._drops)

    def fps(self, now: float, *, window: float = 1.0) -> float:
        """Returns the frames sent per second during the last `window` seconds before `now`."""
        sent = self._ended[:, _COLUMN[Stage.SENT]]
        return int(np.count_nonzero((sent > now - window) & (sent <= now))) / window

    def summary(self, *, since: float = -np.inf) -> dict[str, Percentiles]:
        """Returns the percentiles of frames captured after `since`: the computing of each stage after the capture
        under its name, and for frames that were sent also all their waiting, and the time from capture to sending.

        What nothing was measured of is left out.
        """
        ended = self._ended.copy()
        ended[~(ended[:, 0] > since)] = np.nan
        before = ended[:, :-1]
        began = np.where(np.isnan(self._began[:, 1:]), before, self._began[:, 1:])
        spans = {stage.value: (ended[:, 1:] - began)[:, column] for column, stage in enumerate(list(Stage)[1:])}
        spans[WAITING] = (began - before).sum(axis=1)
        spans[END_TO_END] = ended[:, -1] - ended[:, 0]
        measured = {name: span[~np.isnan(span)] for name, span in spans.items()}
        return {name: Percentiles.of(span) for name, span in measured.items() if span.size}
