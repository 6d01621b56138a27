"""From the line to the viewers: a Sink that converts each picture once and encodes it once per codec, and the tracks
that hand the same packets to every peer.

A track gives aiortc packets that are encoded already, which its sender only cuts up: its public door for this. What
the sender hears of its peer (key frames asked for, bit rates it can take) is taken from two private places, here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import av
import cv2
import numpy as np
from aiortc import MediaStreamTrack, RTCRtpSender
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from rtmatte.clock import Clock
from rtmatte.frame import Frame
from rtmatte.serve.encoder import RATE, Encoded, Picture, SharedEncoder, within
from rtmatte.serve.offer import VideoCodec

AnyPacket: TypeAlias = "av.Packet[Any]"

QUEUE = 30  # packets waiting for one peer; more, and it starts again at a key frame
KEY_EVERY = 1.0  # seconds between two key frames that one peer may ask for


class PacketTrack(MediaStreamTrack):
    """A track that sends what is put into it, newest last; when it overflows it is emptied and `on_overflow` hears."""

    def __init__(self, kind: str, on_overflow: Callable[[], None]) -> None:
        super().__init__()
        self.kind = kind
        self._on_overflow = on_overflow
        self._packets: deque[AnyPacket] = deque()
        self._changed = asyncio.Event()
        self.sent = self.dropped = 0

    def put(self, packet: AnyPacket) -> None:
        """Leaves a packet; called on the loop."""
        if len(self._packets) >= QUEUE:
            self.dropped += len(self._packets)
            self._packets.clear()
            self._on_overflow()
            return
        self._packets.append(packet)
        self._changed.set()

    async def recv(self) -> AnyPacket:
        while not self._packets:
            if self.readyState != "live":
                raise MediaStreamError
            self._changed.clear()
            await self._changed.wait()
        self.sent += 1
        return self._packets.popleft()

    def stop(self) -> None:
        super().stop()
        self._changed.set()


class Viewer:
    """One peer that watches: its tracks, what it wants, and since when it may have key frames."""

    def __init__(self, codec: VideoCodec, clock: Clock, *, ask: Callable[[Viewer], None]) -> None:
        self.codec = codec
        self.video = PacketTrack("video", self._start_again)
        self.audio = PacketTrack("audio", _nobody_minds)
        self.bit_rate: int | None = None  # what it says it can take
        self._clock, self._ask = clock, ask
        self._needs_key = True
        self._asked = -KEY_EVERY

    def put(self, encoded: Encoded) -> None:
        """Sends a picture on, from a key frame onwards; called on the loop."""
        if self._needs_key and not encoded.is_key:
            self.ask_key()
            return
        self._needs_key = False
        self.video.put(encoded.packet)

    def ask_key(self) -> None:
        """Has a key frame made, once a second at most."""
        if self._clock.now() - self._asked >= KEY_EVERY:
            self._asked = self._clock.now()
            self._ask(self)

    def _start_again(self) -> None:
        self._needs_key = True
        self.ask_key()


class Fanout:
    """The Sink at the end of a publisher's line: pictures in RGB to every viewer, encoded once per codec.

    Viewers come and go on the loop; frames are written by the line's thread. With no viewer nothing is done.
    """

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop, *, bit_rate: int | None = None) -> None:
        self._clock, self._loop, self._fixed = clock, loop, bit_rate
        self._viewers: list[Viewer] = []
        self._encoders: dict[VideoCodec, SharedEncoder] = {}
        self._gone = EncoderTotals()
        self._epoch: float | None = None
        self._last = -1

    @property
    def viewers(self) -> tuple[Viewer, ...]:
        return tuple(self._viewers)

    @property
    def codecs(self) -> tuple[VideoCodec, ...]:
        """Those that are being encoded now."""
        return tuple(self._encoders)

    @property
    def encoders(self) -> dict[VideoCodec, str]:
        """What encodes each of them, in a word."""
        return {codec: encoder.runs_on for codec, encoder in self._encoders.items()}

    @property
    def totals(self) -> EncoderTotals:
        """The counts of all encoders that ever ran here."""
        totals = EncoderTotals(self._gone.calls, self._gone.cpu, self._gone.dropped)
        for encoder in list(self._encoders.values()):
            totals.add(encoder)
        return totals

    def add(self, codec: VideoCodec) -> Viewer:
        """Returns a new viewer, which gets the stream from a key frame on."""
        viewer = Viewer(codec, self._clock, ask=self._make_key)
        self._viewers.append(viewer)
        if codec not in self._encoders:
            self._encoders[codec] = SharedEncoder(codec, self._encoded(codec), self._clock)
        self._aim(codec)
        viewer.ask_key()
        return viewer

    def remove(self, viewer: Viewer) -> None:
        """Forgets a viewer; an encoder without any ends."""
        if viewer not in self._viewers:
            return
        self._viewers.remove(viewer)
        viewer.video.stop()
        viewer.audio.stop()
        if any(other.codec == viewer.codec for other in self._viewers):
            self._aim(viewer.codec)
        else:
            self._end(viewer.codec)

    def connect(self, viewer: Viewer, sender: RTCRtpSender) -> None:
        """Has the viewer's packets sent by `sender`, and hears through it what its peer asks for."""
        packer = _packer(viewer.codec, lambda bit_rate: self._heard(viewer, bit_rate))
        name = "_RTCRtpSender__encoder"
        if not hasattr(sender, name):
            raise AttributeError(f"aiortc calls its sender's encoder something other than {name} by now")
        setattr(sender, name, packer)
        sender._send_keyframe = viewer.ask_key  # type: ignore[method-assign]

    def write(self, frame: Frame) -> None:
        encoders = tuple(self._encoders.values())
        if not encoders:
            return
        picture = Picture(_yuv(frame), self._time(frame.captured_at))
        for encoder in encoders:
            encoder.offer(picture)

    def close(self) -> None:
        """Ends all tracks and encoders."""
        for viewer in self.viewers:
            self.remove(viewer)

    def _time(self, captured_at: float) -> int:
        """Returns the time of a packet: when its frame was captured, in RTP's units, always growing."""
        if self._epoch is None:
            self._epoch = captured_at
        self._last = max(self._last + 1, int((captured_at - self._epoch) * RATE))
        return self._last

    def _encoded(self, codec: VideoCodec) -> Callable[[Encoded], None]:
        def deliver(encoded: Encoded) -> None:
            with suppress(RuntimeError):  # the loop has ended before this thread
                self._loop.call_soon_threadsafe(self._send, codec, encoded)

        return deliver

    def _send(self, codec: VideoCodec, encoded: Encoded) -> None:
        for viewer in self._viewers:
            if viewer.codec == codec:
                viewer.put(encoded)

    def _make_key(self, viewer: Viewer) -> None:
        if (encoder := self._encoders.get(viewer.codec)) is not None:
            encoder.request_key()

    def _heard(self, viewer: Viewer, bit_rate: int) -> None:
        viewer.bit_rate = within(bit_rate)
        self._aim(viewer.codec)

    def _aim(self, codec: VideoCodec) -> None:
        """The lowest bit rate that a viewer can take wins, unless the operator chose one."""
        asked = [viewer.bit_rate for viewer in self._viewers if viewer.codec == codec and viewer.bit_rate is not None]
        if codec in self._encoders:
            self._encoders[codec].aim(self._fixed or (min(asked) if asked else None))

    def _end(self, codec: VideoCodec) -> None:
        encoder = self._encoders.pop(codec)
        encoder.close()
        self._gone.add(encoder)


