"""The room behind the person, blurred without the person in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte import imaging
from rtmatte.compose.scratch import Bytes, Scratch
from rtmatte.frame import Alpha

SLATE = (52, 58, 66)  # RGB; what is shown where nothing may be shown


@dataclass(frozen=True, slots=True)
class Reduced:
    """The sizes at which a picture is weighted, and then blurred with a standard deviation of `sigma` pixels."""

    weighted: imaging.Size
    blurred: imaging.Size
    sigma: float


class Blur:
    """The frame's own background, blurred over background pixels only: blur(picture * w) / blur(w).

    `strength` of 1 to 100 is a Gaussian with a standard deviation of 1.4 % to 6 % of the frame's shorter side. It runs
    on a picture up to 32 times smaller than the alpha, made of means over areas and enlarged in fractions of a level:
    99 of 100 values are within 1/255 of the full-size blur. A pixel counts (w) from fully at alpha 0 to not at all at
    alpha 0.2: with w = 1 - alpha the person's colour, mixed into every edge pixel, would glow into the room. Far inside
    the person, where no background is near, stands the mean of all of it.
    """

    WEAKEST, WIDEST = 0.014, 0.06  # standard deviation at strength 0 and 100, of the shorter side
    FINEST = 2.0  # standard deviation in pixels of the small picture that linear interpolation still hides
    STEEPNESS = 5.0
    FAR = 1e-4  # weight of the mean everywhere: rules only where no background is near
    PARTS = 64  # of a level, in int16: enlarging whole levels shows as steps, and floats take half as much time again

    def __init__(self, strength: float) -> None:
        self.strength = strength
        self._scratch = Scratch()
        self._smaller = imaging.Shrink(), imaging.Shrink()

    def behind(self, picture: Bytes, alpha: Alpha, out: Bytes, *, at: float) -> None:
        sizes = self.reduced((picture.shape[1], picture.shape[0]))
        room, weights = self._weighted(picture, alpha, sizes)
        enlarged = self._scratch.array("enlarged", out.shape, np.int16)
        imaging.resize(self._normalised(room, weights, sizes.sigma), (out.shape[1], out.shape[0]), enlarged)
        cv2.convertScaleAbs(enlarged, out, 1 / self.PARTS)

    def reduced(self, size: imaging.Size) -> Reduced:
        """Returns at which sizes a picture of `size` is weighted and blurred."""
        sigma = (self.WEAKEST + (self.WIDEST - self.WEAKEST) * self.strength / 100) * min(size)
        shrink = next((n for n in (32, 16, 8, 4, 2) if sigma >= n * self.FINEST), 1)
        # Averaging on the way down and interpolating on the way up blur by themselves: 1/12 + 1/6 pixel squared.
        variance = (sigma / shrink) ** 2 - (0.25 if shrink > 1 else 0.0)
        # One halving of bytes is cheap; after it levels are weighted, and no longer rounded.
        width, height = size
        weighted, small = ((-(-width // n), -(-height // n)) for n in (2 if shrink > 2 else 1, shrink))
        return Reduced(weighted, small, max(variance, 0.01) ** 0.5)

    def plain(self, out: Bytes, *, at: float) -> None:
        out[:] = SLATE

    def _weighted(self, picture: Bytes, alpha: Alpha, sizes: Reduced) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns the background (h, w, 3) times its weights, and the weights (h, w), float32 at the size blurred."""
        shape = sizes.weighted[1], sizes.weighted[0]
        shrunk = self._scratch.array("picture", (*shape, 3), np.uint8)
        weights = self._scratch.array("weights", shape, np.float32)
        self._smaller[0].into(picture, shrunk)
        self._smaller[1].into(alpha, weights)
        weights *= -self.STEEPNESS
        weights += 1.0
        np.maximum(weights, 0.0, out=weights)
        room = self._scratch.array("room", shrunk.shape, np.float32)
        cv2.multiply(shrunk, self._three("three weights", weights), room, dtype=cv2.CV_32F)
        small = sizes.blurred[1], sizes.blurred[0]
        return (
            imaging.resize(room, sizes.blurred, self._scratch.array("small room", (*small, 3), np.float32)),
            imaging.resize(weights, sizes.blurred, self._scratch.array("small weights", small, np.float32)),
        )

    def _normalised(self, room: NDArray[Any], weights: NDArray[Any], sigma: float) -> NDArray[Any]:
        """Returns the blurred room over the blurred weights, (h, w, 3) int16, in PARTS of a level."""
        total = cv2.sumElems(weights)[0]
        mean = [channel / total for channel in cv2.sumElems(room)[:3]] if total > 0 else SLATE
        row = self._scratch.array("row", (1, *room.shape[1:]), np.float32)
        row[:] = mean
        row *= self.FAR
        for plane in (room, weights):
            cv2.GaussianBlur(plane, (0, 0), sigma, plane, borderType=cv2.BORDER_REFLECT)
        room += row
        weights += self.FAR
        blurred = self._scratch.array("blurred", room.shape, np.int16)
        cv2.divide(room, self._three("three blurred", weights), blurred, self.PARTS, cv2.CV_16S)
        return blurred

    def _three(self, name: str, plane: NDArray[Any]) -> NDArray[Any]:
        return cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB, self._scratch.array(name, (*plane.shape, 3), np.float32))
