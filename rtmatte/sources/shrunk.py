"""Another source with its pictures made smaller, as MatAnyone's `max_size` does it, so that results can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Self

from rtmatte.errors import InputError
from rtmatte.frame import Frame
from rtmatte.resampling import Size, limited, shrink_area
from rtmatte.sources import Source


class ShrunkSource:
    """The frames of `source`, those whose shorter side is more than `shortest` pixels reduced to that.

    Reduced pixels are float32 in 0..255, plain means of what they touch and not rounded, in memory of their own.
    """

    def __init__(self, source: Source, shortest: int) -> None:
        if shortest < 1:
            raise InputError(f"expected a shorter side of at least 1 pixel, found {shortest}")
        self._source = source
        self._shortest = shortest
        self.size: Size = limited(source.size, shortest)

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
            size = limited(frame.size, self._shortest)
            if size == frame.size:
                yield frame
            else:
                yield replace(frame, pixels=shrink_area(frame.pixels, size))

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
