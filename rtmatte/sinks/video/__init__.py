"""A video file as a sink (PyAV), with the sound of another file beside the pictures.

It is written in place in fragments of a second, so that a killed process leaves a file that plays.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from rtmatte.colour import Colour
from rtmatte.errors import SinkError
from rtmatte.frame import Frame
from rtmatte.imaging import Size
from rtmatte.sinks.video.encoding import OPAQUE, WITH_ALPHA, PictureTrack
from rtmatte.sinks.video.sound import SoundTracks

# hybrid_fragmented turns the fragments into an ordinary file at the end; delay_moov lets them say where each stream
# begins. Without flush_packets they would wait in the process and die with it.
_MOV = {"movflags": "hybrid_fragmented+frag_keyframe+delay_moov", "flush_packets": "1"}
_MATROSKA = {"cluster_time_limit": "1000", "flush_packets": "1"}
CONTAINERS = {".mp4": _MOV, ".mov": _MOV, ".mkv": _MATROSKA, ".webm": _MATROSKA}
TAIL = 1.0  # seconds of sound that may follow the last picture: with more, the pictures were cut short and sound is too


class VideoSink:
    """Encodes frames of one size, those of another fitted in; times come from `pts`, else from `seq` and `fps`.

    RGB and grey become H.264 (VP9 in .webm), RGBA becomes FFV1 in .mkv, ProRes 4444 in .mov, VP9 in .webm. An odd
    size of H.264 is kept in 4:4:4, which some players do not show; even ones are the usual 4:2:0.
    """

    def __init__(
        self, path: Path, *, size: Size, fps: float, audio_from: Path | None = None, colour: Colour | None = None
    ) -> None:
        """Checks that the file can be written; what it held is lost with the first frame, not before.

        `colour` is how YCbCr is written and tagged, by default the usual for the height.
        """
        self.written = 0
        self._path = path
        self._size = size
        self._fps = fps
        self._audio_from = audio_from
        self._colour = colour or Colour.usual(size[1])
        self._made = _claim(path)
        self._recording: _Recording | None = None

    def write(self, frame: Frame) -> None:
        try:
            if self._recording is None:
                self._recording = self._begin(frame.pixels.shape[2])
            self._recording.add(frame)
        except av.FFmpegError as reason:
            self._abandon()
            raise self._failure(reason) from reason
        self.written += 1

    def close(self) -> None:
        recording, self._recording = self._recording, None
        if recording is None:
            if self._made and not self.written:
                self._path.unlink(missing_ok=True)
            return
        try:
            recording.finish()
        except av.FFmpegError as reason:
            raise self._failure(reason) from reason
        finally:
            recording.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _begin(self, channels: int) -> _Recording:
        suffix = self._path.suffix.lower()
        encodings = WITH_ALPHA if channels == 4 else OPAQUE
        if suffix not in encodings:
            raise SinkError(
                f"expected a file that can hold such pictures ({', '.join(encodings)}), found {self._path.name}; "
                "choose one of those, or a folder"
            )
        output = av.open(f"file:{self._path}", mode="w", container_options=CONTAINERS[suffix])
        pictures = PictureTrack(
            output, encodings[suffix], size=self._size, fps=self._fps, channels=channels, colour=self._colour
        )
        sound = SoundTracks(self._audio_from, output, suffix) if self._audio_from is not None else None
        return _Recording(output, pictures, sound)

    def _abandon(self) -> None:
        if self._recording is not None:
            self._recording.close()
            self._recording = None

    def _failure(self, reason: av.FFmpegError) -> SinkError:
        kept = f"; its first {self.written} frames are kept, but for the last two seconds" if self.written else ""
        return SinkError(f"cannot write {self._path}: {reason.strerror}{kept}")


class _Recording:
    """An output file under way."""

    def __init__(self, output: OutputContainer, pictures: PictureTrack, sound: SoundTracks | None) -> None:
        self._output = output
        self._pictures = pictures
        self._sound = sound

    def add(self, frame: Frame) -> None:
        self._mux(self._pictures.encode(frame))

    def finish(self) -> None:
        self._mux(self._pictures.flush())
        if self._sound is not None:
            self._sound.finish(self._pictures.end + TAIL)
        self._output.close()

    def close(self) -> None:
        """Lets go of the files, whole or not."""
        if self._sound is not None:
            self._sound.close()
        with suppress(av.FFmpegError):  # after a failed write the end cannot be written either
            self._output.close()

    def _mux(self, packets: Iterable[Packet[Stream]]) -> None:
        for packet in packets:
            if self._sound is not None and packet.dts is not None:
                self._sound.advance(float(packet.dts * packet.time_base))
            self._output.mux(packet)


def _claim(path: Path) -> bool:
    """Whether the empty file `path` was made just now; SinkError when it cannot be written."""
    made = not os.path.exists(path)  # unlike Path.exists it raises nothing
    try:
        path.open("ab").close()
    except OSError as reason:
        raise SinkError(f"cannot write {path}: {reason.strerror}; choose another output") from reason
    return made
