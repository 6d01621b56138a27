"""A publisher's pictures as a Source: a one-slot mailbox between the decoder's thread and the line's."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.clock import Clock
from rtmatte.frame import Frame
from rtmatte.imaging import Size
from rtmatte.mailbox import Mailbox
from rtmatte.ring import Ring
from rtmatte.sources import SourceState

SMALLEST = 16  # pixels of a side; encoders take no less
BT709 = 1  # FFmpeg's number of that matrix; everything else is taken as BT.601, as browsers send it
FULL_RANGE = 2

OUTGROWN = 60  # pictures that no longer fit the size before the iteration ends, for another one to begin
SAME_SHAPE = 0.02  # what rounding to even sides may change of a shape
PATIENCE = 1.0  # seconds without a picture before the slate is shown
BLANK_EVERY = 0.2  # seconds between two blank pictures


class IncomingVideo:
    """Frames in RGB, the newest one each time, until it is closed; another connection may go on with them.

    An iteration ends, too, when the pictures have become larger, or of another shape, to stay: browsers begin small,
    and phones are turned. `size` is the new one then, and iterating again goes on.
    """

    name = "publisher"
    fps = 30.0
    frame_count = None

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._box: Mailbox[tuple[av.VideoFrame, float]] = Mailbox()
        self._first = Event()
        self._size = (0, 0)
        self._seq = 0
        self._ring = Ring()
        self._planes = np.empty((0, 0), np.uint8)
        self.received = 0
        self._state = SourceState.LIVE

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the frames, for the first of which it waits; (0, 0) when it was closed before one came."""
        self._first.wait()
        return self._size

    @property
    def dropped(self) -> int:
        """Pictures that a newer one replaced before the line took them."""
        return self._box.dropped

    def deposit(self, picture: av.VideoFrame, arrived: float) -> None:
        """Leaves a decoded picture that arrived then; never waits; any thread may call it. Tiny ones are ignored."""
        if min(picture.width, picture.height) < SMALLEST:
            return
        self.received += 1
        if not self._first.is_set():
            self._size = (picture.width & ~1, picture.height & ~1)
            self._first.set()
        self._box.put((picture, arrived))

    @property
    def state(self) -> SourceState:
        return self._state

    @property
    def message(self) -> str:
        """What to do about it when no pictures come."""
        return "" if self._state is SourceState.LIVE else "no pictures come from the publisher; see to its camera"

    def __iter__(self) -> Iterator[Frame]:
        """Yields the newest picture each time, and blank ones while none come, so that the slate is shown."""
        blank = np.zeros((self._size[1], self._size[0], 3), np.uint8)
        outgrown, size = 0, self._size
        while outgrown < OUTGROWN:
            arrival = self._box.take(PATIENCE if self._state is SourceState.LIVE else BLANK_EVERY)
            if arrival is None and self._box.finished:
                return
            self._state = SourceState.STALLED if arrival is None else SourceState.LIVE
            if arrival is None:
                yield Frame(self._seq, blank, self._clock.now(), blank=True)
            else:
                picture, arrived = arrival
                frame = Frame(self._seq, self._rgb(picture), arrived)
                size = frame.size
                outgrown = outgrown + 1 if _outgrows(size, self._size) else 0
                yield frame
            self._seq += 1
        self._size = size

    def close(self) -> None:
        self._box.close()
        self._first.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _rgb(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        """Returns the picture, cut to even sides, in memory that is used again six pictures later."""
        width, height = picture.width & ~1, picture.height & ~1
        out = self._ring.lease((height, width, 3))
        if picture.format.name == "yuv420p" and picture.colorspace != BT709 and picture.color_range != FULL_RANGE:
            cv2.cvtColor(self._i420(picture, width, height), cv2.COLOR_YUV2RGB_I420, out)
        else:
            np.copyto(out, picture.to_ndarray(format="rgb24")[:height, :width])
        return out

    def _i420(self, picture: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        """Returns the planes under each other, without the padding of their lines."""
        if self._planes.shape != (height * 3 // 2, width):
            self._planes = np.empty((height * 3 // 2, width), np.uint8)
        flat, begin = self._planes.reshape(-1), 0
        for plane, shrink in zip(picture.planes, (1, 2, 2), strict=True):
            rows, columns = height // shrink, width // shrink
            lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            flat[begin : begin + rows * columns].reshape(rows, columns)[:] = lines[:rows, :columns]
            begin += rows * columns
        return self._planes


def _outgrows(size: Size, room: Size) -> bool:
    """Whether pictures of `size` deserve another room: larger, or of a shape that would leave bars."""
    stretched = size[0] * room[1] / (size[1] * room[0])
    return size[0] * size[1] > room[0] * room[1] or abs(stretched - 1) > SAME_SHAPE
