"""One encoder for all viewers of a stream who take the same codec, on a thread of its own.

Measured per 720p frame on one core of a 2-core machine at 2 Mb/s: x264 superfast 5.7 ms, libvpx at speed 12 6.6 ms,
where aiortc's settings take 25.2 and 9.6.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from threading import Thread

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from rtmatte.clock import Clock
from rtmatte.mailbox import Mailbox
from rtmatte.serve.offer import VideoCodec

LEAST, MOST = 300_000, 20_000_000  # bits a second
BITS_PER_PIXEL = 0.1  # of the bit rate to begin with, at 30 pictures a second
RATE = 90_000  # of the times of packets
FASTEST = 30  # pictures a second that the bit rate is planned for

DOWN, UP = 0.85, 1.25  # an encoder is opened anew, with a key frame, only for a change as large
PATIENCE = 5.0  # seconds before it is opened anew for more


@dataclass(frozen=True, slots=True, repr=False)
class Picture:
    """A picture to encode: its planes Y, U, V under each other (H * 3/2, W), which nobody may change any more, and its
    time in units of 1/RATE."""

    planes: NDArray[np.uint8]
    time: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture for the viewers, and whether it can be decoded without any other."""

    packet: av.Packet[av.VideoStream]
    is_key: bool


def start_bit_rate(width: int, height: int) -> int:
    """Returns the bit rate for pictures of that size while nobody has said what arrives."""
    return within(int(width * height * FASTEST * BITS_PER_PIXEL))


def within(bit_rate: int) -> int:
    """Returns `bit_rate` kept to what encoders are asked for."""
    return max(LEAST, min(bit_rate, MOST))


def open_codec(codec: VideoCodec, width: int, height: int, bit_rate: int) -> VideoCodecContext:
    """Returns an opened encoder for live pictures of that size: no look-ahead, key frames on request only."""
    if codec == "VP8":
        return _opened("libvpx", width, height, bit_rate, _vp8(bit_rate))
    if nvenc_fault() is None:
        try:
            return _opened("h264_nvenc", width, height, bit_rate, NVENC)
        except av.FFmpegError:  # a driver allows only so many sessions
            pass
    return _opened("libx264", width, height, bit_rate, _x264(bit_rate))


