"""A local video file as a source (PyAV): every picture that decodes, upright, in RGB, with its own time.

Only files of known containers are opened, never playlists or addresses, so that a file cannot make us read others.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from rtmatte.clock import Clock
from rtmatte.colour import Colour, Matrix
from rtmatte.errors import SourceError, SourceTruncated
from rtmatte.frame import Frame
from rtmatte.ring import Ring

CONTAINERS = (
    "mov matroska avi flv asf mpegts mpeg ogg nut mxf dv wtv gif apng ivf obu yuv4mpegpipe h264 hevc mpegvideo m4v"
)
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS.split())}
# swscale's fast way from 4:2:0 to RGB darkens by 1.1 levels on average, at most 3, which adds up over generations; this
# one is exact to rounding. Measured at 720p, one thread: 2.0 ms instead of 0.3.
EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
# swscale's own numbers where they differ from H.273.
SWSCALE = {Matrix.BT601: 5}


class FileSource:
    """The frames of a video file; `pts` counts from the start of the file, sound included, at whatever rate it varies.

    Pixels are leased from a ring. What cannot be decoded is skipped and counted in `corrupt`.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        """Opens the file and decodes its first picture; SourceError when there is none."""
        self.name = path.name
        self.corrupt = 0
        self._clock = clock
        self._lock = threading.Lock()  # close() may come from another thread while a picture is being decoded
        self._ring = Ring()
        self._reformatter = VideoReformatter()
        self._bare_kind = (0, 0, "")
        self._bare = VideoFrame()
        self._container = _open(path)
        self._closed = False
        self._seq = 0
        self._reached = 0.0
        self._start = (self._container.start_time or 0) / av.time_base
        self._stream = _video_stream(self._container, path)
        self.fps = _rate(self._stream)
        self._declared = _declared(self._container, self._stream, self.fps)
        self.frame_count = _count(self._stream, self._declared, self.fps)
        self._packets: Iterator[Packet[Stream]] | None = self._container.demux()
        self._pictures: deque[VideoFrame] = deque()
        if not self._fill():
            self.close()
            raise SourceError(f"expected pictures in {path}, found none that can be decoded; is the file damaged?")
        self._turn = _turn_of(self._pictures[0])
        first = self._upright(self._pictures[0])
        self.size = first.shape[1], first.shape[0]

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        with self._lock:
            if self._closed:
                raise StopIteration
            if not self._fill():
                self._finish()
            picture = self._pictures.popleft()
            rgb = self._upright(picture)
            pixels = self._ring.lease(rgb.shape)
            np.copyto(pixels, rgb)
            # The start is in whole microseconds, so finer digits mean nothing.
            pts = None if picture.pts is None else max(0.0, round(picture.time - self._start, 6))
            frame = Frame(self._seq, pixels, self._clock.now(), pts)
            self._seq += 1
            return frame

    def close(self) -> None:
        self._closed = True
        with self._lock:
            self._pictures.clear()
            self._packets = None
            self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _fill(self) -> bool:
        """Whether a picture is ready, after reading as far as that takes."""
        while not self._pictures and self._packets is not None:
            try:
                packet = next(self._packets, None)
            except av.FFmpegError:  # the container itself is broken from here on
                self.corrupt += 1
                packet = None
            except IndexError:  # PyAV, at the very end, over a stream that came up midway
                packet = None
            if packet is None:
                self._packets = None
            elif packet.dts is not None or packet.pts is not None:
                self._reached = max(self._reached, _end(packet) - self._start)
            if packet is None or packet.stream is self._stream:
                self._decode(packet)
        return bool(self._pictures)

    def _decode(self, packet: Packet[Stream] | None) -> None:
        try:
            # At the end the demuxer hands out an empty packet for each stream; after an error it does not.
            self._pictures.extend(self._stream.decode(packet))
        except av.EOFError:  # it was flushed already
            pass
        except av.FFmpegError:
            self.corrupt += 1

    def _upright(self, picture: VideoFrame) -> NDArray[np.uint8]:
        """Returns the picture as (H, W, 3) RGB in square pixels, turned and mirrored as its metadata asks: a new array
        or a view of one."""
        width, height = _square(picture.width, picture.height, self._stream)
        same_size = (width, height) == (picture.width, picture.height)
        colour = _colour(picture)
        rgb = self._reformatter.reformat(
            self._unsited(picture),
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=SWSCALE.get(colour.matrix, int(colour.matrix)),
            src_color_range=ColorRange.JPEG if colour.full_range else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=EXACT | (Interpolation.POINT if same_size else Interpolation.BILINEAR),
        )
        plane = rgb.planes[0]
        return _turned(_rows(plane)[:, : 3 * width].reshape(height, width, 3), self._turn)

    def _unsited(self, picture: VideoFrame) -> VideoFrame:
        """Returns the picture without the tag that says where between the pixels its chroma lies.

        With it swscale shifts or blends chroma; without, each chroma value is repeated for its block of pixels. So
        what goes through unchanged gets its very chroma back.
        """
        kind = (picture.width, picture.height, picture.format.name)
        if kind != self._bare_kind:
            self._bare, self._bare_kind = VideoFrame(*kind), kind
        for old, new in zip(picture.planes, self._bare.planes, strict=True):
            used = min(old.line_size, new.line_size)
            np.copyto(_rows(new)[:, :used], _rows(old)[:, :used])
        return self._bare

    def _finish(self) -> NoReturn:
        # An intact file may end a little early: containers round, sound has padding, a last duration may be missing.
        tolerance = min(0.1 + 0.02 * self._declared, 0.25)
        if self._reached + tolerance < self._declared:
            raise SourceTruncated(
                f"expected {self._declared:.1f} s of video in {self.name}, found {self._reached:.1f} s "
                f"({self._seq} frames); the file was cut off, copy or record it again"
            )
        raise StopIteration


