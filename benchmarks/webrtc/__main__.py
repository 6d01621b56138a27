"""What our server adds to a stream beside a plain aiortc echo, in the same run: delay, its growth, processor time.

    python -m benchmarks.webrtc --seconds 10 --json webrtc.json
    python -m benchmarks.webrtc --seconds 30 --burners 2         # an overloaded core

A clip that was encoded before (a frame number in its first row) is sent to either server and taken back by the same
client; the server has a process of its own, and with `--burners` one core, shared with as many busy loops. Ours passes
pictures through without a network, so both do the same: decode, encode, send. Rounds take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.webrtc.servers import OURS, PLAIN, Pipe, served
from rtmatte.clock import MonotonicClock
from rtmatte.latency import Percentiles
from rtmatte.serve.encoder import open_codec
from rtmatte.serve.loopback import keep_loopback
from rtmatte.serve.outgoing import PacketTrack
from rtmatte.serve.reception import VideoReception

WIDTH, HEIGHT = 1280, 720
FPS = 30
KEY_EVERY = 60  # the clip cannot make key frames on request
BIT_RATE = 2_500_000
BITS = 14  # of the frame number
BLOCK = 32  # pixels of a side of a bit
BURN_IN = 3.0  # seconds until the connection and the buffers have settled


@dataclass(frozen=True, slots=True)
class Outcome:
    """One server's rounds together. `growth_ms` is how much older frames were at the end than at the beginning."""

    sent: int
    seen: int
    latency_ms: Percentiles | None  # None when no frame came back in time
    growth_ms: float
    encode_cpu_ms: float  # of a frame encoded
    server_cpu_ms: float  # of a frame seen, everything in the server's process


@dataclass(frozen=True, slots=True)
class Round:
    sent: int
    times: list[tuple[int, float]]  # number of the frame, its latency in seconds
    encodes: int
    encode_cpu: float
    server_cpu: float


def main(
    seconds: Annotated[float, typer.Option(help="Length of a round; each server has two.")] = 10.0,
    burners: Annotated[
        int, typer.Option(help="Busy loops that share the one core a server then has; 0 pins none.")
    ] = 0,
    json: Annotated[Path | None, typer.Option(help="Write a report to this file.")] = None,
) -> None:
    """Measure what the server adds beside a plain aiortc echo."""
    clip = encoded_clip(int((seconds + BURN_IN) * FPS) + FPS)
    rounds: dict[str, list[Round]] = {PLAIN: [], OURS: []}
    for _ in range(2):
        for name in rounds:
            with served(name, burners) as pipe:
                rounds[name].append(asyncio.run(measured(pipe, clip, seconds)))
    outcomes = {name: together(each) for name, each in rounds.items()}
    Console().print(table(outcomes))
    if json is not None:
        body = {"size": f"{WIDTH}x{HEIGHT}", "fps": FPS, "burners": burners}
        report.write_json(json, "benchmarks.webrtc", body | {name: asdict(each) for name, each in outcomes.items()})


