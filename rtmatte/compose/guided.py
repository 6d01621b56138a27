"""Detail of a picture's luma for a matte that was computed at a smaller size: alpha = slope * luma + offset."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.compose.scratch import Bytes, Scratch
from rtmatte.frame import Alpha

# Measured on cut-outs over photographs at 2.5x, with and without sensor noise of 4 levels: a radius of 1 to 3 and a
# floor of 6 to 65 levels squared differ by a few percent of MAD.
RADIUS = 2  # of the window, in working pixels
NOISE = 26.0  # variance of luma (levels squared) below which an edge counts as noise
BAND = 8.0  # alpha * (1 - alpha) * BAND >= 1: full detail, from alpha 0.15 to 0.85


def lines(alpha: Alpha, picture: Bytes, *, scratch: Scratch) -> tuple[Alpha, Alpha]:
    """Returns the slope and the offset of every pixel, (h, w) float32 each, for `alpha` (h, w) and RGB (h, w, 3).

    A fast guided filter (He and Sun 2015, "Fast Guided Filter") with two changes. The offset is alpha - slope * luma,
    not the window's mean: the answer then keeps the matte's own values, where the filter of the paper blurs them and
    does worse than linear interpolation. And the slope fades out where the matte is sure, so that texture of the room
    or of a shirt cannot enter. Both lie in `scratch`.
    """
    luma = scratch.array("luma", alpha.shape, np.float32)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY, scratch.array("grey", alpha.shape, np.uint8))
    np.copyto(luma, grey)
    slope = _slope(luma, alpha, scratch)
    offset = np.subtract(alpha, np.multiply(slope, luma, out=luma), out=luma)
    return slope, offset


def _slope(luma: Alpha, alpha: Alpha, scratch: Scratch) -> Alpha:
    """Returns alpha per level of luma: their covariance over the luma's variance in each window."""
    mean_luma, mean_alpha, variance, slope = (
        scratch.array(name, alpha.shape, np.float32) for name in ("mean_luma", "mean_alpha", "variance", "slope")
    )
    _box(luma, mean_luma)
    _box(alpha, mean_alpha)
    _box(cv2.multiply(luma, luma, variance), variance)
    _box(cv2.multiply(luma, alpha, slope), slope)
    slope -= np.multiply(mean_luma, mean_alpha, out=mean_alpha)
    variance -= np.square(mean_luma, out=mean_luma)
    variance += NOISE
    slope /= variance

    band = np.subtract(1.0, alpha, out=mean_alpha)
    band *= alpha
    band *= BAND
    slope *= np.minimum(band, 1.0, out=band)
    return slope


def _box(values: NDArray[Any], out: Alpha) -> None:
    cv2.blur(values, (2 * RADIUS + 1, 2 * RADIUS + 1), out)