@dataclass(slots=True)
class EncoderTotals:
    """Pictures encoded, the processor seconds that took, and pictures that came too fast to be."""

    calls: int = 0
    cpu: float = 0.0
    dropped: int = field(default=0)

    def add(self, encoder: SharedEncoder) -> None:
        self.calls += encoder.calls
        self.cpu += encoder.cpu
        self.dropped += encoder.dropped


class _Packer:
    """Over an encoder of aiortc: cuts packets up as that does, and tells of bit rates instead of bounding them."""

    heard: Callable[[int], None]

    @property
    def target_bitrate(self) -> int:
        return 0

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self.heard(bitrate)


class _H264Packer(_Packer, H264Encoder): ...


class _Vp8Packer(_Packer, Vp8Encoder): ...


def _packer(codec: VideoCodec, heard: Callable[[int], None]) -> _Packer:
    packer = _Vp8Packer() if codec == "VP8" else _H264Packer()
    packer.heard = heard
    return packer


def _yuv(frame: Frame) -> NDArray[np.uint8]:
    """Returns the frame as planes in BT.601 limited range, what WebRTC takes pictures for, cut to even sides.

    Its memory is new each time: encoders hold pictures for as long as each of them takes, and it is counted by them.
    """
    pixels: NDArray[Any] = frame.pixels[: frame.pixels.shape[0] & ~1, : frame.pixels.shape[1] & ~1]
    if pixels.dtype != np.uint8:
        pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    pixels = pixels[:, :, :3]
    planes = np.empty((pixels.shape[0] * 3 // 2, pixels.shape[1]), np.uint8)
    cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2YUV_I420, planes)
    return planes


def _nobody_minds() -> None:
    """Sound that comes too fast is dropped; it goes on with the next packet."""