def encoded_clip(count: int) -> list[bytes]:
    """Returns VP8 frames of a moving bar over noise, each with its number in its first row."""
    encoder = open_codec("VP8", WIDTH, HEIGHT, BIT_RATE)
    rng = np.random.default_rng(0)
    room = rng.integers(90, 110, (HEIGHT * 3 // 2, WIDTH), np.uint8)
    clip = []
    for number in range(count):
        planes = room.copy()
        left = number * 8 % (WIDTH - 200)
        planes[100:HEIGHT, left : left + 200] = 200
        for bit in range(BITS):
            planes[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 235 if number >> bit & 1 else 16
        frame = av.VideoFrame.from_numpy_buffer(planes, format="yuv420p")
        frame.pts, frame.time_base = number * 3000, Fraction(1, 90_000)
        if number % KEY_EVERY == 0:
            frame.pict_type = av.video.frame.PictureType.I
        clip.append(b"".join(bytes(packet) for packet in encoder.encode(frame)))
    return clip


def number_of(picture: av.VideoFrame) -> int:
    """Returns the number in a picture."""
    row: NDArray[np.uint8] = np.frombuffer(memoryview(picture.planes[0]), np.uint8).reshape(
        -1, picture.planes[0].line_size
    )
    middles = row[BLOCK // 2, BLOCK // 2 : BITS * BLOCK : BLOCK]
    return int(sum(1 << bit for bit, value in enumerate(middles) if value > 128))


async def measured(pipe: Pipe, clip: list[bytes], seconds: float) -> Round:
    """Returns what came back of the clip, sent at its pace."""
    keep_loopback()
    clock = MonotonicClock()
    sent_at: dict[int, float] = {}
    times: list[tuple[int, float]] = []
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    track = PacketTrack("video", lambda: None)
    connection.addTrack(track)
    (transceiver,) = connection.getTransceivers()
    able = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences([codec for codec in able if codec.name in ("VP8", "rtx")])

    def note(picture: av.VideoFrame, arrived: float) -> None:
        number = number_of(picture)
        if number in sent_at:
            times.append((number, clock.now() - sent_at[number]))

    await connection.setLocalDescription(await connection.createOffer())
    pipe.send(connection.localDescription.sdp)
    answer = await asyncio.to_thread(pipe.recv)
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    VideoReception(transceiver.receiver, note, clock)  # the same for both: what differs is the server
    while connection.connectionState != "connected":
        await asyncio.sleep(0.01)
    began = clock.now()
    for number, data in enumerate(clip):
        await asyncio.sleep(max(0.0, began + number / FPS - clock.now()))
        packet = av.Packet(data)
        packet.pts, packet.time_base = number * 3000, Fraction(1, 90_000)
        sent_at[number] = clock.now()
        track.put(packet)
        if number == int(BURN_IN * FPS):
            pipe.send("begin")
        if clock.now() - began > seconds + BURN_IN:
            break
    await asyncio.sleep(0.5)
    pipe.send("end")
    encodes, encode_cpu, server_cpu = await asyncio.to_thread(pipe.recv)
    await connection.close()
    counted = [(number, taken) for number, taken in times if number > BURN_IN * FPS]
    return Round(number - int(BURN_IN * FPS), counted, encodes, encode_cpu, server_cpu)


def together(rounds: list[Round]) -> Outcome:
    """Returns the outcome of several rounds of one server."""
    times = np.array([taken for each in rounds for _, taken in each.times])
    growth = [_growth(np.array([taken for _, taken in each.times])) for each in rounds if each.times]
    encodes = max(1, sum(each.encodes for each in rounds))
    return Outcome(
        sent=sum(each.sent for each in rounds),
        seen=len(times),
        latency_ms=Percentiles.of(times) if len(times) else None,
        growth_ms=max(growth, default=0.0) * 1e3,
        encode_cpu_ms=sum(each.encode_cpu for each in rounds) / encodes * 1e3,
        server_cpu_ms=sum(each.server_cpu for each in rounds) / max(1, len(times)) * 1e3,
    )


def _growth(times: NDArray[np.float64]) -> float:
    """Returns the median of the last quarter less that of the first."""
    quarter = max(1, len(times) // 4)
    return float(np.median(times[-quarter:]) - np.median(times[:quarter]))


def table(outcomes: dict[str, Outcome]) -> Table:
    """Returns the outcomes side by side."""
    shown = Table(title=f"{WIDTH}x{HEIGHT} at {FPS} a second, VP8 in and out", title_justify="left")
    shown.add_column("")
    rows: dict[str, Callable[[Outcome], str]] = {
        "frames seen": lambda each: f"{each.seen} of {each.sent}",
        "latency p50 ms": lambda each: f"{each.latency_ms.p50:.0f}" if each.latency_ms else "none came",
        "latency p95 ms": lambda each: f"{each.latency_ms.p95:.0f}" if each.latency_ms else "none came",
        "growth of the age ms": lambda each: f"{each.growth_ms:.0f}",
        "encoding, processor ms a frame": lambda each: f"{each.encode_cpu_ms:.1f}",
        "server, processor ms a frame seen": lambda each: f"{each.server_cpu_ms:.1f}",
    }
    for name in outcomes:
        shown.add_column(name, justify="right")
    for title, of in rows.items():
        shown.add_row(title, *(of(each) for each in outcomes.values()))
    return shown


if __name__ == "__main__":
    report.run(main)
