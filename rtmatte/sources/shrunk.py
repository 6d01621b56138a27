"""Another source with its pictures made smaller, as MatAnyone's `max_size` does it, so that results can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Self

import numpy as np

from rtmatte.errors import InputError
from rtmatte.frame import Frame
from rtmatte.imaging import Size, resize
from rtmatte.sources import Source


class ShrunkSource:
    """The frames of `source`, those whose shorter side is more than `shortest` pixels reduced to that.

    Reduced pixels are float32 in 0..255, averaged over areas and not rounded, in memory of their own.
    """

    def __init__(self, source: Source, shortest: int) -> None:
        if shortest < 1:
            raise InputError(f"expected a shorter side of at least 1 pixel, found {shortest}")
        self._source = source
        self._shortest = shortest
        self.size = self._fit(source.size)

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def fps(self) -> float:
        return self._source.fps

    @property
    def frame_count(self) -> int | None:
        return self._source.frame_count

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            size = self._fit(frame.size)
            if size == frame.size:
                yield frame
            else:
                yield replace(frame, pixels=resize(frame.pixels.astype(np.float32), size))

    def _fit(self, size: Size) -> Size:
        shorter = min(size)
        if shorter <= self._shortest:
            return size
        width, height = (int(side / shorter * self._shortest) for side in size)  # truncated, in this order: parity
        return width, height

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
