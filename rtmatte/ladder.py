"""What to give up when the machine cannot keep up, and when to take it back.

Pure decisions: a Ladder is told what came and what was lost, and says on which rung to stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

WINDOW = 1.0  # seconds over which losses are counted
FEWEST = 5  # frames in a window that say something
BAD = 2  # windows in a row with too many losses, then it is a rung down: one hiccup is none
CALM = 0.02  # share of lost frames up to which a window is a calm one
SHORTEST, LONGEST = 10.0, 320.0  # seconds of calm before a rung up is tried: doubled whenever that failed


class Rung(StrEnum):
    """How the line runs, from the top: each rung keeps what those above it gave up."""

    FULL = "full"
    SMALLER = "smaller network"
    SPARSE = "sparser memory"
    HALF_RATE = "half rate"
    BLUR_ALL = "nobody shown"

    @property
    def warning(self) -> str:
        """What to tell the user on arriving from above."""
        return _WARNINGS[self]

    @property
    def most_lost(self) -> float:
        """The share of frames that may be lost on this rung. Half of a halved rate is still a picture."""
        return {Rung.HALF_RATE: 0.5, Rung.BLUR_ALL: 1.0}.get(self, 0.1)

    def gives_up(self, other: Rung) -> bool:
        """Whether what `other` gives up is given up here."""
        rungs = list(Rung)
        return rungs.index(self) >= rungs.index(other)


_WARNINGS = {
    Rung.FULL: "",
    Rung.SMALLER: "this machine cannot keep up: a smaller network runs until it can",
    Rung.SPARSE: "this machine cannot keep up: the network remembers more seldom until it can",
    Rung.HALF_RATE: "this machine cannot keep up: every second frame is left out until it can",
    Rung.BLUR_ALL: "this machine is far too slow: nobody is shown until it can; close programs or take a smaller size",
}


class Ladder:
    """Steps down after two bad windows in a row, and up after a while of calm.

    A step up is a trial: when it fails within that while, the next one waits twice as long. Rungs that cannot be stood
    on are left out of `rungs`, which begin with FULL.
    """

    def __init__(self, rungs: Sequence[Rung] = tuple(Rung)) -> None:
        self._rungs = tuple(rungs)
        self._at = 0
        self._began: float | None = None
        self._came = self._lost = 0  # when the window began
        self._bad = 0
        self._calm_since = 0.0
        self._patience = SHORTEST
        self._climbed_at: float | None = None

    @property
    def rung(self) -> Rung:
        """Where it stands now."""
        return self._rungs[self._at]

    def observe(self, now: float, *, came: int, lost: int) -> Rung:
        """Returns the rung to stand on from now, after `came` frames of which `lost` were pushed out by newer ones,
        both counted from the beginning."""
        if self._began is None:
            self._begin(now, came, lost)
            self._calm_since = now
        elif now - self._began >= WINDOW:
            fresh = came - self._came
            if fresh >= FEWEST:
                self._judge(now, (lost - self._lost) / fresh)
            self._begin(now, came, lost)
        return self.rung

    def pause(self) -> None:
        """Forgets the window: what was lost meanwhile says nothing about the rung."""
        self._began = None
        self._bad = 0

    def _begin(self, now: float, came: int, lost: int) -> None:
        self._began, self._came, self._lost = now, came, lost

    def _judge(self, now: float, share: float) -> None:
        if share > CALM:
            self._calm_since = now
        self._bad = self._bad + 1 if share > self.rung.most_lost else 0
        if self._bad >= BAD and self._at + 1 < len(self._rungs):
            self._step(now, 1)
        elif self._at and now - self._calm_since >= self._patience:
            self._step(now, -1)
        elif self._climbed_at is not None and now - self._climbed_at >= SHORTEST:
            self._climbed_at, self._patience = None, SHORTEST

    def _step(self, now: float, down: int) -> None:
        if down > 0 and self._climbed_at is not None:
            self._patience = min(2 * self._patience, LONGEST)
        self._climbed_at = None if down > 0 else now
        self._at += down
        self._bad = 0
        self._calm_since = now
