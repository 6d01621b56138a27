"""Sizes, as the authors' protocol sees them: padding, the two size limits, and the resizes that go with them.

Numpy only, so that it can be used without PyTorch. Sizes are (width, height) in pixels. The resizes are for parity:
OpenCV's area resize weighs the pixels it cuts through, these do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]  # (width, height)
Weights = NDArray[np.float64]  # (new, old): how much of every old pixel is in every new one

STRIDE = 16  # a token covers 16x16 pixels


def padding(length: int) -> tuple[int, int]:
    """Returns the zeros to add before and after `length` pixels to reach a multiple of 16."""
    missing = -length % STRIDE
    return missing // 2, missing - missing // 2


def limited(size: Size, shorter_side: int) -> Size:
    """Returns `size` scaled down until its shorter side is `shorter_side`; as it is when that is -1 or not exceeded."""
    shortest = min(size)
    if shorter_side <= 0 or shortest <= shorter_side:
        return size
    width, height = (int(side / shortest * shorter_side) for side in size)
    return width, height


def shrink_area(picture: NDArray[Any], size: Size) -> NDArray[np.float32]:
    """Returns a picture (H, W[, C]) at the smaller `size`, each pixel the plain mean of all it touches: frames under
    `max_size`."""
    return _resized(picture, size, _touched)


def resize_linear(picture: NDArray[Any], size: Size) -> NDArray[np.float32]:
    """Returns a picture (H, W[, C]) at `size`, between its two nearest pixels each way, without antialiasing: frame,
    mask and alpha under `max_internal_size`."""
    return _resized(picture, size, _between)


def shrink_nearest(mask: NDArray[Any], size: Size) -> NDArray[Any]:
    """Returns a mask (H, W) at the smaller `size` without new values: the first mask under `max_size`."""
    width, height = size
    rows = np.arange(height) * mask.shape[0] // height
    columns = np.arange(width) * mask.shape[1] // width
    return np.ascontiguousarray(mask[rows[:, None], columns])


def _resized(picture: NDArray[Any], size: Size, weigh: Callable[[int, int], Weights]) -> NDArray[np.float32]:
    width, height = size
    rows, columns = weigh(picture.shape[0], height), weigh(picture.shape[1], width)
    resized = np.einsum("yY,xX,YX...->yx...", rows, columns, picture, optimize=True)
    return np.asarray(resized, np.float32)


def _touched(old: int, new: int) -> Weights:
    index, pixel = np.arange(new)[:, None], np.arange(old)
    inside = (pixel >= index * old // new) & (pixel < -(-(index + 1) * old // new))
    return np.asarray(inside / inside.sum(axis=1, keepdims=True), np.float64)


def _between(old: int, new: int) -> Weights:
    centre = np.clip((np.arange(new)[:, None] + 0.5) * old / new - 0.5, 0, old - 1)
    return np.asarray(np.clip(1 - np.abs(np.arange(old) - centre), 0, 1), np.float64)
