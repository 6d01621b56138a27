"""An alpha that stands still where the picture does."""

from __future__ import annotations

import cv2
import numpy as np

from rtmatte.compose.scratch import Bytes, Scratch
from rtmatte.frame import Alpha

STILL, MOVED = 4.0, 8.0  # levels of change, over a mean of 5x5 pixels: below is noise of the sensor, above is motion
NEAR = 9  # pixels across: motion counts for everything within
SLOWEST = 0.1  # of the way to the new alpha that a still pixel goes in a frame at full strength


class Steady:
    """Averages an alpha over time, but only where the picture is as it was: it follows at once whatever moves."""

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._kept: Alpha | None = None

    def forget(self) -> None:
        """Lets the next alpha be the first."""
        self._kept = None

    def held(self, alpha: Alpha, picture: Bytes, strength: float) -> Alpha:
        """Returns `alpha` (h, w) steadied by `strength` 0..1 under its own `picture` (h, w, 3), in memory of its own.

        With a strength of 0 it is `alpha` itself.
        """
        if not strength:
            self._kept = None
            return alpha
        seen = self._scratch.array("seen", picture.shape, np.uint8)
        last = self._scratch.array("last", picture.shape, np.uint8)
        cv2.blur(picture, (5, 5), seen)
        if self._kept is None or self._kept.shape != alpha.shape:
            self._kept = self._scratch.array("kept", alpha.shape, np.float32)
            np.copyto(self._kept, alpha)
        else:
            step = np.subtract(alpha, self._kept, out=self._scratch.array("step", alpha.shape, np.float32))
            step *= self._rate(cv2.absdiff(seen, last, last).astype(np.uint8, copy=False), strength)
            self._kept += step
        np.copyto(last, seen)
        return self._kept

    def _rate(self, change: Bytes, strength: float) -> Alpha:
        """Returns how far (h, w) to go to the new alpha: all the way where the picture changed."""
        planes = [self._scratch.array(f"plane {n}", change.shape[:2], np.uint8) for n in range(3)]
        cv2.split(change, planes)
        greatest = cv2.max(cv2.max(planes[0], planes[1], planes[0]), planes[2], planes[0])
        cv2.dilate(greatest, np.ones((NEAR, NEAR), np.uint8), greatest)
        rate: Alpha = self._scratch.array("rate", change.shape[:2], np.float32)
        np.subtract(greatest, STILL, out=rate, dtype=np.float32)
        rate /= MOVED - STILL
        return np.clip(rate, 1 - (1 - SLOWEST) * strength, 1, out=rate)
