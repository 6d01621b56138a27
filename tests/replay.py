"""A made clip whose frames carry their number, and a method that answers from its truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import Clip
from rtmatte.frame import Alpha, Mask

Pixels8 = NDArray[np.uint8]
Answer = Callable[[int, Alpha], Alpha]  # of the position in play and the true alpha


def numbered_clip(length: int = 5) -> Clip:
    """Returns a clip of 24x32 whose frame n has all pixels at 10 + n and a square person that steps to the right."""

    def frame(number: int) -> Pixels8:
        return np.full((24, 32, 3), 10 + number, np.uint8)

    def truth(number: int) -> Pixels8:
        matte = np.zeros((24, 32), np.uint8)
        matte[6:18, 4 + number : 16 + number] = 255
        return matte

    return Clip("numbered", length, frame, truth)


class Replay:
    """Answers the truth of the frame it is shown, through `answer`; a frame it does not know gives zeros.

    `seen` are the frame numbers in the order they came, None for unknown pictures; `masks` the masks it was given.
    """

    name = "replay"

    def __init__(self, clip: Clip, answer: Answer = lambda position, alpha: alpha) -> None:
        self._clip = clip
        self._answer = answer
        self.seen: list[int | None] = []
        self.masks: list[Mask] = []

    def start(self, pixels: Pixels8, mask: Mask) -> Alpha:
        self.masks.append(mask)
        self.seen.clear()
        return self.step(pixels)

    def step(self, pixels: Pixels8) -> Alpha:
        number = int(pixels[0, 0, 0]) - 10
        known = 0 <= number < self._clip.length and bool((pixels == pixels[0, 0, 0]).all())
        self.seen.append(number if known else None)
        truth = (self._clip.truth(number if known else 0) / 255).astype(np.float32)
        return self._answer(len(self.seen) - 1, truth if known else np.zeros_like(truth))
