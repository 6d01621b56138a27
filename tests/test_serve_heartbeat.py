"""How the server finds out that a peer is gone, by packets and heartbeats, and what it bears from one that talks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.serving import LIMITS, WHITE, Camera, Client, Room, disc, on_air, serving, until, with_limits


async def without_a_channel(room: Room) -> Client:
    """A peer that sees itself; only its packets tell that it is there."""
    client, _ = await on_air(room)
    return client


async def with_a_channel(room: Room) -> Client:
    """A peer that hears heartbeats, and answers none."""
    client = Client()
    heard: list[object] = []
    client.connection.createDataChannel("heartbeat").on("message", heard.append)
    await client.publish(room, Camera(disc(WHITE)))
    await until(lambda: heard)
    return client


@pytest.mark.parametrize(
    ("come", "limits"),
    [
        pytest.param(without_a_channel, {"silence_wait": 0.8}, id="without a channel"),
        pytest.param(with_a_channel, {"heartbeat_wait": 0.8, "silence_wait": 60.0}, id="sooner, with one"),
    ],
)
def test_a_peer_that_falls_silent_frees_its_place(
    come: Callable[[Room], Awaitable[Client]], limits: dict[str, float]
) -> None:
    """The server's own wait, made short: nothing else tells it, for the peer says no goodbye."""

    async def scenario() -> None:
        async with serving(with_limits(**limits)) as room:
            client = await come(room)
            assert room.studio.publishers == 1

            vanish(client)

            await until(lambda: room.studio.publishers == 0)
            assert room.studio.peers == 0
            await client.close()

    asyncio.run(scenario())


def test_a_peer_whose_heartbeats_are_lost_stays_while_its_packets_come() -> None:
    """After an outage a data channel waits for seconds before it sends again; pictures are back at once."""

    async def scenario() -> None:
        async with serving(with_limits(heartbeat_wait=0.8)) as room:
            client = await with_a_channel(room)

            seen = client.seen
            await until(lambda: client.seen > seen + 30)  # two seconds of pictures, and it never answered

            assert room.studio.publishers == 1
            await client.close()

    asyncio.run(scenario())


def test_a_peer_that_answers_heartbeats_stays() -> None:
    async def scenario() -> None:
        async with serving(with_limits(heartbeat_wait=1.5)) as room:
            client = Client()
            channel = client.connection.createDataChannel("heartbeat")
            heard: list[object] = []

            @channel.on("message")
            def answer(message: object) -> None:
                heard.append(message)
                channel.send("beat")

            await client.publish(room, Camera(disc(WHITE)))

            await until(lambda: len(heard) >= 4)

            assert room.studio.publishers == 1
            await client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("message", "times"), [("beat", 200), ("x" * 17_000, 1)])
def test_a_peer_that_says_too_much_loses_its_channel_and_keeps_its_pictures(message: str, times: int) -> None:
    async def scenario() -> None:
        async with serving() as room:
            client = Client()
            channel = client.connection.createDataChannel("heartbeat")
            await client.publish(room, Camera(disc(WHITE)))
            await until(lambda: channel.readyState == "open" and client.seen > 0)

            for _ in range(times):
                channel.send(message)
            await until(lambda: channel.readyState == "closed")

            seen = client.seen
            await until(lambda: client.seen > seen + 10)
            assert room.studio.peers == 1
            await client.close()

    asyncio.run(scenario())


def test_the_default_limits_are_those_that_are_promised() -> None:
    assert (LIMITS.heartbeat_wait, LIMITS.silence_wait) == (3.0, 5.0)


def vanish(client: Client) -> None:
    """Lets a peer send nothing any more, and say no goodbye."""

    async def swallow(*data: object) -> None:
        """Where the packets go."""

    for transceiver in client.connection.getTransceivers():
        vars(transceiver.sender.transport.transport)["_send"] = swallow
