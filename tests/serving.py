"""Peers, pictures and a whole server for the tests of `rtmatte.serve`: everything on this machine, in one process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiohttp import ClientSession, CookieJar
from aiohttp.test_utils import TestServer
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from rtmatte.backends.fake import FakeEngine
from rtmatte.clock import MonotonicClock
from rtmatte.control import Control
from rtmatte.frame import Mask
from rtmatte.imaging import Size
from rtmatte.live import LiveLine
from rtmatte.serve.access import Access
from rtmatte.serve.app import make_app
from rtmatte.serve.broadcast import OpenLine
from rtmatte.serve.loopback import keep_loopback
from rtmatte.serve.network import Networks
from rtmatte.serve.options import Limits, ServeOptions
from rtmatte.serve.studio import Studio
from rtmatte.settings import Settings
from rtmatte.targets.person import PersonTarget

SIZE: Size = (160, 120)
DISC = 30  # radius, in a frame of 160x120

NEAR = 40  # of 255: what two lossy encoders leave of a colour
WHITE, YELLOW, CYAN, RED, GREEN = (255, 255, 255), (255, 255, 0), (0, 255, 255), (255, 0, 0), (0, 255, 0)

Colour = tuple[int, int, int]

LIMITS = Limits(publishers=4, requests_per_second=10_000, logins_per_minute=10_000)
OPTIONS = ServeOptions(limits=LIMITS, loopback_peers=True)


@dataclass
class Room:
    """A server under test."""

    client: ClientSession
    port: int | None
    studio: Studio
    networks: Networks
    access: Access
    options: ServeOptions


def line_opener(networks: Networks) -> OpenLine:
    clock = MonotonicClock()

    def open_line(size: Size, control: Control, first: Mask | None) -> LiveLine:
        engine = networks.engine(size)
        return LiveLine(engine, control, clock, size=size, finder=PersonTarget(engine), first_mask=first)

    return open_line


@asynccontextmanager
async def serving(options: ServeOptions = OPTIONS, background: str = "green") -> AsyncIterator[Room]:
    """A server with the fake engine, on a free port of this machine."""
    keep_loopback()
    clock = MonotonicClock()
    networks = Networks(lambda size: FakeEngine(*size), lambda size: size, clock)
    access = Access(options.token)
    studio = Studio(line_opener(networks), networks, options, clock, settings=lambda: Settings(background=background))
    server = TestServer(make_app(studio, networks, options, access, clock))
    await server.start_server()
    # aiohttp's own test client would keep every answer it ever had: it leaks where leaks are looked for.
    client = ClientSession(server.make_url("/"), cookie_jar=CookieJar(unsafe=True))
    try:
        yield Room(client, server.port, studio, networks, access, options)
    finally:
        await studio.close()
        await client.close()
        await server.close()
        networks.close()


def disc(colour: tuple[int, int, int], *, size: Size = SIZE, ground: int = 20) -> NDArray[np.uint8]:
    """A picture of a disc of one colour in the middle of a dark room; the fake engine cuts out what is bright."""
    width, height = size
    y, x = np.ogrid[0:height, 0:width]
    picture = np.full((height, width, 3), ground, np.uint8)
    picture[(x - width / 2) ** 2 + (y - height / 2) ** 2 < DISC**2] = colour
    return picture


class Camera(MediaStreamTrack):
    """A track that sends one picture 30 times a second."""

    kind = "video"

    def __init__(self, picture: NDArray[np.uint8], *, fps: float = 30.0) -> None:
        super().__init__()
        self._frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        self._fps, self._count, self._start = fps, 0, time.monotonic()
        self.sent = 0

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Sends another picture from now on."""
        self._frame = av.VideoFrame.from_ndarray(picture, format="rgb24")

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._count += 1
        await asyncio.sleep(max(0.0, self._start + self._count / self._fps - time.monotonic()))
        frame = av.VideoFrame.from_ndarray(self._frame.to_ndarray(format="rgb24"), format="rgb24")
        frame.pts, frame.time_base = int(self._count * 90_000 / self._fps), Fraction(1, 90_000)
        self.sent += 1
        return frame


@dataclass
class Client:
    """A browser's or OBS's part, by aiortc: one connection, and the pictures it sees."""

    connection: RTCPeerConnection = field(default_factory=lambda: RTCPeerConnection(RTCConfiguration(iceServers=[])))
    tracks: dict[str, Any] = field(default_factory=dict)
    watching: list[asyncio.Task[None]] = field(default_factory=list)
    seen: int = 0
    last: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        self.connection.on("track", self._follow)

    def _follow(self, track: Any) -> None:
        self.tracks[track.kind] = track
        self.watching.append(asyncio.create_task(self._look(track)))

    async def _look(self, track: Any) -> None:
        try:
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    self.last = frame.to_ndarray(format="rgb24")
                    self.seen += 1
        except MediaStreamError:
            pass

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def publish(self, room: Room, track: MediaStreamTrack, **more: Any) -> dict[str, Any]:
        """Publishes as the page does; returns what the server answered."""
        self.connection.addTrack(track)
        given = {"type": "offer", "sdp": await self.offer(), **more}
        response = await room.client.post("/api/sessions", json=given)
        assert response.status == 201, await response.text()
        answered: dict[str, Any] = await response.json()
        await self.accept(answered["sdp"])
        return answered

    async def watch(self, room: Room, watch: str, *, codec: str | None = None) -> str:
        """Watches by WHEP; returns where the resource is."""
        video = self.connection.addTransceiver("video", direction="recvonly")
        if codec is not None:
            able = RTCRtpSender.getCapabilities("video").codecs
            video.setCodecPreferences([each for each in able if each.name in (codec, "rtx")])
        headers = {"Content-Type": "application/sdp"}
        response = await room.client.post(f"/whep/{watch}", data=await self.offer(), headers=headers)
        assert response.status == 201, await response.text()
        await self.accept(await response.text())
        return str(response.headers["Location"])

    async def close(self) -> None:
        await self.connection.close()
        for task in self.watching:  # a track that never began never ends
            task.cancel()
        await asyncio.gather(*self.watching, return_exceptions=True)


def shows(client: Client, *, middle: Colour, around: Colour) -> bool:
    """Whether the last picture that a client saw has these colours in its middle and in its corner."""
    return client.last is not None and is_near(client.last[60, 80], middle) and is_near(client.last[5, 5], around)


def is_near(pixel: NDArray[np.uint8], colour: Colour) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= NEAR)


async def on_air(room: Room) -> tuple[Client, str]:
    """A publisher that sees itself cut out, and the path of its session."""
    client = Client()
    answered = await client.publish(room, Camera(disc(WHITE)))
    await until(lambda: shows(client, middle=WHITE, around=GREEN))
    return client, f"/api/sessions/{answered['id']}"


async def until(true: Callable[[], object], *, wait: float = 20.0) -> None:
    """Waits until `true` holds; fails when that takes too long. Only how long it takes depends on the machine."""
    async with asyncio.timeout(wait):
        while not true():
            await asyncio.sleep(0.02)


def with_limits(**limits: Any) -> ServeOptions:
    """The options with other limits."""
    return replace(OPTIONS, limits=replace(LIMITS, **limits))


def pool_size() -> int:
    """How many threads the loop's own pool may have made meanwhile."""
    return min(32, (os.cpu_count() or 1) + 4)
