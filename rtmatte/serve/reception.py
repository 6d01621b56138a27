"""The way from an aiortc receiver to our own hands: pictures leave it when they are whole and the newest one wins,
sound leaves it encoded as it came.

aiortc 1.16 has no public door here: its receiver keeps pictures until the next one begins, and both its queues are
unbounded. What is reached for is its jitter buffer, its decoder's queue and its track's queue, here and nowhere
else; `tests/test_serve_incoming.py` fails when another version names them differently.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterFrame

from rtmatte.clock import Clock
from rtmatte.serve.assembly import Assembler, InOrder, Packet

AUDIO_RATE = 48_000
BACKLOG = 8  # encoded pictures a decoder may lie behind: a quarter of a second

Deposit = Callable[[av.VideoFrame, float], None]  # a decoded picture, and when its last packet arrived
Sound = Callable[[bytes, int], None]  # an Opus packet, and its time in samples, always growing


class VideoReception:
    """Has `deposit` called, on the decoder's thread, with every picture that `receiver` decodes.

    It has to be made before the receiver starts.
    """

    def __init__(self, receiver: RTCRtpReceiver, deposit: Deposit, clock: Clock) -> None:
        self._deposit, self._clock = deposit, clock
        self._codecs = _private(receiver, "codecs")
        self._error = _private(receiver, "decoder_error")
        self._times = Unwrapped()
        self._arrived: dict[int, float] = {}
        self._encoded: queue.Queue[tuple[Any, JitterFrame] | None] = queue.Queue()
        self._assembler = Assembler(clock, self._decode)
        self.overrun = 0  # encoded pictures thrown away because decoding was too slow
        _replace(receiver, "jitter_buffer", self._assembler)
        _replace(receiver, "decoder_queue", self._encoded)
        receiver.track._queue = self  # type: ignore[attr-defined]

    @property
    def losses(self) -> int:
        """How often pictures were lost on the way."""
        return self._assembler.losses

    def _decode(self, payload_type: int, data: bytes, timestamp: int) -> None:
        if self._encoded.qsize() >= BACKLOG:
            self.overrun += self._emptied()
            self._assembler.await_key()
            self._error.set()  # asks for the key frame with the next packet
            return
        time = self._times.of(timestamp)
        self._arrived[time] = self._clock.now()
        while len(self._arrived) > 4 * BACKLOG:
            del self._arrived[next(iter(self._arrived))]
        self._encoded.put((self._codecs[payload_type], JitterFrame(data, time)))

    def _emptied(self) -> int:
        count = 0
        try:
            while True:
                self._encoded.get_nowait()
                count += 1
        except queue.Empty:
            return count

    def put(self, frame: av.VideoFrame | None) -> Any:
        """What aiortc's decoder calls in the place of its queue; it wants something to run on the loop."""
        if frame is not None and frame.pts is not None:
            self._deposit(frame, self._arrived.get(frame.pts, self._clock.now()))
        return _nothing()


class AudioReception:
    """Has `deliver` called, on the loop, with every packet of sound that `receiver` gets; nothing is decoded."""

    PATIENCE = 0.06  # seconds, three packets

    def __init__(self, receiver: RTCRtpReceiver, deliver: Sound, clock: Clock) -> None:
        self._deliver = deliver
        self._order = InOrder(clock, patience=self.PATIENCE)
        self._times = Unwrapped()
        _replace(receiver, "jitter_buffer", self)

    def add(self, packet: Packet) -> tuple[bool, None]:
        """What aiortc's receiver calls in the place of its jitter buffer."""
        for part, _ in self._order.add(packet):
            if part._data:
                self._deliver(part._data, self._times.of(part.timestamp))
        return False, None


class Unwrapped:
    """RTP timestamps, which begin anywhere and wrap after 32 bits, as times that begin at 0."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._origin = 0

    def of(self, timestamp: int) -> int:
        """Returns the time of `timestamp`, less than half the range away from the one before it."""
        if self._last is None:
            self._last = self._origin = timestamp
        self._last += (timestamp - self._last + 2**31) % 2**32 - 2**31
        return self._last - self._origin


def time_base(rate: int) -> Fraction:
    """Returns the time base of packets whose times are counted `rate` to the second."""
    return Fraction(1, rate)


def _private(receiver: RTCRtpReceiver, name: str) -> Any:
    return getattr(receiver, f"_RTCRtpReceiver__{name}")


def _replace(receiver: RTCRtpReceiver, name: str, value: Any) -> None:
    _private(receiver, name)  # AttributeError when it is called differently by now
    setattr(receiver, f"_RTCRtpReceiver__{name}", value)


async def _nothing() -> None:
    """A coroutine for whoever insists on one."""
