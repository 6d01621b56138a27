"""The edge where a user wants it: moved out or in, and softer. An alpha stays an alpha, nothing is made 0 or 1."""

from __future__ import annotations

from math import ceil, floor
from typing import Any

import cv2
import numpy as np

from rtmatte.compose.look import Look
from rtmatte.compose.scratch import Scratch
from rtmatte.frame import Alpha

WIDTH = 2.56  # standard deviations from 10 % to 90 % of a Gaussian edge


def shaped(alpha: Alpha, look: Look, *, scratch: Scratch) -> Alpha:
    """Returns `alpha` (h, w) with its edge moved and softened as `look` says: itself when it says nothing.

    The edge moves by a greatest or least value within a disc, which keeps its slope; it softens by a Gaussian, which
    keeps its place. At the border of the picture the person goes on. The answer lies in `scratch`.
    """
    if not look.edge_shift and not look.edge_softness:
        return alpha
    out: Alpha = scratch.array("shaped", alpha.shape, np.float32)
    np.copyto(out, alpha)
    if look.edge_shift:
        _move(out, look.edge_shift, scratch.array("moved", alpha.shape, np.float32))
    if look.edge_softness:
        cv2.GaussianBlur(out, (0, 0), look.edge_softness / WIDTH, out, borderType=cv2.BORDER_REPLICATE)
    return out


def _move(alpha: Alpha, shift: float, other: Alpha) -> None:
    """Moves the edge of `alpha`, in place; between two whole pixels the answer is between theirs."""
    move = cv2.dilate if shift > 0 else cv2.erode
    shift = abs(shift)
    np.copyto(other, alpha)
    move(other, _disc(ceil(shift)), other)
    if floor(shift):
        move(alpha, _disc(floor(shift)), alpha)
    share = shift - floor(shift)
    if share:
        cv2.addWeighted(alpha, 1 - share, other, share, 0, alpha)


def _disc(radius: int) -> Any:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
