"""The room behind the person, blurred without the person in it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte import imaging
from rtmatte.compose.scratch import Bytes, Scratch
from rtmatte.frame import Alpha

SLATE = (52, 58, 66)  # RGB; what is shown where nothing may be shown


class Blur:
    """The frame's own background, blurred over background pixels only: blur(picture * w) / blur(w).

    `strength` of 1 to 100 is a Gaussian with a standard deviation of 1.4 % to 6 % of the frame's shorter side. It runs
    on a picture made 2 to 32 times smaller, which stays within 1/255 of the full-size blur on average. A pixel counts
    (w) from fully at alpha 0 to not at all at alpha 0.1: with w = 1 - alpha the person's colour, mixed into every edge
    pixel, would glow into the room. Far inside the person, where no background is near, stands the mean of all of it.
    """

    WEAKEST, WIDEST = 0.014, 0.06  # standard deviation at strength 0 and 100, of the shorter side
    FINEST = 2.5  # standard deviation in pixels of the small picture that linear interpolation still hides
    STEEPNESS = 10.0
    FAR = 1e-3  # weight of the mean everywhere: rules only where no background is near

    def __init__(self, strength: float) -> None:
        self.strength = strength
        self._scratch = Scratch()
        self._smaller = imaging.Shrink(), imaging.Shrink()

    def behind(self, picture: Bytes, alpha: Alpha, out: Bytes, *, at: float) -> None:
        size = out.shape[1], out.shape[0]
        small, sigma = self.reduced(size)
        room, weights = self._weighted(picture, alpha, small)
        imaging.resize(self._normalised(room, weights, sigma), size, out)

    def reduced(self, size: imaging.Size) -> tuple[imaging.Size, float]:
        """Returns the size at which a picture of `size` is blurred, and the standard deviation there."""
        width, height = size
        share = self.WEAKEST + (self.WIDEST - self.WEAKEST) * self.strength / 100
        sigma = share * min(width, height)
        shrink = next((n for n in (32, 16, 8, 4, 2) if sigma >= n * self.FINEST), 1)
        # Averaging on the way down and interpolating on the way up blur by themselves: 1/12 + 1/6 pixel squared.
        variance = (sigma / shrink) ** 2 - (0.25 if shrink > 1 else 0.0)
        small = -(-width // shrink), -(-height // shrink)
        return small, max(variance, 0.01) ** 0.5  # a few pixels have nothing to blur

    def plain(self, out: Bytes, *, at: float) -> None:
        out[:] = SLATE

    def _weighted(self, picture: Bytes, alpha: Alpha, small: imaging.Size) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns the background (h, w, 3) times its weights, and the weights (h, w), both float32 at size `small`."""
        shape = small[1], small[0]
        shrunk = self._scratch.array("picture", (*shape, 3), np.uint8)
        weights = self._scratch.array("weights", shape, np.float32)
        self._smaller[0].into(picture, shrunk)
        self._smaller[1].into(alpha, weights)
        weights *= -self.STEEPNESS
        weights += 1.0
        np.maximum(weights, 0.0, out=weights)
        room = self._scratch.array("room", shrunk.shape, np.float32)
        cv2.multiply(shrunk, self._three(weights), room, dtype=cv2.CV_32F)
        return room, weights

    def _normalised(self, room: NDArray[Any], weights: NDArray[Any], sigma: float) -> NDArray[Any]:
        """Returns the blurred room over the blurred weights, (h, w, 3) uint8."""
        total = cv2.sumElems(weights)[0]
        mean = [channel / total for channel in cv2.sumElems(room)[:3]] if total > 0 else SLATE
        row = self._scratch.array("row", (1, *room.shape[1:]), np.float32)
        row[:] = mean
        row *= self.FAR
        for plane in (room, weights):
            cv2.GaussianBlur(plane, (0, 0), sigma, plane, borderType=cv2.BORDER_REFLECT)
        room += row
        weights += self.FAR
        blurred = self._scratch.array("blurred", room.shape, np.uint8)
        cv2.divide(room, self._three(weights), blurred, dtype=cv2.CV_8U)
        return blurred

    def _three(self, plane: NDArray[Any]) -> NDArray[Any]:
        return cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB, self._scratch.array("three", (*plane.shape, 3), np.float32))
