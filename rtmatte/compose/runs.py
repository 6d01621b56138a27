"""A few of a picture's pixels, packed side by side: arithmetic at an edge need not touch the whole picture."""

from __future__ import annotations

from math import ceil, floor, gcd
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.compose.scratch import Bytes, Scratch
from rtmatte.imaging import Size

Part = tuple[slice, slice]  # rows and columns of an array

LONGEST = 8  # pixels of a run: longer ones are fewer to look up and copy, but take in more that is not mixed


def layout(width: int, working: int) -> tuple[int, int]:
    """Returns how long runs are in a picture so wide, and how near to the mask, `working` wide, they are packed."""
    length = gcd(width, LONGEST)
    return length, ceil(length * working / width / 2) + 1  # a run is looked up at its middle


class Runs:
    """Which runs of a picture's rows are packed. A run is up to `LONGEST` pixels, as many as divide the width evenly.

    All runs of a picture are a grid (H, W / length). What `take` gives lies in memory that is made once per size, and
    stands until the next `take` of that name.
    """

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._size: Size = (0, 0)
        self._length = 1
        self._chosen = np.empty(0, np.intp)
        self._rows = self._columns = 0, 0  # from and up to which of the picture runs are chosen

    @property
    def count(self) -> int:
        """How many pixels are packed."""
        return self._chosen.size * self._length

    def choose(self, mask: Bytes, size: Size) -> None:
        """Packs the pixels of a picture of `size` near which `mask` (h, w), of any size, is not zero.

        Near means: within a pixel of the mask, as far as linear interpolation spreads it.
        """
        self._size = size
        self._length, reach = layout(size[0], mask.shape[1])
        kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * reach + 1, 3))
        near: Bytes = self._scratch.array("near", mask.shape, np.uint8)
        cv2.dilate(mask, kernel, near)
        grid = self._grid(near)
        self._chosen = np.flatnonzero(grid)
        x, y, across, down = cv2.boundingRect(grid.view(np.uint8))
        self._rows = y, y + down
        self._columns = x * self._length, (x + across) * self._length

    def take(self, name: str, picture: NDArray[Any]) -> NDArray[Any]:
        """Returns the chosen pixels of `picture` (H, W) or (H, W, C) as one row: (1, count) or (1, count, C)."""
        packed = self.memory(name, picture.shape[2:], picture.dtype)
        if self.count:
            into = packed.reshape(self._chosen.size, -1)
            np.take(picture.reshape(-1, into.shape[1]), self._chosen, axis=0, out=into, mode="clip")
        return packed

    def enlarged(self, name: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Returns the chosen pixels of a picture of `shape` (h, w, ...) made as large as this one, by interpolation;
        `values` are the `part` of it.

        All of the part is made larger: measured at 1280x720, that is as fast as to look a tenth of the pixels up one by
        one.
        """
        width, height = self._size
        kind = values.shape[2:], values.dtype  # one memory for all of a kind: it is warm from the one before
        whole = self._scratch.array(f"whole {kind}", (height, width, *kind[0]), kind[1])
        if self.count:
            rows, columns = self.part(shape)
            large = whole[_scaled(rows, shape[0], height), _scaled(columns, shape[1], width)]
            cv2.resize(values, large.shape[1::-1], large, interpolation=cv2.INTER_LINEAR)
        return self.take(name, whole)

    def part(self, shape: tuple[int, ...]) -> Part:
        """Returns the part of a picture of `shape` (h, w, ...), made as large as the whole one, that holds the chosen
        pixels and all that they are interpolated from."""
        width, height = self._size
        return _span(self._rows, shape[0], height), _span(self._columns, shape[1], width)

    def put(self, packed: NDArray[Any], picture: NDArray[Any]) -> None:
        """Writes a row of `count` pixels to the chosen ones of a contiguous `picture` (H, W) or (H, W, C)."""
        if self.count:
            assert picture.flags.c_contiguous  # else it would be a copy that is written to
            values = packed.reshape(self._chosen.size, -1)
            picture.reshape(-1, values.shape[1])[self._chosen] = values

    def copy(self, picture: NDArray[Any], mask: Bytes, out: NDArray[Any]) -> None:
        """Copies the runs of a contiguous `picture` (H, W, C) whose middle is in `mask` (h, w) to `out`, its like."""
        run = np.dtype((np.void, self._length * picture.strides[1]))
        into, of = (whole.reshape(len(whole), -1).view(run) for whole in (out, picture))
        np.copyto(into, of, where=self._grid(mask))

    def _grid(self, mask: Bytes) -> NDArray[np.bool_]:
        """Returns which runs have something of `mask` (h, w), of any size, at their middle."""
        shape = self._size[1], self._size[0] // self._length
        values = self._scratch.array("middles", shape, np.uint8)
        cv2.resize(mask, shape[::-1], values, interpolation=cv2.INTER_NEAREST_EXACT)
        grid: NDArray[np.bool_] = self._scratch.array("grid", shape, np.bool_)
        np.greater(values, 0, out=grid)
        return grid

    def memory(self, name: str, channels: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Returns a row (1, count, *channels) of pixels called `name`, holding whatever it held."""
        width, height = self._size
        return self._scratch.array(name, (1, width * height, *channels), dtype)[:, : self.count]


def _span(pixels: tuple[int, int], small: int, large: int) -> slice:
    """Returns which of `small` pixels a side reach into `pixels` of `large`, by interpolation; it begins and ends where
    pixels of both begin, so that to make it larger is to make the whole larger."""
    unit = small // gcd(small, large)
    first, last = floor(pixels[0] * small / large) - 1, ceil(pixels[1] * small / large) + 1
    return slice(max(0, first // unit * unit), min(small, -(-last // unit) * unit))


def _scaled(part: slice, small: int, large: int) -> slice:
    return slice(part.start * large // small, part.stop * large // small)
