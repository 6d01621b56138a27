"""Has the cut-out drifted away from the person? A score, and a fresh mask of the same person when it stays bad.

Somebody else is never taken, however much better they are seen: a fresh look counts only where it overlaps the person
who is followed, has about their size, and their colours.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.clock import Clock
from rtmatte.frame import Alpha, Frame, Mask
from rtmatte.imaging import Fit, resize
from rtmatte.targets import Looker

BINS = 6  # of each colour in a histogram
SAMPLE = 0.25  # seconds between two areas that are noted
USUAL = 40  # areas from which the usual one is taken: ten seconds
KNOWN = 8  # areas from which on one is usual
LEAST = 0.002  # of the picture; of less than this nothing is said


@dataclass(frozen=True, slots=True)
class DriftOptions:
    """`look_every` seconds somebody is looked at afresh, `look_again` where something seems wrong: each look is a few
    runs of the network. A score of `bad`, in `patience` looks in a row, asks for a new seed.

    A look is of the same person from an overlap of `same` (intersection over union), an area of at most `larger` times
    the usual one, and colours apart (Bhattacharyya distance) by at most `apart`.
    """

    look_every: float = 10.0
    look_again: float = 1.0
    bad: float = 0.25
    patience: int = 2
    same: float = 0.4
    larger: float = 1.35
    apart: float = 0.5


class DriftWatch:
    """Watches one person by what `looker` sees where they are. It belongs to the thread of the network."""

    def __init__(self, looker: Looker, clock: Clock, options: DriftOptions = DriftOptions()) -> None:
        self._looker = looker
        self._clock = clock
        self._options = options
        self.begin()

    def begin(self) -> None:
        """Forgets the person: another one is followed from now on, or the same one from a new seed."""
        self.score: float | None = None  # the worst of three signs, 0..1; None before the first look
        self._areas: deque[float] = deque(maxlen=USUAL)
        self._colours: NDArray[np.float32] | None = None
        self._bad_looks = 0
        self._earlier: Alpha | None = None  # the proposal of the last bad look
        self._next_sample = self._next_look = self._clock.now()
        self._next_look += self._options.look_every

    def observe(self, frame: Frame, alpha: Alpha) -> Mask | None:
        """Returns a mask of the person in `frame` when `alpha`, its own one, has gone wrong for long; mostly None.

        Most calls look at nothing. Raises EngineError when the network fails.
        """
        now = self._clock.now()
        if now < self._next_sample:
            return None
        self._next_sample = now + SAMPLE
        area, cheap = float(alpha.mean()), self._signs(alpha)
        if area < LEAST:
            return None
        self._areas.append(area)
        if self._colours is None:
            self._colours = _colours(frame, alpha)
        soon = self._next_look - self._options.look_every + self._options.look_again
        if now < (soon if max(cheap, self.score or 0.0) >= self._options.bad else self._next_look):
            return None
        self._next_look = now + self._options.look_every
        return self._judged(frame, alpha, cheap)

    def fresh(self, frame: Frame, alpha: Alpha) -> Mask | None:
        """Returns the person with `alpha` as they are seen afresh, None when that is nobody or might be another."""
        look = self._look(frame, alpha)
        return None if look is None else Mask(resize(look, frame.size))

    def _judged(self, frame: Frame, alpha: Alpha, cheap: float) -> Mask | None:
        """Takes a look, scores it, and returns it once it stayed bad and steady."""
        look = self._look(frame, alpha)
        agreement = None if look is None else overlap(look, alpha)
        self.score = max(cheap, 0.0 if agreement is None else 1.0 - agreement)
        if look is None or self.score < self._options.bad:
            self._bad_looks, self._earlier = 0, None
            return None
        steady = self._earlier is None or overlap(self._earlier, look) >= 1.0 - self._options.bad
        self._bad_looks, self._earlier = (self._bad_looks + 1 if steady else 1), look
        if self._bad_looks < self._options.patience:
            return None
        self._bad_looks, self._earlier = 0, None
        return Mask(resize(look, frame.size))

    def _signs(self, alpha: Alpha) -> float:
        """Returns what the alpha alone gives away: how far its area left the usual one, and how unsure it is."""
        body = alpha[alpha > 0.1]
        unsure = float(1.0 - np.abs(2.0 * body - 1.0).mean()) if body.size else 0.0
        return max(self._change(float(alpha.mean())), unsure)

    def _change(self, area: float) -> float:
        if len(self._areas) < KNOWN:
            return 0.0
        usual = float(np.median(self._areas))
        return 1.0 - min(area, usual) / max(area, usual)

    def _look(self, frame: Frame, alpha: Alpha) -> Alpha | None:
        """Returns the same person seen afresh, at the size of `alpha`; None for nobody, and for anybody else."""
        left, top, right, bottom = _around(alpha > 0.5)
        if right <= left or bottom <= top:
            return None
        height, width = frame.pixels.shape[:2]
        rows, columns = alpha.shape
        inside = frame.pixels[
            top * height // rows : -(-bottom * height // rows), left * width // columns : -(-right * width // columns)
        ]
        seen = np.zeros_like(alpha)
        resize(np.nan_to_num(self._looker.look(inside)), (right - left, bottom - top), seen[top:bottom, left:right])
        look = _part_of(seen, alpha)
        return look if self._is_same(frame, look, alpha) else None

    def _is_same(self, frame: Frame, look: Alpha, alpha: Alpha) -> bool:
        if look.mean() < LEAST or overlap(look, alpha) < self._options.same:
            return False
        usual = float(np.quantile(self._areas, 0.9)) if self._areas else float(alpha.mean())
        if look.mean() > self._options.larger * max(usual, float(alpha.mean())):
            return False
        if self._colours is None:
            return True
        distance = cv2.compareHist(self._colours, _colours(frame, look), cv2.HISTCMP_BHATTACHARYYA)
        return distance <= self._options.apart


def overlap(one: Alpha, other: Alpha) -> float:
    """Returns intersection over union of two alphas of one size, at 0.5; 0 where nothing is in either."""
    a, b = one > 0.5, other > 0.5
    return int(np.count_nonzero(a & b)) / max(1, int(np.count_nonzero(a | b)))


def _around(body: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Returns the box (left, top, right, bottom) of a person and half of its size around it: what was lost is there."""
    columns, rows = np.flatnonzero(body.any(axis=0)), np.flatnonzero(body.any(axis=1))
    if not columns.size:
        return 0, 0, 0, 0
    left, right, top, bottom = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    beside, above = (right - left) // 2, (bottom - top) // 2
    height, width = body.shape
    return max(0, left - beside), max(0, top - above), min(width, right + beside), min(height, bottom + above)


def _part_of(seen: Alpha, alpha: Alpha) -> Alpha:
    """Returns the connected part of `seen` that has most of the person's alpha in it."""
    labels = cv2.connectedComponents((seen > 0.1).astype(np.uint8), connectivity=4)[1]
    shares = np.bincount(labels.ravel(), weights=alpha.ravel())
    shares[0] = 0.0
    return np.where(labels == shares.argmax(), seen, np.float32(0)) if shares.any() else np.zeros_like(seen)


def _colours(frame: Frame, alpha: Alpha) -> NDArray[np.float32]:
    """Returns the histogram of the person's colours, summing to 1."""
    rows, columns = alpha.shape
    pixels: NDArray[Any] = np.empty((rows, columns, 3), np.uint8)
    Fit((columns, rows), (0, 0, columns, rows)).forward(frame.pixels, pixels)
    inside = (alpha > 0.5).astype(np.uint8)
    histogram = cv2.calcHist([pixels], [0, 1, 2], inside, [BINS] * 3, [0, 256] * 3)
    return np.asarray(histogram / max(1.0, float(histogram.sum())), np.float32)