def _open(path: Path) -> InputContainer:
    try:
        if path.is_file() and not path.stat().st_size:
            raise SourceError(f"expected a video file, found an empty one: {path}")
        return av.open(f"file:{path}", mode="r", options=OPTIONS, metadata_errors="replace")
    except FileNotFoundError as reason:
        raise SourceError(f"expected a video file, found nothing at {path}; check the name") from reason
    except av.ArgumentError as reason:  # a format that is not in the list
        raise SourceError(f"expected a video file, found another kind of file: {path}") from reason
    except av.InvalidDataError as reason:
        raise SourceError(f"expected a video file, found no readable one: {path} is damaged or no video") from reason
    except (av.FFmpegError, OSError) as reason:
        raise SourceError(f"cannot read {path}: {reason.strerror}") from reason


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    for stream in container.streams.video:
        # The cover of a song is no video, and what FFmpeg cannot decode has no codec context.
        if stream.codec_context and not stream.disposition & av.stream.Disposition.attached_pic:
            stream.thread_type = "AUTO"
            return stream
    container.close()
    raise SourceError(f"expected a video, found no pictures in {path} (sound only, or an unknown codec)")


def _declared(container: InputContainer, stream: VideoStream, fps: float) -> float:
    """Returns how many seconds there should be by the header's own account, 0 where FFmpeg would only guess."""
    kinds = set(container.format.name.split(","))
    if "avi" in kinds:  # FFmpeg shortens its duration to what is left of the file
        return stream.frames / fps
    return (container.duration or 0) / av.time_base if kinds & {"mov", "matroska"} else 0.0


def _rate(stream: VideoStream) -> float:
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    return rate if 0.1 <= rate <= 1000 else 30.0


def _count(stream: VideoStream, declared: float, fps: float) -> int | None:
    length = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else declared
    # An interrupted recording counts the frames of its first fragment only.
    return max(stream.frames, round(length * fps)) or None


def _end(packet: Packet[Stream]) -> float:
    begin = packet.pts if packet.pts is not None else packet.dts or 0
    return float((begin + (packet.duration or 0)) * packet.time_base)


def _rows(plane: VideoPlane) -> NDArray[np.uint8]:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)


def _colour(picture: VideoFrame) -> Colour:
    # An untagged picture is of limited range, but for the old formats that say otherwise by their name.
    full_range = picture.color_range == ColorRange.JPEG or picture.format.name.startswith("yuvj")
    return Colour.of(picture.colorspace, full_range=full_range, height=picture.height)


def _square(width: int, height: int, stream: VideoStream) -> tuple[int, int]:
    """Returns the size in square pixels: the narrower side of the pixels is stretched, none is thrown away."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if aspect > 1:
        return round(width * min(aspect, 4.0)), height
    return width, round(height / max(aspect, 0.25))


class _Turn(NamedTuple):
    """What makes a picture upright: swap its axes, then mirror it left to right, then top to bottom."""

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False


def _turn_of(picture: VideoFrame) -> _Turn:
    # Asked of the first picture only: looking at side data ties a picture into a cycle that only the garbage
    # collector frees, some gigabytes later.
    side = picture.side_data.get("DISPLAYMATRIX")
    if not isinstance(side, SideData):
        return _Turn()
    # The matrix maps (x, y) to (a x + c y, b x + d y), in 16.16 fixed point.
    (a, b, _), (c, d, _), _ = np.frombuffer(memoryview(side), np.int32).reshape(3, 3).tolist()
    return _Turn(abs(a) < abs(b), a + c < 0, b + d < 0)


def _turned(rgb: NDArray[np.uint8], turn: _Turn) -> NDArray[np.uint8]:
    turned: NDArray[Any] = cv2.transpose(rgb) if turn.transposed else rgb
    if turn.mirrored:
        turned = cv2.flip(turned, 1)
    return turned[::-1] if turn.flipped else turned
