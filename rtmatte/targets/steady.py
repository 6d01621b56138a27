"""The steady gate: on a live camera nobody is cut out before two looks agree, so not while walking in."""

from __future__ import annotations

import numpy as np

from rtmatte.clock import Clock
from rtmatte.frame import Frame, Mask
from rtmatte.targets import Target

APART = 1.0  # seconds between two looks that are compared
RETRY = 0.25  # seconds before looking again when nobody was there: an empty chair should not cost a core
AGREEMENT = 0.8  # least overlap (intersection over union, at 0.5) of two looks


class SteadyGate:
    """Passes on what `target` proposes once it agrees with what it proposed a second earlier."""

    def __init__(self, target: Target, clock: Clock) -> None:
        self.name = target.name
        self._target = target
        self._clock = clock
        self._earlier: Mask | None = None
        self._next_look = clock.now()

    def propose(self, frame: Frame) -> Mask | None:
        """Returns the newer of two agreeing looks; None until then, mostly without looking."""
        now = self._clock.now()
        if now < self._next_look:
            return None
        look, earlier = self._target.propose(frame), self._earlier
        agreed = look is not None and earlier is not None and _overlap(look, earlier) >= AGREEMENT
        self._earlier = None if agreed else look
        self._next_look = now + (RETRY if look is None else APART)
        return look if agreed else None


def _overlap(one: Mask, other: Mask) -> float:
    """Returns intersection over union of two masks at 0.5; 0 for masks of different sizes."""
    if one.size != other.size:
        return 0.0
    a, b = one.values > 0.5, other.values > 0.5
    return int(np.count_nonzero(a & b)) / max(1, int(np.count_nonzero(a | b)))
