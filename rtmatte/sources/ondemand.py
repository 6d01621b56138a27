"""A source that is open only while somebody watches what becomes of it, so that the camera's light is off otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Self

import numpy as np

from rtmatte.clock import Clock
from rtmatte.errors import InputError, SourceError
from rtmatte.frame import Frame
from rtmatte.sources import Source, SourceState

SETTLE = 0.3  # seconds for which a viewer has to stay: programs open every camera for a moment to list it
LOOK = 0.1  # seconds between two looks for viewers while there is no picture
PULSE = 0.5  # seconds between two blank frames, so that the output stays alive
RETRY = 1.0  # seconds between two attempts to open the source
NEVER = -float("inf")


class OnDemandSource:
    """The frames of a source while `viewers` counts somebody, and for `release_after` seconds more.

    Otherwise the source is closed and blank frames stand in for it, as they do while it cannot be opened. `seq`
    counts all of them, so no two frames share one.
    """

    frame_count: int | None = None

    def __init__(
        self,
        source: Source,
        reopen: Callable[[], Source],
        viewers: Callable[[], int],
        clock: Clock,
        *,
        release_after: float = 10.0,
    ) -> None:
        """Takes `source`, opened, since it tells its name, size and rate; it is released at once if nobody watches."""
        if not 0 <= release_after < float("inf"):
            raise InputError(f"expected to release the camera after 0 seconds or more, found {release_after}")
        self.name, self.size, self.fps = source.name, source.size, source.fps
        self._source: Source | None = source
        self._reopen, self._viewers, self._clock = reopen, viewers, clock
        self._release_after = release_after
        watched_since = clock.now() if viewers() else None
        self._arrived_at = watched_since  # when somebody came who has not left
        self._seen_at = NEVER if watched_since is None else watched_since  # when one who stays was last there
        self._tried_at = NEVER
        self._fault = ""
        self._blank = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        self._seq = 0
        self._closing = Event()

    @property
    def state(self) -> SourceState:
        """RESTING while nobody watches, FAILED while it cannot be opened, else the source's own."""
        if self._source is None:
            return SourceState.FAILED if self._fault else SourceState.RESTING
        return getattr(self._source, "state", SourceState.LIVE)

    @property
    def message(self) -> str:
        """What to do about a source that gives no pictures; empty when there is nothing to do."""
        return self._fault or getattr(self._source, "message", "")

    def __iter__(self) -> Iterator[Frame]:
        while not self._closing.is_set():
            if not self._wanted():
                self._fault = ""
            elif (source := self._opened()) is not None:
                for frame in source:
                    yield self._numbered(frame)
                    if not self._wanted():
                        break
                else:
                    return
            self._release()
            yield self._numbered(Frame(0, self._blank, self._clock.now(), blank=True))
            self._wait()

    def _wanted(self) -> bool:
        """Returns whether somebody watches, or did so not long ago."""
        now = self._clock.now()
        if self._viewers() == 0:
            self._arrived_at = None
        elif self._arrived_at is None:
            self._arrived_at = now
        if self._arrived_at is not None and now - self._arrived_at >= SETTLE:
            self._seen_at = now
        return now - self._seen_at <= self._release_after

    def _opened(self) -> Source | None:
        now = self._clock.now()
        if self._source is None and now - self._tried_at >= RETRY:
            self._tried_at = now
            try:
                self._source, self._fault = self._reopen(), ""
            except SourceError as error:
                self._fault = str(error)
        if self._closing.is_set():  # while it was being opened
            self._release()
        return self._source

    def _release(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _numbered(self, frame: Frame) -> Frame:
        self._seq += 1
        return replace(frame, seq=self._seq - 1)

    def _wait(self) -> None:
        """Waits for the next blank frame, or for somebody to watch."""
        due = self._clock.now() + PULSE
        while not self._closing.is_set() and self._clock.now() < due and not (self._wanted() and not self._fault):
            self._clock.sleep(LOOK)

    def close(self) -> None:
        self._closing.set()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
