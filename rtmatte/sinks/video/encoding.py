"""How pictures are encoded: a table of codecs by file suffix, and the track that turns frames into packets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, cast

import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from rtmatte.colour import Colour, Matrix
from rtmatte.frame import Frame
from rtmatte.imaging import Fit, Size

TICK = Fraction(1, 90000)  # fine enough for any frame rate; a container may round to its own
# Chroma is the exact mean of the pixels it stands for; swscale's default blurs it and rounds one level lower.
EXACT = Interpolation.AREA | Interpolation.ACCURATE_RND
SWSCALE = {Matrix.BT601: 5}  # swscale's own numbers where they differ from H.273
LAYOUTS = {1: "gray", 3: "rgb24", 4: "rgba"}  # by channels


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec, the pixels it takes, and how it is set up."""

    codec: str
    pix_fmt: str
    options: Mapping[str, str] = field(default_factory=dict)

    def for_size(self, size: Size) -> Encoding:
        """Returns the encoding for pictures of `size`: H.264 halves the chroma of even sizes only."""
        odd = size[0] % 2 or size[1] % 2
        return replace(self, pix_fmt="yuv444p") if odd and self.codec == "libx264" else self


# crf 18 is hard to tell from the original. veryfast takes about a quarter of the default preset's time (measured 9.7
# against 25 ms of CPU for 720p) and pays in file size, which matters less here than keeping up.
H264 = Encoding("libx264", "yuv420p", {"crf": "18", "preset": "veryfast"})
VP9 = Encoding("libvpx-vp9", "yuv420p", {"crf": "18", "b": "0", "deadline": "realtime", "cpu-used": "8", "row-mt": "1"})
OPAQUE: Mapping[str, Encoding] = {".mp4": H264, ".mkv": H264, ".mov": H264, ".webm": VP9}
WITH_ALPHA: Mapping[str, Encoding] = {
    ".mkv": Encoding("ffv1", "bgra", {"level": "3", "slices": "4"}),  # without any loss
    ".mov": Encoding("prores_ks", "yuva444p10le", {"profile": "4444"}),  # what editing programs take
    ".webm": replace(VP9, pix_fmt="yuva420p"),  # what browsers take
}


class PictureTrack:
    """Encodes frames of one size, those of another fitted in, at strictly rising times."""

    def __init__(
        self, output: OutputContainer, encoding: Encoding, *, size: Size, fps: float, channels: int, colour: Colour
    ) -> None:
        encoding = encoding.for_size(size)
        stream = output.add_stream(encoding.codec, rate=Fraction(fps).limit_denominator(1001))
        self._stream = cast(VideoStream, stream)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = encoding.pix_fmt
        self._stream.codec_context.options = dict(encoding.options)
        self._stream.codec_context.time_base = TICK
        self._stream.codec_context.gop_size = max(1, round(fps))  # a key frame, and so a fragment, a second
        self._size, self._fps, self._colour = size, fps, colour
        self._layout = LAYOUTS[channels]
        self._canvas: NDArray[Any] = np.zeros((size[1], size[0], channels), np.uint8)
        self._reformatter = VideoReformatter()
        self._origin: int | None = None
        self._ticks = -1
        if encoding.pix_fmt.startswith("yuv"):
            self._tag(colour)

    @property
    def end(self) -> float:
        """Media time in seconds at which the last picture ends."""
        return float(self._ticks * TICK) + 1.0 / self._fps

    def encode(self, frame: Frame) -> list[Packet[Stream]]:
        """Returns the packets that this frame completes, often of earlier ones."""
        self._ticks = max(round(self._time(frame) / TICK), self._ticks + 1)
        picture = self._reformatter.reformat(
            VideoFrame.from_numpy_buffer(self._fitted(frame), self._layout),
            format=self._stream.pix_fmt,
            dst_colorspace=SWSCALE.get(self._colour.matrix, int(self._colour.matrix)),
            src_color_range=ColorRange.JPEG,
            dst_color_range=self._range(),
            interpolation=EXACT,
        )
        picture.pts, picture.time_base = self._ticks, TICK
        return self._packets(picture)

    def flush(self) -> list[Packet[Stream]]:
        """Returns the packets still in the encoder."""
        return self._packets(None)

    def _packets(self, picture: VideoFrame | None) -> list[Packet[Stream]]:
        return self._stream.encode(picture)

    def _time(self, frame: Frame) -> float:
        if frame.pts is not None:
            return frame.pts
        if self._origin is None:
            self._origin = frame.seq
        return (frame.seq - self._origin) / self._fps

    def _fitted(self, frame: Frame) -> NDArray[Any]:
        pixels: NDArray[Any] = frame.pixels
        if frame.size != self._size or pixels.dtype != np.uint8:
            Fit.contain(frame.size, self._size).forward(pixels, self._canvas)
            pixels = self._canvas
        return np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)

    def _range(self) -> ColorRange:
        return ColorRange.JPEG if self._colour.full_range else ColorRange.MPEG

    def _tag(self, colour: Colour) -> None:
        context = self._stream.codec_context
        context.colorspace = int(colour.matrix)
        context.color_range = self._range()
        # Primaries and transfer have the matrix's code (H.273: 1 is BT.709, 6 is BT.601) but for BT.2020's transfer.
        context.color_primaries = int(colour.matrix)
        context.color_trc = 14 if colour.matrix is Matrix.BT2020 else int(colour.matrix)
