"""One publisher's stream: its pictures in, the line on threads of its own, and out to those who watch."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

from aiortc import RTCRtpSender

from rtmatte.api import Api
from rtmatte.clock import Clock
from rtmatte.control import Control
from rtmatte.errors import RtmatteError
from rtmatte.frame import Mask, Pixels
from rtmatte.imaging import Size
from rtmatte.live import LiveStatus, View
from rtmatte.outputs import Outputs
from rtmatte.pipeline import Counts, Progress
from rtmatte.serve.incoming import IncomingVideo
from rtmatte.serve.offer import Offer, VideoCodec
from rtmatte.serve.outgoing import Fanout, Viewer
from rtmatte.serve.peer import Peer
from rtmatte.serve.reception import AudioReception, VideoReception
from rtmatte.serve.recording import Recorder
from rtmatte.serve.sound import AudioRelay
from rtmatte.settings import SettingsFolder

log = logging.getLogger("rtmatte.serve")


class Line(Protocol):
    """All that is asked of a live line."""

    @property
    def size(self) -> Size: ...

    @property
    def status(self) -> LiveStatus: ...

    def picture(self, view: View = "composite") -> Pixels | None: ...

    def followed(self, size: Size) -> Mask | None: ...

    def run(
        self, source: IncomingVideo, sink: Outputs, *, stop: Event | None = None, progress: Progress | None = None
    ) -> Counts: ...


OpenLine = Callable[[Size, Control, Mask | None], Line]  # for pictures of a size, and whom the first shows


class State(StrEnum):
    """Where a publisher stands."""

    CONNECTING = "connecting"
    LIVE = "live"
    AWAY = "away"  # its connection was lost; it may come back for a while


class Broadcast:
    """A publisher, its line and its viewers. `id` controls it; `watch` is its name for those who only look, whom
    `viewing_key` lets in and nowhere else. `sender` says what publishes.

    All methods belong to the loop. When the publisher's connection is lost everything else stays, for it to come back
    to: its settings, who is cut out, and the viewers, who see the slate meanwhile.
    """

    def __init__(
        self,
        open_line: OpenLine,
        control: Control,
        clock: Clock,
        *,
        uploads: Path,
        recordings: Path | None,
        bit_rate: int | None,
        sender: str,
        on_end: Callable[[Broadcast], None],
    ) -> None:
        self.id, self.watch, self.viewing_key = (secrets.token_urlsafe(24) for _ in range(3))
        self.sender = sender
        self.control = control
        self.away_since: float | None = None
        self.publisher: Peer | None = None
        self.expected = 0  # viewers whose offer is being taken
        self.api = Api(self, control, uploads=uploads / self.id, kept=SettingsFolder())
        self._began = clock.now()
        self._open_line, self._clock, self._on_end = open_line, clock, on_end
        self._loop = asyncio.get_running_loop()
        self._incoming = IncomingVideo(clock)
        self.fanout = Fanout(clock, self._loop, bit_rate=bit_rate)
        self._outputs = Outputs([self.fanout])
        self._recorder = Recorder(self._outputs, recordings, control)
        self.sound = AudioRelay(self.fanout, self._loop, self._delay)
        self._viewers: dict[str, tuple[Peer, Viewer]] = {}
        self._reception: VideoReception | None = None
        self._line: Line | None = None
        self._stop = Event()
        self._thread = Thread(target=self._run, name=f"line-{self.id[:6]}", daemon=True)
        self._thread.start()

    @property
    def state(self) -> State:
        if self.publisher is None:
            return State.AWAY
        return State.LIVE if self._line is not None else State.CONNECTING

    @property
    def is_over(self) -> bool:
        return self._stop.is_set()

    @property
    def viewers(self) -> int:
        """How many watch, the publisher's own preview not counted."""
        return sum(peer is not self.publisher for peer, _ in self._viewers.values())

    @property
    def status(self) -> object:
        """What the line says about itself; before there is one, where the publisher stands."""
        return {"phase": "waiting", "state": self.state.value} if self._line is None else self._line.status

    @property
    def surroundings(self) -> dict[str, Any]:
        """What there is to know around the line, fit for JSON."""
        return {
            "state": self.state.value,
            "viewers": self.viewers,
            "recording": self.recording,
            "encoders": self.fanout.encoders,
        }

    @property
    def summary(self) -> dict[str, Any]:
        """The session as those see it who may control it, fit for JSON."""
        return {
            "id": self.id,
            "watch": self.watch,
            "viewing_key": self.viewing_key,
            "sender": self.sender,
            "seconds": round(self._clock.now() - self._began, 1),
            "size": None if self._line is None else list(self._line.size),
            **self.surroundings,
        }

    def admits(self, viewing_key: str) -> bool:
        """Whether somebody with that key may watch; it takes as long for a wrong one."""
        return hmac.compare_digest(viewing_key.encode("utf-8", "surrogatepass"), self.viewing_key.encode())

    @property
    def line(self) -> Line | None:
        return self._line

    @property
    def recording(self) -> str | None:
        """The name of the file that is being written on the server; None while there is none."""
        return self._recorder.name

    @property
    def received(self) -> int:
        """Pictures decoded so far."""
        return self._incoming.received

    @property
    def replaced(self) -> int:
        """Pictures that a newer one replaced before the line was free."""
        return self._incoming.dropped

    @property
    def losses(self) -> int:
        """How often packets of the present publisher were missing for good."""
        return 0 if self._reception is None else self._reception.losses

    def picture(self, view: View = "composite") -> Pixels | None:
        """Returns the line's newest picture of a view, None when there is none yet."""
        return None if self._line is None else self._line.picture(view)

    def publish(self, peer: Peer, offer: Offer) -> None:
        """Takes the pictures and the sound of `peer`, which has taken its offer, in place of whoever sent before."""
        before, self.publisher, self.away_since = self.publisher, peer, None
        if before is not None:
            before.end("replaced")
        video, audio = peer.transceiver("video"), peer.transceiver("audio")
        assert video is not None, "an offer without pictures is refused"
        self._reception = VideoReception(video.receiver, self._incoming.deposit, self._clock)
        if audio is not None:
            audio.direction = "recvonly" if offer.sends_audio else "inactive"
            if offer.sends_audio:
                self.sound.start_again()
                AudioReception(audio.receiver, self.sound.take, self._clock)
        if offer.takes_video:  # its own preview; nobody wants to hear themselves
            self._seat(peer, offer.codecs[0])

    async def show(self, peer: Peer, offer: Offer) -> None:
        """Has `peer` take its offer, and sends it the stream; a Refusal when the offer cannot be met."""
        codec = self._codec(offer)
        _prefer(peer, codec)
        self.expected += 1
        try:
            await peer.take(offer)
        finally:
            self.expected -= 1
        viewer = self._seat(peer, codec)
        if (audio := peer.transceiver("audio")) is not None:
            if offer.takes_audio:
                peer.connection.addTrack(viewer.audio)
            audio.direction = "sendonly" if offer.takes_audio else "inactive"

    def leave(self, peer: Peer) -> None:
        """Forgets a peer that has ended."""
        if (seat := self._viewers.pop(peer.id, None)) is not None:
            self.fanout.remove(seat[1])
        if peer is self.publisher:
            self.publisher, self.away_since = None, self._clock.now()

    def viewer(self, peer_id: str) -> Peer | None:
        """Returns the peer with that id that watches, if there is one."""
        seat = self._viewers.get(peer_id)
        return None if seat is None else seat[0]

    async def close(self) -> None:
        """Ends the line, then the publisher and all viewers; returns within two seconds."""
        self._stop.set()
        self._incoming.close()
        peers = [peer for peer, _ in self._viewers.values()]
        peers += [self.publisher] if self.publisher is not None else []
        await asyncio.gather(*(peer.close("over") for peer in dict.fromkeys(peers)))
        self.fanout.close()
        await asyncio.to_thread(self._thread.join, 2.0)

    def _seat(self, peer: Peer, codec: VideoCodec) -> Viewer:
        viewer = self.fanout.add(codec)
        self._viewers[peer.id] = peer, viewer
        self.fanout.connect(viewer, peer.connection.addTrack(viewer.video))
        return viewer

    def _codec(self, offer: Offer) -> VideoCodec:
        """Returns the codec for a viewer: one that is encoded anyway, else its own first choice."""
        return next((codec for codec in self.fanout.codecs if codec in offer.codecs), offer.codecs[0])

    def _delay(self) -> float:
        """Returns how late the pictures are, in seconds, for the sound to be as late."""
        latency = None if self._line is None else self._line.status.latency
        return 0.0 if latency is None else latency.p50 / 1e3

    def _run(self) -> None:
        """The line's thread: waits for the first picture, opens a line for its size, and runs it to the end; then
        another one for pictures that have outgrown that size. It goes on with whoever was followed, but in pictures of
        another shape looks for somebody afresh: nobody stands where they stood."""
        try:
            size, followed = self._incoming.size, None
            while not self._stop.is_set():
                self._line = line = self._open_line(size, self.control, followed)
                line.run(self._incoming, self._outputs, stop=self._stop, progress=partial(self._record, size))
                before, size = size, self._incoming.size
                alike = abs(size[0] * before[1] - size[1] * before[0]) < 0.02 * size[0] * before[1]
                followed = line.followed(size) if alike else None
        except RtmatteError as error:
            log.warning("a stream ended: %s", error)
        except Exception:
            log.exception("a stream ended by a mistake in rtmatte")
        finally:
            self._recorder.join()
        if not self._stop.is_set():
            self._loop.call_soon_threadsafe(self._on_end, self)

    def _record(self, size: Size, counts: Counts) -> None:
        self._recorder.obey(size)


def _prefer(peer: Peer, codec: VideoCodec) -> None:
    """Makes the transceiver for the pictures, which puts `codec` first in the answer."""
    video = peer.connection.addTransceiver("video", direction="sendonly")
    able = RTCRtpSender.getCapabilities("video").codecs
    first = [each for each in able if each.name == codec]
    video.setCodecPreferences(first + [each for each in able if each not in first])
