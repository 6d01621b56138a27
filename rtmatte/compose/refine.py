"""The alpha at frame size: detail of the frame's luma put back into a matte computed at a smaller working size.

It adds no matte of its own: where the working alpha is flat, the answer is its linear interpolation.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte import imaging
from rtmatte.compose.scratch import Scratch
from rtmatte.frame import Alpha, Matte

# Measured on cut-outs over photographs at 2.5x, with and without sensor noise of 4 levels: a radius of 1 to 3 and a
# floor of 6 to 65 levels squared differ by a few percent of MAD.
RADIUS = 2  # of the window, in working pixels
NOISE = 26.0  # variance of luma (levels squared) below which an edge counts as noise
BAND = 8.0  # alpha * (1 - alpha) * BAND >= 1: full detail, from alpha 0.15 to 0.85


class Refiner:
    """Brings mattes to the size of their frames, in memory that is made once per size."""

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._matte: Matte | None = None
        self._alpha: Alpha

    def alpha(self, matte: Matte) -> Alpha:
        """Returns the alpha (H, W) float32 in 0..1 at the frame's size; all zero without a trustworthy matte.

        It is a lease until the next call with another matte, and the engine's own memory when the sizes are equal.
        """
        if matte is not self._matte:  # several pictures may be drawn from one matte
            self._alpha = self._at_frame_size(matte)
            self._matte = matte
        return self._alpha

    def _at_frame_size(self, matte: Matte) -> Alpha:
        width, height = matte.frame.size
        if matte.alpha is None:
            hidden = self._scratch.array("alpha", (height, width), np.float32)
            hidden.fill(0)
            return hidden
        if matte.alpha.shape == (height, width):
            return matte.alpha
        if height > matte.alpha.shape[0] or width > matte.alpha.shape[1]:
            return upsample(matte.alpha, matte.frame.pixels, scratch=self._scratch)
        return imaging.resize(matte.alpha, (width, height), self._scratch.array("alpha", (height, width), np.float32))


def upsample(alpha: Alpha, pixels: NDArray[Any], *, scratch: Scratch) -> Alpha:
    """Returns `alpha` (h, w) at the size of `pixels` (H, W, 3) RGB: slope * luma + offset, clipped to 0..1.

    A fast guided filter (He and Sun 2015, "Fast Guided Filter") with two changes. The offset is alpha - slope * luma,
    not the window's mean: the answer then keeps the matte's own values, where the filter of the paper blurs them and
    does worse than linear interpolation. And the slope fades out where the matte is sure, so that texture of the room
    or of a shirt cannot enter. The result lies in `scratch`.
    """
    (height, width), (low_height, low_width) = pixels.shape[:2], alpha.shape
    luma = scratch.array("luma", (height, width), pixels.dtype)
    cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY, luma)
    low = scratch.array("low", (low_height, low_width), np.float32)
    np.copyto(low, imaging.resize(luma, (low_width, low_height), scratch.array("small", low.shape, luma.dtype)))

    slope = _slope(low, alpha, scratch)
    offset = np.subtract(alpha, np.multiply(slope, low, out=low), out=low)
    out: Alpha = imaging.resize(slope, (width, height), scratch.array("alpha", luma.shape, np.float32))
    cv2.multiply(out, luma, out, dtype=cv2.CV_32F)
    out += imaging.resize(offset, (width, height), scratch.array("offset", luma.shape, np.float32))
    return np.clip(out, 0, 1, out=out)


def _slope(luma: Alpha, alpha: Alpha, scratch: Scratch) -> Alpha:
    """Returns alpha per level of luma at working size: their covariance over the luma's variance in each window."""
    mean_luma, mean_alpha, variance, slope = (
        scratch.array(name, alpha.shape, np.float32) for name in ("mean_luma", "mean_alpha", "variance", "slope")
    )
    _box(luma, mean_luma)
    _box(alpha, mean_alpha)
    _box(np.square(luma, out=variance), variance)
    _box(np.multiply(luma, alpha, out=slope), slope)
    slope -= np.multiply(mean_luma, mean_alpha, out=mean_alpha)
    variance -= np.square(mean_luma, out=mean_luma)
    variance += NOISE
    slope /= variance

    band = np.subtract(1.0, alpha, out=mean_alpha)
    band *= alpha
    band *= BAND
    slope *= np.minimum(band, 1.0, out=band)
    return slope


def _box(values: Alpha, out: Alpha) -> None:
    cv2.blur(values, (2 * RADIUS + 1, 2 * RADIUS + 1), out)
