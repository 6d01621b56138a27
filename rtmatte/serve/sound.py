"""A publisher's sound on its way to the viewers: never decoded, and as late as the pictures are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fractions import Fraction

import av

from rtmatte.serve.outgoing import AnyPacket, Fanout
from rtmatte.serve.reception import AUDIO_RATE


class AudioRelay:
    """Sends a publisher's Opus packets on to the viewers as they are, as late as the pictures are."""

    LONGEST = 1.0  # seconds
    FRAME = 960  # samples of a packet, for where the time goes on after another connection

    def __init__(self, fanout: Fanout, loop: asyncio.AbstractEventLoop, delay: Callable[[], float]) -> None:
        self._fanout, self._loop, self._delay = fanout, loop, delay
        self._due = 0.0
        self._offset = self._last = 0
        self.passed = 0

    def start_again(self) -> None:
        """Another connection's times begin at 0: they go on where the last one's ended."""
        self._offset = self._last + self.FRAME

    def take(self, data: bytes, time: int) -> None:
        """Passes a packet on in a while, never before one that came earlier; called on the loop."""
        self._due = max(self._due, self._loop.time() + min(max(self._delay(), 0.0), self.LONGEST))
        self._last = self._offset + time
        packet = av.Packet(data)
        packet.pts, packet.time_base = self._last, Fraction(1, AUDIO_RATE)
        self._loop.call_at(self._due, self._send, packet)

    def _send(self, packet: AnyPacket) -> None:
        self.passed += 1
        for viewer in self._fanout.viewers:
            viewer.audio.put(packet)
