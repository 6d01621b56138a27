"""The steady gate: on a live camera nobody is cut out before two looks agree, so not while walking in."""

from __future__ import annotations

from collections import deque

import numpy as np

from rtmatte.clock import Clock
from rtmatte.frame import Frame, Mask
from rtmatte.targets import Target

APART = 1.0  # seconds between two looks
KEPT = 3  # looks that the next one may agree with: hands that talk are seldom twice where they were a second ago
RETRY = 0.25  # seconds before looking again when nobody was there: an empty chair should not cost a core
AGREEMENT = 0.8  # least overlap (intersection over union, at 0.5) of two looks


class SteadyGate:
    """Passes on what `target` proposes once it agrees with what it proposed one to three seconds earlier.

    What agrees need not be neighbours: on filmed people who talk with their hands looks a second apart overlap by 0.72
    to 0.97, and one who swings between two poses would never be shown.
    """

    def __init__(self, target: Target, clock: Clock) -> None:
        self.name = target.name
        self._target = target
        self._clock = clock
        self._earlier: deque[tuple[float, Mask]] = deque(maxlen=KEPT)  # with the time of each
        self._next_look = clock.now()

    def propose(self, frame: Frame) -> Mask | None:
        """Returns the newer of two agreeing looks; None until then, mostly without looking."""
        now = self._clock.now()
        if now < self._next_look:
            return None
        look = self._target.propose(frame)
        self._next_look = now + (RETRY if look is None else APART)
        if look is None:
            self._earlier.clear()
            return None
        recent = (mask for at, mask in self._earlier if now - at < (KEPT + 1) * APART)
        if any(_overlap(look, earlier) >= AGREEMENT for earlier in recent):
            self._earlier.clear()
            return look
        self._earlier.append((now, look))
        return None


def _overlap(one: Mask, other: Mask) -> float:
    """Returns intersection over union of two masks at 0.5; 0 for masks of different sizes."""
    if one.size != other.size:
        return 0.0
    a, b = one.values > 0.5, other.values > 0.5
    return int(np.count_nonzero(a & b)) / max(1, int(np.count_nonzero(a | b)))
