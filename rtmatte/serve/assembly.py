"""From RTP packets to whole encoded pictures: in order, and as soon as the last packet of a picture is there.

The last packet carries the marker bit (RFC 3551 and the payload formats), so nothing waits for the next picture. What
is missing is waited for briefly, since it was asked for again; then the stream goes on at its next key frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from rtmatte.clock import Clock

CAPACITY = 2048  # packets waiting behind a gap; at 20 Mb/s most of a second
RESTART = 4096  # a jump of as many numbers is another stream, not a gap


class Packet(Protocol):
    """What is read of an RTP packet; `_data` is its payload without the codec's header, as aiortc leaves it there."""

    @property
    def sequence_number(self) -> int: ...

    @property
    def timestamp(self) -> int: ...

    @property
    def marker(self) -> int: ...

    @property
    def payload_type(self) -> int: ...

    @property
    def _data(self) -> bytes: ...


class InOrder:
    """Gives packets back in the order of their numbers, waiting up to `patience` seconds for what is missing."""

    def __init__(self, clock: Clock, *, patience: float) -> None:
        self._clock, self._patience = clock, patience
        self._waiting: dict[int, Packet] = {}
        self._next: int | None = None
        self._gap_since: float | None = None
        self.lost = 0  # times that something missing was given up

    def add(self, packet: Packet) -> Iterator[tuple[Packet, bool]]:
        """Yields what can go on now, each with whether something before it is missing for good."""
        number = self._unwrapped(packet.sequence_number)
        if self._next is None or abs(number - self._next) > RESTART:
            self._waiting.clear()
            self._next, self._gap_since = number, None
        if number < self._next:
            return
        self._waiting[number] = packet
        yield from self._run(broken=False)
        if not self._waiting:
            self._gap_since = None
            return
        now = self._clock.now()
        self._gap_since = now if self._gap_since is None else self._gap_since
        if now - self._gap_since >= self._patience or len(self._waiting) > CAPACITY:
            self.lost += 1
            self._next, self._gap_since = min(self._waiting), None
            yield from self._run(broken=True)
            self._gap_since = now if self._waiting else None

    def _run(self, *, broken: bool) -> Iterator[tuple[Packet, bool]]:
        assert self._next is not None
        while (packet := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            yield packet, broken
            broken = False

    def _unwrapped(self, number: int) -> int:
        """Returns the 16-bit `number` as the one nearest to what is expected next."""
        if self._next is None:
            return number
        return self._next + (number - self._next + 0x8000) % 0x10000 - 0x8000


Deliver = Callable[[int, bytes, int], None]  # payload type, the encoded picture, its RTP timestamp


class Assembler:
    """Puts the jitter buffer's work done for pictures: `add` packets, `deliver` hears of every whole picture.

    After a loss pictures are held back until a key frame, which is asked for by the True that `add` returns.
    """

    PATIENCE = 0.2  # seconds: a few round trips for what was asked for again
    ASK_EVERY = 0.5  # seconds between two requests for a key frame

    def __init__(self, clock: Clock, deliver: Deliver) -> None:
        self._clock, self._deliver = clock, deliver
        self._order = InOrder(clock, patience=self.PATIENCE)
        self._parts: list[Packet] = []
        self._needs_key = True
        self._asked: float | None = None  # when a key frame was last asked for; the first one comes unasked
        self.skipped = 0  # whole pictures held back

    @property
    def losses(self) -> int:
        """How often packets were missing for good."""
        return self._order.lost

    def add(self, packet: Packet) -> tuple[bool, None]:
        """Takes a packet; returns whether to ask for a key frame, and None, as pictures go to `deliver`."""
        for part, broken in self._order.add(packet):
            if broken:
                self._parts.clear()
                self._needs_key = True
            if self._parts and self._parts[-1].timestamp != part.timestamp:  # a sender that sets no marker
                self._finish()
            self._parts.append(part)
            if part.marker:
                self._finish()
        return self._asks(), None

    def await_key(self) -> None:
        """Holds pictures back until the next key frame: the decoder lost its thread."""
        self._needs_key = True

    def _finish(self) -> None:
        last, data = self._parts[-1], b"".join(part._data for part in self._parts)
        self._parts.clear()
        if self._needs_key and not is_key_frame(data):
            self.skipped += 1
            return
        self._needs_key = False
        self._deliver(last.payload_type, data, last.timestamp)

    def _asks(self) -> bool:
        now = self._clock.now()
        if self._asked is None:
            self._asked = now
        if not self._needs_key or now - self._asked < self.ASK_EVERY:
            return False
        self._asked = now
        return True


def is_key_frame(data: bytes) -> bool:
    """Whether an encoded picture begins as a key frame: of VP8 by its start code (RFC 6386, 9.1), of H.264 in Annex B
    by a parameter set or an IDR slice first."""
    if data[:4] == b"\0\0\0\1":
        return _begins_idr(data)
    return len(data) >= 6 and not data[0] & 1 and data[3:6] == b"\x9d\x01\x2a"


def _begins_idr(data: bytes) -> bool:
    """Looks past what may stand before: delimiters (9) and supplements (6)."""
    position = 0
    while 0 <= position < len(data) - 4:
        kind = data[position + 4] & 0x1F
        if kind not in (6, 9):
            return kind in (5, 7)
        position = data.find(b"\0\0\0\1", position + 4)
    return False
