"""A recorded source played at the pace of a camera, for demos and for measuring the live path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Self

from rtmatte.clock import Clock
from rtmatte.frame import Frame
from rtmatte.sources import Source

# A sleep is cut into slices so that close() is heeded.
SLICE = 0.1
# Later than this (the machine slept) the schedule starts anew, instead of a burst of frames to catch up.
PATIENCE = 1.0


class PacedSource:
    """The frames of `source`, each when it is due by its pts, stamped at that moment. It drops nothing."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._closed = False

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def size(self) -> tuple[int, int]:
        return self._source.size

    @property
    def fps(self) -> float:
        return self._source.fps

    @property
    def frame_count(self) -> int | None:
        return self._source.frame_count

    def __iter__(self) -> Iterator[Frame]:
        start: float | None = None
        for frame in self._source:
            media = frame.seq / self.fps if frame.pts is None else frame.pts
            if start is None or self._clock.now() - (start + media) > PATIENCE:
                start = self._clock.now() - media
            self._wait(start + media)
            if self._closed:
                return
            yield replace(frame, captured_at=self._clock.now())

    def _wait(self, due: float) -> None:
        while not self._closed and (left := due - self._clock.now()) > 0:
            self._clock.sleep(min(left, SLICE))

    def close(self) -> None:
        self._closed = True
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
