"""Streams through a whole server, between aiortc peers on this machine."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from tests.serving import GREEN, Camera, Client, disc, serving, until

NEAR = 40  # of 255: what two lossy encoders leave of a colour


WHITE = (255, 255, 255)


def shows(client: Client, *, middle: tuple[int, int, int], around: tuple[int, int, int]) -> bool:
    """Whether the last picture that a client saw has these colours in its middle and in its corner."""
    return client.last is not None and is_near(client.last[60, 80], middle) and is_near(client.last[5, 5], around)


def is_near(pixel: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= NEAR)


def test_a_publisher_sees_itself_before_another_background() -> None:
    async def scenario() -> None:
        async with serving() as room:
            client = Client()
            await client.publish(room, Camera(disc(WHITE)))

            await until(lambda: shows(client, middle=WHITE, around=GREEN))
            await client.close()

    asyncio.run(scenario())
