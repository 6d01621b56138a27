"""The two size limits of MatAnyone's protocol and the resizes that go with them, for results that can be compared.

Numpy only. Sizes are (width, height) in pixels. OpenCV's resizes are faster and not these: its area resize weighs the
pixels it cuts through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]  # (width, height)
Values = NDArray[Any]


def limited(size: Size, shorter_side: int) -> Size:
    """Returns `size` scaled down until its shorter side is `shorter_side`; as it is when that is -1 or not exceeded."""
    shortest = min(size)
    if shorter_side <= 0 or shortest <= shorter_side:
        return size
    width, height = (int(side / shortest * shorter_side) for side in size)  # cut off, and in this order
    return width, height


def shrink_area(picture: Values, size: Size) -> NDArray[np.float32]:
    """Returns a picture (H, W[, C]) at the smaller `size`, each pixel the plain mean of all it touches: frames under
    `max_size`."""
    return _resized(picture, size, _means)


def resize_linear(picture: Values, size: Size) -> NDArray[np.float32]:
    """Returns a picture (H, W[, C]) at `size`, between its two nearest pixels each way, without antialiasing: frame,
    mask and alpha under `max_internal_size`."""
    return _resized(picture, size, _between)


def shrink_nearest(mask: Values, size: Size) -> Values:
    """Returns a mask (H, W) at the smaller `size` without new values: the first mask under `max_size`."""
    width, height = size
    rows = np.arange(height) * mask.shape[0] // height
    columns = np.arange(width) * mask.shape[1] // width
    return np.ascontiguousarray(mask[rows[:, None], columns])


def _resized(picture: Values, size: Size, along: Callable[[Values, int], Values]) -> NDArray[np.float32]:
    width, height = size
    columns = along(along(picture, height).swapaxes(0, 1), width)
    return np.ascontiguousarray(columns.swapaxes(0, 1), np.float32)


def _means(values: Values, new: int) -> Values:
    """Returns the means over the first axis: sums from the beginning tell what each new pixel touches."""
    old, pixel = len(values), np.arange(new)
    begin, end = pixel * old // new, -(-(pixel + 1) * old // new)
    sums = np.zeros((old + 1, *values.shape[1:]))  # float64: exact for bytes
    np.cumsum(values, axis=0, out=sums[1:])
    means: Values = (sums[end] - sums[begin]) / _column(end - begin, values)
    return means


def _between(values: Values, new: int) -> Values:
    old = len(values)
    centre = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    below = centre.astype(np.intp)
    share = _column(centre - below, values)
    between: Values = values[below] * (1 - share) + values[np.minimum(below + 1, old - 1)] * share
    return between


def _column(numbers: Values, values: Values) -> Values:
    return numbers.reshape(-1, *(1 for _ in values.shape[1:]))
