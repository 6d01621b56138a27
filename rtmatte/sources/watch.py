"""A live source that is watched: whatever happens to it, frames keep coming, and it is opened again until it is back.

It is read on a thread of its own and the newest frame wins. While there is no picture, blank frames come at its rate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Self

import numpy as np

from rtmatte.clock import Clock
from rtmatte.errors import SourceBusy, SourceDenied, SourceError, SourceGone
from rtmatte.frame import Frame, Pixels
from rtmatte.ring import Ring
from rtmatte.sources import Source, SourceState

MISSED_PERIODS, PATIENCE = 5, 0.5  # a source is stalled after so many periods, and at least so many seconds
STALLED_LONG = 3.0  # seconds without a picture, then it is opened again
OPENING_LONG = 10.0  # seconds that opening may take, then it is tried anew
SOONEST, LATEST = 0.5, 5.0  # seconds between two attempts: doubled from the one to the other
LOOK = 0.25  # seconds between two looks whether it seems to be back
BLACK_LONG = 0.5  # seconds of black pictures that make a source a black one
BLACK = 16  # of 255: no pixel looked at is brighter
TICK = 0.02  # seconds of real time after which whoever waits for a frame looks again
JOIN = 0.5  # seconds to wait at the end; a driver may hold the reading thread for longer, it ends by itself
HUNG = 4  # readers that a driver holds; no more are started until it lets one go

SEEN = (SourceState.LIVE, SourceState.BLACK)  # the states in which pictures come
STATES = {
    SourceGone: SourceState.UNPLUGGED,
    SourceBusy: SourceState.BUSY,
    SourceDenied: SourceState.DENIED,
}


class WatchedSource:
    """The newest frame of a live source at each step, or a blank one; `seq` counts what came, so a gap is a drop.

    Frames are leased from a ring and come no faster than `fps`, which like `size` is what the source had at first.
    `dropped` counts the frames that nobody fetched or that came too fast, `reopened` how often it was lost and found
    again. After a loss the first frame is blank, so that nobody takes it for the next of a stream.
    """

    def __init__(
        self, opener: Callable[[], Source], clock: Clock, *, returned: Callable[[], bool] = lambda: False
    ) -> None:
        """Opens the source; SourceError when it cannot be. `returned` is asked now and then while the source is lost:
        when its answer becomes true it is opened at once, without waiting for the next attempt."""
        first = opener()
        self.name, self.size, self.fps = first.name, first.size, first.fps
        self.frame_count = first.frame_count
        self.dropped = self.reopened = 0
        self.state, self.message = SourceState.LIVE, ""
        self._opener, self._returned, self._clock = opener, returned, clock
        self._blank = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        self._ring = Ring()
        self._change = threading.Condition()
        self._newest: Frame | None = None
        self._seq = 0
        self._ended = self._closed = False
        self._fault: Exception | None = None
        self._was_lost = False
        now = clock.now()
        self._heard_at = now  # when the last frame came, or a reader began
        self._blank_due = self._frame_due = self._next_look = self._next_try = now
        self._black_since: float | None = None
        self._pause = SOONEST
        self._seemed_back = True
        self._hung: list[_Reader] = []
        self._reader: _Reader | None = None
        self._start(first)

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        with self._change:
            while not self._closed:
                if self._newest is not None:
                    return self._taken()
                if self._fault is not None:
                    raise self._fault
                if self._ended:
                    break
                now = self._clock.now()
                self._supervise(now)
                if self.state not in SEEN and now >= self._blank_due:
                    return self._blank_frame(now)
                self._change.wait(TICK)  # a limit, since time passes without a word, and Windows needs one for Ctrl-C
            raise StopIteration

    def close(self) -> None:
        with self._change:
            self._closed = True
            readers = [*self._hung, *filter(None, [self._reader])]
            self._change.notify_all()
        for reader in readers:
            reader.end()
        if self._reader is not None:
            self._reader.thread.join(JOIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # What the reading thread says; a reader that was given up is told to end.

    def heard(self, reader: _Reader, frame: Frame) -> bool:
        """Takes a frame; whether the reader is to go on."""
        black = int(frame.pixels[::16, ::16].max()) <= BLACK
        with self._change:
            if self._closed or reader is not self._reader:
                return False
            self._heard_at = frame.captured_at
            self._judge(frame.captured_at, black=black)
            period = 1 / self.fps
            if frame.captured_at < self._frame_due - period / 2:
                self.dropped += 1
                return True
            self._frame_due = max(self._frame_due, frame.captured_at - period) + period
            pixels = self._buffer(frame.pixels.shape)
            np.copyto(pixels, frame.pixels)
            self._newest = replace(frame, seq=self._seq, pixels=pixels, blank=self.state is SourceState.BLACK)
            self._seq += 1
            self._change.notify_all()
            return True

    def lost(self, reader: _Reader, error: Exception | None) -> None:
        """Takes the end of a reader: by an error, or None when its source has no more frames."""
        with self._change:
            if reader is not self._reader:
                return
            if isinstance(error, SourceError):
                self._let_go(STATES.get(type(error), SourceState.FAILED), str(error))
            elif error is not None:
                self._fault = error
            else:
                self._ended = True
            self._change.notify_all()

    def _judge(self, now: float, *, black: bool) -> None:
        """Notes that a picture came at `now`."""
        if self.state not in SEEN:
            self.reopened += 1
            self._pause, self._seemed_back = SOONEST, True
            self.state, self.message = SourceState.LIVE, ""
        if not black:
            self._was_lost |= self.state is SourceState.BLACK
            self._black_since = None
            self.state, self.message = SourceState.LIVE, ""
        elif self._black_since is None:
            self._black_since = now
        elif now - self._black_since >= BLACK_LONG:
            self.state = SourceState.BLACK
            self.message = f"{self.name} gives black pictures; open its shutter or lid, or switch its privacy key"

    def _supervise(self, now: float) -> None:
        """Declares a stall, gives a reader up, starts another: whatever is due."""
        silent = now - self._heard_at
        if self._reader is not None:
            if self.state in SEEN:
                if silent >= max(MISSED_PERIODS / self.fps, PATIENCE):
                    self._was_lost = True
                    self.state = SourceState.STALLED
                    self.message = f"{self.name} has stopped giving pictures; if it stays so, plug it in again"
            elif silent >= (STALLED_LONG if self._reader.opened else OPENING_LONG):
                self._let_go(self.state, self.message)
                self._next_try = now
        elif self._seems_back(now) or now >= self._next_try:
            self._try_again(now)

    def _seems_back(self, now: float) -> bool:
        if now < self._next_look:
            return False
        self._next_look = now + LOOK
        before, self._seemed_back = self._seemed_back, self._returned()
        return self._seemed_back and not before

    def _try_again(self, now: float) -> None:
        self._next_try = now + LATEST
        self._hung = [reader for reader in self._hung if reader.thread.is_alive()]
        if len(self._hung) < HUNG:
            self._heard_at = now
            self._start(None)

    def _start(self, source: Source | None) -> None:
        self._reader = _Reader(self, self._opener, source)
        self._reader.thread.start()

    def _let_go(self, state: SourceState, message: str) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.end()
            self._hung.append(reader)
        now = self._clock.now()
        self._next_try = now + self._pause
        self._pause = min(2 * self._pause, LATEST)
        self._was_lost = True
        self._newest = None
        self.state, self.message = state, message
        self._blank_due = now

    def _taken(self) -> Frame:
        assert self._newest is not None
        frame, self._newest = self._newest, None
        if self._was_lost:
            self._was_lost = False
            return replace(frame, blank=True)
        return frame

    def _blank_frame(self, now: float) -> Frame:
        period = 1 / self.fps
        self._blank_due = (now if now - self._blank_due > period else self._blank_due) + period
        self._seq += 1
        self._was_lost = False
        return Frame(self._seq - 1, self._blank, now, blank=True)

    def _buffer(self, shape: tuple[int, ...]) -> Pixels:
        # What nobody fetched gives its buffer to the newer frame: the ring turns with the frames that were fetched,
        # so a lease lasts for five of them, not for five periods of the source.
        stale, self._newest = self._newest, None
        if stale is not None:
            self.dropped += 1
            if stale.pixels.shape == shape:
                return stale.pixels
        return self._ring.lease(shape)


class _Reader:
    """A thread that opens a source, unless it is given one, and reads it until somebody ends it."""

    def __init__(self, watch: WatchedSource, opener: Callable[[], Source], source: Source | None) -> None:
        self.thread = threading.Thread(target=self._run, name="source", daemon=True)
        self._watch = watch
        self._opener = opener
        self._source = source
        self._ending = False

    @property
    def opened(self) -> bool:
        return self._source is not None

    def end(self) -> None:
        """Asks the thread to end, without waiting for it."""
        self._ending = True
        if self._source is not None:
            self._source.close()

    def _run(self) -> None:
        error: Exception | None = None
        try:
            self._read()
        except Exception as reason:  # told to whoever iterates
            error = reason
        self._watch.lost(self, error)

    def _read(self) -> None:
        if self._source is None:
            self._source = self._opener()
        with self._source:
            if self._ending:
                return
            for frame in self._source:
                if not self._watch.heard(self, frame):
                    return
