"""Small video files made on the spot, their YCbCr computed here in floating point and not by what is tested."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from rtmatte.colour import Colour, Matrix

TICK = Fraction(1, 90000)
PATCHES = [
    [(255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0)],
    [(0, 0, 255), (0, 0, 0), (128, 128, 128), (150, 20, 90), (230, 180, 150), (40, 90, 160)],
]
LUMA = {Matrix.BT709: (0.2126, 0.0722), Matrix.BT601: (0.299, 0.114)}
SD = Colour(Matrix.BT601)


def patches(width: int = 192, height: int = 64) -> NDArray[np.uint8]:
    """Returns a picture of twelve colours in two rows: turned or mirrored it is another one."""
    picture = np.empty((height, width, 3), np.uint8)
    for row, colours in enumerate(PATCHES):
        for column, colour in enumerate(colours):
            picture[row * height // 2 :, column * width // 6 :] = colour
    return picture


def ycbcr(picture: NDArray[Any], colour: Colour) -> NDArray[np.uint8]:
    """Returns an RGB picture of even size as yuv420p: (H * 3 / 2, W). Chroma is that of the upper left pixel."""
    red, green, blue = np.moveaxis(picture / 255.0, 2, 0)
    kr, kb = LUMA[colour.matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = np.stack([(blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)])[:, ::2, ::2]
    black, luma_range, chroma_range = (0, 255, 255) if colour.full_range else (16, 219, 224)
    planes = np.concatenate([(black + luma_range * luma).ravel(), (128 + chroma_range * chroma).ravel()])
    rounded: NDArray[np.uint8] = np.rint(planes).clip(0, 255).astype(np.uint8)
    return rounded.reshape(-1, picture.shape[1])


def write_video(
    path: Path,
    pictures: Sequence[NDArray[Any]],
    *,
    times: Sequence[float] | None = None,
    colour: Colour = SD,
    tagged: bool = True,
    codec: str = "ffv1",
    options: dict[str, str] | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    pixel_aspect: Fraction = Fraction(1),
    sound: float = 0.0,
    sound_codec: str = "aac",
    title: str = "",
) -> Path:
    """Writes pictures at 30 fps or at `times`, and `sound` seconds of a tone; returns `path`. FFV1 loses nothing."""
    with av.open(str(path), "w", options=options or {}) as output:
        output.metadata["title"] = title
        stream = cast(VideoStream, output.add_stream(codec, rate=30))
        height, width = pictures[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base, context.gop_size = TICK, 10
        context.sample_aspect_ratio = pixel_aspect
        if tagged:
            context.colorspace, context.color_range = int(colour.matrix), 2 if colour.full_range else 1
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        tone = add_tone(output, sound_codec) if sound else None
        planes: dict[int, NDArray[np.uint8]] = {}
        for number, picture in enumerate(pictures):
            if id(picture) not in planes:
                planes[id(picture)] = ycbcr(picture, colour)
            frame = VideoFrame.from_ndarray(planes[id(picture)], "yuv420p")
            frame.pts = round((times[number] if times else number / 30) / TICK)
            frame.time_base = TICK
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if tone is not None:
            write_tone(output, tone, sound)
    return path


def add_tone(output: OutputContainer, codec: str) -> AudioStream:
    stream = cast(AudioStream, output.add_stream(codec, rate=48000))
    stream.layout = "mono"
    return stream


def write_tone(output: OutputContainer, stream: AudioStream, seconds: float) -> None:
    samples = np.sin(np.arange(round(seconds * 48000)) * 0.06)[None]
    sound = AudioFrame.from_ndarray((samples * 20000).astype(np.int16), "s16", "mono")
    sound.sample_rate, sound.pts, sound.time_base = 48000, 0, Fraction(1, 48000)
    output.mux(stream.encode(sound))
    output.mux(stream.encode(None))


def sound_packets(path: Path) -> list[tuple[float, bytes]]:
    """Returns time and data of the sound's packets in a file."""
    with av.open(str(path)) as container:
        packets = container.demux(audio=0)
        return [(float(p.pts * p.time_base), bytes(p)) for p in packets if p.pts is not None]