class SharedEncoder:
    """Encodes the newest picture offered, when its thread is free, and hands it to `deliver` on that thread.

    `calls` counts pictures encoded, `cpu` the seconds of processor time they took.
    """

    def __init__(self, codec: VideoCodec, deliver: Callable[[Encoded], None], clock: Clock) -> None:
        self.codec = codec
        self.calls, self.cpu, self.reopened = 0, 0.0, 0
        self._deliver, self._clock = deliver, clock
        self._box: Mailbox[Picture] = Mailbox()
        self._wanted: int | None = None
        self._key = True
        self._context: VideoCodecContext | None = None
        self._opened_at = 0.0
        Thread(target=self._run, name=f"encoder-{codec}", daemon=True).start()

    @property
    def bit_rate(self) -> int | None:
        """What it was opened for; None before the first picture."""
        context = self._context
        return None if context is None else int(context.bit_rate or 0)

    @property
    def runs_on(self) -> str:
        """What encodes, in a word; empty before the first picture."""
        context = self._context
        return "" if context is None else described(context)

    @property
    def dropped(self) -> int:
        """Pictures that a newer one replaced before they were encoded."""
        return self._box.dropped

    def offer(self, picture: Picture) -> None:
        """Leaves a picture to be encoded when the thread is free, unless a newer one comes first."""
        self._box.put(picture)

    def request_key(self) -> None:
        """Makes the next picture a key frame."""
        self._key = True

    def aim(self, bit_rate: int | None) -> None:
        """Sets the bit rate to go for; None leaves it to the size of the picture."""
        self._wanted = None if bit_rate is None else within(bit_rate)

    def close(self) -> None:
        """Ends the thread after the picture in hand; what is still waiting is dropped."""
        self._box.close()

    def _run(self) -> None:
        while not self._box.finished:
            picture = self._box.take()
            if picture is None:
                continue
            began = time.thread_time()
            packets = self._encode(picture)
            self.cpu += time.thread_time() - began
            self.calls += 1
            for packet in packets:
                packet.time_base = Fraction(1, RATE)
                self._deliver(Encoded(packet, bool(packet.is_keyframe)))
        self._context = None

    def _encode(self, picture: Picture) -> list[av.Packet[av.VideoStream]]:
        # Without a copy PyAV 18 takes heights that are multiples of 4 only, and cuts others without a word.
        copies = bool(picture.planes.shape[0] % 6)
        wrap = av.VideoFrame.from_ndarray if copies else av.VideoFrame.from_numpy_buffer
        frame = wrap(picture.planes, format="yuv420p")
        frame.pts, frame.time_base = picture.time, Fraction(1, RATE)
        key, self._key = self._key, False
        frame.pict_type = PictureType.I if key else PictureType.NONE
        try:
            return self._fitting(frame).encode(frame)
        except av.FFmpegError:  # an encoder that fails once may do so for ever: open it anew
            self._context, self._key = None, True
            return []

    def _fitting(self, picture: av.VideoFrame) -> VideoCodecContext:
        wanted = self._wanted or start_bit_rate(picture.width, picture.height)
        context, now = self._context, self._clock.now()
        if context is not None and (context.width, context.height) == (picture.width, picture.height):
            share = wanted / (context.bit_rate or 1)
            if not (share < DOWN or (share > UP and now - self._opened_at > PATIENCE)):
                return context
        self.reopened += context is not None
        self._opened_at = now
        self._context = open_codec(self.codec, picture.width, picture.height, wanted)
        return self._context


def _opened(name: str, width: int, height: int, bit_rate: int, options: dict[str, str]) -> VideoCodecContext:
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = width, height
    context.pix_fmt = "yuv420p"
    context.bit_rate = bit_rate
    context.time_base = Fraction(1, RATE)
    context.framerate = Fraction(FASTEST, 1)
    context.gop_size = 3000
    context.thread_count = max(1, min(4, (os.cpu_count() or 2) // 2)) if width * height > 640 * 480 else 1
    context.options = options
    context.open()
    return context


def _x264(bit_rate: int) -> dict[str, str]:
    return {
        "preset": "superfast",
        "tune": "zerolatency",
        "profile": "baseline",
        "forced-idr": "1",
        "maxrate": str(bit_rate),
        "bufsize": str(bit_rate // 2),
    }


def _vp8(bit_rate: int) -> dict[str, str]:
    return {
        "deadline": "realtime",
        "cpu-used": "-12",
        "lag-in-frames": "0",
        "minrate": str(bit_rate),
        "maxrate": str(bit_rate),
        "bufsize": str(bit_rate),
        "qmin": "4",
        "qmax": "56",
        "undershoot-pct": "100",
        "overshoot-pct": "15",
        "static-thresh": "1",
    }


NVENC = {
    "preset": "p1",
    "tune": "ull",
    "profile": "baseline",
    "rc": "cbr",
    "zerolatency": "1",
    "delay": "0",
    "forced-idr": "1",
    "bf": "0",
}


@cache
def nvenc_fault() -> str | None:
    """Returns why the GPU's encoder does not open here, None where it does; found by trying, once."""
    try:
        _opened("h264_nvenc", 256, 256, LEAST, NVENC)
    except (av.FFmpegError, ValueError) as reason:
        return getattr(reason, "strerror", None) or str(reason)
    return None


def described(context: VideoCodecContext) -> str:
    """Returns what encodes, in a word, and why it is not the GPU where it might have been."""
    match context.name:
        case "h264_nvenc":
            return "NVENC"
        case "libx264":
            return f"x264 (no NVENC here: {nvenc_fault() or 'no session of it is left'})"
    return context.name
