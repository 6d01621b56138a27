"""A publisher and a viewer on one host, and what each has done so far.

python -m tests.network.peers ADDRESS TOKEN

It publishes by WHIP, answering heartbeats as a page does, and watches by WHEP with the viewing key alone. It says
"sent" and "seen", each with the time on the monotonic clock, for every picture.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import aiohttp
import av
import cv2
import numpy as np

from rtmatte.clock import MonotonicClock
from rtmatte.serve.reception import VideoReception
from tests.serving import Camera, Client

SIZE = (320, 240)


class Surf(Camera):
    """A camera before something that never stands still, so that each picture takes several packets."""

    def __init__(self) -> None:
        waves = np.random.default_rng(5).integers(40, 180, (12, 16, 3), np.uint8)
        self._pixels = np.asarray(cv2.resize(waves, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)
        super().__init__(self._pixels, fps=15)

    async def recv(self) -> av.VideoFrame:
        self._pixels = np.roll(self._pixels, 3, axis=1)
        self.show(self._pixels)
        frame = await super().recv()
        say("sent")
        return frame


def say(what: str) -> None:
    """Says it with the time, in one write: two threads speak."""
    sys.stdout.write(f"{what} {time.monotonic()}\n")
    sys.stdout.flush()


async def _run(address: str, token: str) -> None:
    publisher, viewer = Client(), Client()
    async with aiohttp.ClientSession() as http:
        await _publish(http, publisher, address, token)
        async with http.get(f"{address}/api/sessions", headers={"Authorization": f"Bearer {token}"}) as response:
            (session,) = (await response.json())["sessions"]
        video = viewer.connection.addTransceiver("video", direction="recvonly")
        await _answered(http, viewer, f"{address}/whep/{session['watch']}", session["viewing_key"])
        # Before anything is waited for: the receiver starts as soon as it can.
        VideoReception(video.receiver, lambda picture, at: say("seen"), MonotonicClock())
        await asyncio.Event().wait()


async def _publish(http: aiohttp.ClientSession, publisher: Client, address: str, token: str) -> None:
    publisher.connection.addTrack(Surf())
    channel = publisher.connection.createDataChannel("heartbeat", ordered=False, maxRetransmits=0)
    channel.on("message", lambda message: channel.send("beat"))
    await _answered(http, publisher, f"{address}/whip", token)


async def _answered(http: aiohttp.ClientSession, client: Client, url: str, secret: str) -> None:
    headers: dict[str, Any] = {"Content-Type": "application/sdp", "Authorization": f"Bearer {secret}"}
    async with http.post(url, data=await client.offer(), headers=headers) as response:
        assert response.status == 201, await response.text()
        answer = await response.text()
    await client.accept(answer)


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
