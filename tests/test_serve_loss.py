"""Bad ways between peers: packets lost, late, out of order, or none for a second; and a relay as the only way.

The impairment is a user-space one, between the DTLS and the socket of both sides, and seeded.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from aiortc import RTCPeerConnection

from rtmatte.clock import MonotonicClock
from rtmatte.serve.options import IceServer
from rtmatte.serve.reception import VideoReception
from tests.serving import OPTIONS, Camera, Client, disc, serving, until

pytestmark = [pytest.mark.serve, pytest.mark.timeout(300)]

WHITE = (255, 255, 255)
LOSS, JITTER = 0.05, 0.030  # seconds
RELAY_USER, RELAY_PASSWORD = "rtmatte", "relay-password"


class Weather:
    """What happens to the packets of the connections it was put on."""

    def __init__(self) -> None:
        self.outage = False
        self.lost = 0
        self._chance = random.Random(7)

    def over(self, connection: RTCPeerConnection) -> None:
        """Lets everything that `connection` sends go through it."""
        for transceiver in connection.getTransceivers():
            transport = transceiver.sender.transport.transport
            transport._send = self._through(transport._connection.send)

    def _through(self, send: Any) -> Any:
        async def impaired(data: bytes) -> None:
            if self.outage or self._chance.random() < LOSS:
                self.lost += 1
                return
            loop = asyncio.get_running_loop()
            loop.call_later(self._chance.uniform(0, JITTER), lambda: loop.create_task(_quietly(send, data)))

        return impaired


async def _quietly(send: Any, data: bytes) -> None:
    with suppress(ConnectionError):  # the connection was closed while the packet was on its way
        await send(data)


def test_pictures_go_on_through_loss_and_jitter_and_come_back_after_an_outage() -> None:
    async def scenario() -> None:
        async with serving() as room:
            publisher, viewer, weather = Client(), Client(), Weather()
            camera = Camera(disc(WHITE))
            answered = await publisher.publish(room, camera)
            video = viewer.connection.addTransceiver("video", direction="recvonly")
            await _watch(viewer, room, answered["watch"])
            seen: list[float] = []
            VideoReception(video.receiver, lambda picture, arrived: seen.append(arrived), MonotonicClock())
            await until(lambda: len(seen) > 10)
            (broadcast,) = room.studio.broadcasts
            for peer in room.studio._peers:
                weather.over(peer.connection)
            for client in (publisher, viewer):
                weather.over(client.connection)
            sent, received, shown = camera.sent, broadcast.received, len(seen)

            await until(lambda: camera.sent >= sent + 180)

            assert weather.lost > 10
            assert broadcast.received - received > 0.6 * 180
            assert len(seen) - shown > 0.3 * 180
            weather.outage = True
            await asyncio.sleep(1.0)
            weather.outage = False
            received, shown = broadcast.received, len(seen)
            await until(lambda: broadcast.received > received + 3 and len(seen) > shown + 3, wait=2.0)
            await publisher.close()
            await viewer.close()

    asyncio.run(scenario())


async def _watch(viewer: Client, room: Any, watch: str) -> None:
    headers = {"Content-Type": "application/sdp"}
    response = await room.client.post(f"/whep/{watch}", data=await viewer.offer(), headers=headers)
    assert response.status == 201
    await viewer.accept(await response.text())


@pytest.mark.skipif(shutil.which("turnserver") is None, reason="coturn is not installed")
def test_a_relay_as_the_only_way_is_enough() -> None:
    async def scenario() -> None:
        async with relay() as server, serving(replace(OPTIONS, ice_servers=(server,), relay_only=True)) as room:
            client = Client()

            answered = await client.publish(room, Camera(disc(WHITE)))

            candidates = [line for line in answered["sdp"].splitlines() if line.startswith("a=candidate:")]
            assert candidates
            assert all(" typ relay" in line for line in candidates)
            await until(lambda: client.seen > 5)
            await client.close()

    asyncio.run(scenario())


@asynccontextmanager
async def relay() -> AsyncIterator[IceServer]:
    """A TURN server on this machine, which relays to this machine's own peers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["-n", "--lt-cred-mech", "--realm=rtmatte", f"--user={RELAY_USER}:{RELAY_PASSWORD}", "--no-cli"]
    options += ["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}", "--log-file=stdout"]
    options += ["--allow-loopback-peers", "--cli-password=none", "--no-tls", "--no-dtls", "--pidfile=/dev/null"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "turnserver", *options, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(10):
            while b"Total General servers" not in (line := await process.stdout.readline()):
                assert line, "the relay ended before it listened"
        draining = asyncio.create_task(process.stdout.read())
        yield IceServer(f"turn:127.0.0.1:{port}?transport=udp", RELAY_USER, RELAY_PASSWORD)
        draining.cancel()
    finally:
        process.terminate()
        await process.wait()
