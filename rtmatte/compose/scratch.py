"""Memory between the steps of a drawing, made once and used again, so that no frame allocates any."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Bytes = NDArray[np.uint8]


class Scratch:
    """Arrays by name, made at the first use and again when another shape or dtype is asked for."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Returns the array called `name`, holding whatever it held; it stays the owner's."""
        found = self._arrays.get(name)
        if found is None or found.shape != shape or found.dtype != dtype:
            found = self._arrays[name] = np.empty(shape, dtype)
        return found

    def room(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Returns an array of any `shape`, of one piece, in the memory called `name`, which only ever grows."""
        count = prod(shape)
        found = self._arrays.get(name)
        if found is None or found.size < count or found.dtype != dtype:
            found = self._arrays[name] = np.empty(count + count // 4, dtype)
        return found[:count].reshape(shape)

    def as_bytes(self, pixels: NDArray[Any]) -> Bytes:
        """Returns `pixels` as uint8: themselves, or rounded into an array that the next call overwrites."""
        if pixels.dtype == np.uint8:
            return pixels
        rounded = self.array("rounded", pixels.shape, np.float32)
        np.clip(np.rint(pixels, out=rounded), 0, 255, out=rounded)
        out: Bytes = self.array("bytes", pixels.shape, np.uint8)
        np.copyto(out, rounded, casting="unsafe")
        return out
