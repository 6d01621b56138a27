"""One peer connection: answered, watched over, closed.

A peer that vanishes is noticed within seconds, by its silence: one with a data channel is asked to answer heartbeats,
so that it is never silent for long. Its packets tell as well that it is there, for a channel takes longer than they do
to recover from an outage. ICE alone would take half a minute.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from http import HTTPStatus

from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from aiortc.sdp import candidate_from_sdp

from rtmatte.clock import Clock
from rtmatte.serve.offer import CANDIDATES, Offer, is_hidden
from rtmatte.serve.options import ServeOptions
from rtmatte.serve.refusal import Refusal, bad_request

LOOK = 0.25  # seconds between two looks at a peer
BEAT = 0.5  # seconds between two heartbeats: of the six in `heartbeat_wait` half may be lost, as in a short outage
MESSAGE = 16 * 1024  # bytes of one message
MESSAGES = 50  # a second; a peer that sends more, or longer ones, loses its channel
GATHER = 6.0  # seconds for the server's own candidates; a TURN server that does not answer takes 5

log = logging.getLogger("rtmatte.serve")


class Peer:
    """A peer connection that answers one offer. `on_end` is called once, when it has ended for whatever reason.

    `connection` may be prepared with tracks between the two steps, `take` and `answer`.
    """

    def __init__(self, options: ServeOptions, clock: Clock, on_end: Callable[[Peer], None]) -> None:
        self.id = secrets.token_urlsafe(16)
        self.ended = ""  # why it has ended
        self._limits, self._clock, self._on_end = options.limits, clock, on_end
        servers = [RTCIceServer(each.url, each.username, each.credential) for each in options.ice_servers]
        policy = RTCIceTransportPolicy.RELAY if options.relay_only else RTCIceTransportPolicy.ALL
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=policy))
        self.connection.on("datachannel", self._listen)
        self._channel: RTCDataChannel | None = None
        self._heard = self._began = clock.now()
        self._bytes = 0
        self._messages = 0
        self._candidates = 0
        self._watch: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def take(self, offer: Offer) -> None:
        """Reads the offer; a Refusal when it cannot be met, and then the peer has ended."""
        try:
            await self.connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        except Exception as error:  # whatever a stranger's text makes aiortc raise
            await self.close("refused")
            raise bad_request("expected an SDP offer that can be met, found one that contradicts itself") from error

    async def answer(self) -> str:
        """Returns the answer with all of the server's candidates, and begins to watch the peer."""
        try:
            async with asyncio.timeout(GATHER):
                await self.connection.setLocalDescription(await self.connection.createAnswer())
        except TimeoutError:
            await self.close("no candidates")
            raise Refusal(HTTPStatus.GATEWAY_TIMEOUT, "expected the TURN server to answer; check its address") from None
        except Exception as error:
            await self.close("refused")
            raise bad_request("expected an SDP offer that can be answered, found one that cannot") from error
        self._began = self._heard = self._clock.now()
        self._watch = asyncio.create_task(self._watch_over(), name=f"watch-{self.id[:6]}")
        return self.connection.localDescription.sdp

    async def trickle(self, fragment: str) -> None:
        """Takes the further candidates in an SDP fragment (RFC 8840); a Refusal for what is none.

        They are of the first medium: all media share its way, as browsers and OBS bundle them.
        """
        for line in fragment.splitlines():
            if not line.startswith("a=candidate:") or is_hidden(line):
                continue
            self._candidates += 1
            if self._candidates > CANDIDATES:
                raise bad_request(f"expected at most {CANDIDATES} candidates, found more")
            try:
                candidate = candidate_from_sdp(line.removeprefix("a=candidate:"))
                candidate.sdpMLineIndex = 0
                await self.connection.addIceCandidate(candidate)
            except Exception as error:
                raise bad_request("expected ICE candidates in the fragment, found something else") from error

    def transceiver(self, kind: str) -> RTCRtpTransceiver | None:
        """Returns the transceiver for pictures ("video") or sound ("audio"), None where the offer has none."""
        return next((each for each in self.connection.getTransceivers() if each.kind == kind), None)

    def end(self, why: str) -> None:
        """Begins to close the peer."""
        if self._closing is None:
            self.ended = why
            self._closing = asyncio.create_task(self._close())

    async def close(self, why: str) -> None:
        """Closes the peer; returns when everything it held is free. Closing twice is harmless."""
        self.end(why)
        assert self._closing is not None
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            self._on_end(self)
        finally:
            if self._watch is not None and self._watch is not asyncio.current_task():
                self._watch.cancel()
            try:
                await self.connection.close()
            except Exception:  # aiortc, half way through an offer that contradicts itself
                log.exception("a peer connection did not close")

    async def _watch_over(self) -> None:
        sent = counted = self._clock.now()
        while not self.ended:
            await asyncio.sleep(LOOK)
            if why := self._fault():
                self.end(why)
                return
            now = self._clock.now()
            if now - counted >= 1.0:
                counted, self._messages = now, 0
            if now - sent >= BEAT:  # by the clock: a busy loop sleeps for longer than it was asked to
                sent = now
                self._send_beat()

    def _fault(self) -> str:
        """Returns why the peer is to end, an empty text while it is well."""
        now, limits = self._clock.now(), self._limits
        state = self.connection.connectionState
        if state in ("failed", "closed"):
            return f"connection {state}"
        received = self._received()
        if received != self._bytes:
            self._heard = now
        self._bytes = received
        if state != "connected":
            return "never connected" if now - self._began > limits.connect_wait else ""
        wait = limits.silence_wait if self._channel is None else limits.heartbeat_wait
        return "silent" if now - self._heard > wait else ""

    def _received(self) -> int:
        """Returns the bytes received on all transports: pictures, sound, and their reports."""
        transports = {each.receiver.transport for each in self.connection.getTransceivers()}
        stats = (stat for transport in transports for stat in transport._get_stats().values())
        return sum(getattr(stat, "bytesReceived", 0) for stat in stats)

    def _listen(self, channel: RTCDataChannel) -> None:
        """The peer opened a channel: from now on it is asked to answer, and anything it says is an answer."""
        if channel.label != "heartbeat":
            channel.close()
            return
        self._channel, self._heard = channel, self._clock.now()
        channel.on("message", self._hear)
        channel.on("close", lambda: self._lose(channel))
        self._send_beat()

    def _lose(self, channel: RTCDataChannel) -> None:
        if channel is self._channel:
            self.end("left")

    def _hear(self, message: str | bytes) -> None:
        """An answer; a peer that says too much loses its channel, and its packets tell that it is there instead."""
        self._messages += 1
        self._heard = self._clock.now()
        if len(message) > MESSAGE or self._messages > MESSAGES:
            channel, self._channel = self._channel, None
            if channel is not None:
                channel.close()

    def _send_beat(self) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send("beat")
