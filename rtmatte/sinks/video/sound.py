"""The sound of one file copied into another, a little at a time, so that it lies beside the pictures it belongs to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from rtmatte.errors import SinkError

# The sound that players expect in a container; Matroska takes all. Any other is encoded anew.
COPIED: Mapping[str, frozenset[str]] = {
    ".mp4": frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"}),
    ".mov": frozenset({"aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"}),
    ".webm": frozenset({"opus", "vorbis"}),
}
RATE = 48000  # Opus knows no 44100


class SoundTracks:
    """All audio streams of a file. Times are kept relative to the start of the file, as FileSource keeps those of
    the pictures."""

    def __init__(self, path: Path, output: OutputContainer, suffix: str) -> None:
        """Adds the streams to `output`, which must not have begun."""
        self._output = output
        self._input = _open(path)
        self._start = (self._input.start_time or 0) / av.time_base
        self._copies: dict[int, AudioStream] = {}
        self._encoders: dict[int, AudioStream] = {}
        self._latest: dict[int, float] = {}
        known = tuple(stream for stream in self._input.streams.audio if stream.codec_context)
        for stream in known:
            codec = stream.codec_context.codec.canonical_name
            if codec in COPIED.get(suffix, output.supported_codecs):
                self._copies[stream.index] = output.add_stream_from_template(stream)
            else:
                encoder = output.add_stream("libopus" if suffix == ".webm" else "aac", rate=RATE)
                encoder.layout = "mono" if stream.channels == 1 else "stereo"
                self._encoders[stream.index] = encoder
        self._packets: Iterator[Packet[AudioStream]] = self._input.demux(known) if known else iter(())
        self._next = self._read()

    def advance(self, until: float) -> None:
        """Writes the sound that begins before `until`, in seconds of media time."""
        while self._next is not None and _begin(self._next) - self._start < until:
            self._write(self._next)
            self._next = self._read()

    def finish(self, until: float) -> None:
        """Writes the sound that begins before `until` and what the encoders still hold."""
        self.advance(until)
        for encoder in self._encoders.values():
            self._output.mux(encoder.encode(None))

    def close(self) -> None:
        """Closes the file that the sound comes from."""
        self._input.close()

    def _read(self) -> Packet[AudioStream] | None:
        try:
            return next(self._packets, None)
        except (av.FFmpegError, IndexError):  # as for FileSource, which counts and reports what is damaged
            return None

    def _write(self, packet: Packet[AudioStream]) -> None:
        index, time = packet.stream.index, _begin(packet)
        if packet.dts is not None and time <= self._latest.get(index, -math.inf):
            return  # damage made it go back in time, which no container takes
        self._latest[index] = time
        if index in self._encoders:
            self._encode(packet, self._encoders[index])
        elif packet.dts is not None:  # not the empty packet at the end
            packet.dts -= round(self._start / packet.time_base)
            packet.pts = packet.dts  # sound is never reordered
            packet.stream = self._copies[index]
            self._output.mux(packet)

    def _encode(self, packet: Packet[AudioStream], encoder: AudioStream) -> None:
        try:
            sounds = packet.decode()
        except av.FFmpegError:  # a damaged packet is a gap
            return
        for sound in sounds:
            if sound.pts is not None and sound.time_base is not None:
                sound.pts -= round(self._start / sound.time_base)
            self._output.mux(encoder.encode(sound))


def _open(path: Path) -> InputContainer:
    try:
        only_files = {"protocol_whitelist": "file"}
        return av.open(f"file:{path}", mode="r", options=only_files, metadata_errors="replace")
    except (av.FFmpegError, OSError) as reason:
        raise SinkError(f"cannot read the sound of {path}: {reason.strerror}") from reason


def _begin(packet: Packet[AudioStream]) -> float:
    return -math.inf if packet.dts is None else float(packet.dts * packet.time_base)
