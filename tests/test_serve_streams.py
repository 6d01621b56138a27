"""Streams through a whole server, between aiortc peers on this machine."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from rtmatte.serve.broadcast import Broadcast
from tests.serving import (
    CYAN,
    GREEN,
    RED,
    WHITE,
    YELLOW,
    Camera,
    Client,
    Room,
    disc,
    serving,
    shows,
    until,
    with_limits,
)


def only(room: Room) -> Broadcast:
    (broadcast,) = room.studio.broadcasts
    return broadcast


def test_a_publisher_sees_itself_before_another_background() -> None:
    async def scenario() -> None:
        async with serving() as room:
            client = Client()

            await client.publish(room, Camera(disc(WHITE)))

            await until(lambda: shows(client, middle=WHITE, around=GREEN))
            await client.close()

    asyncio.run(scenario())


def test_two_publishers_never_see_each_others_picture() -> None:
    async def scenario() -> None:
        async with serving() as room:
            one, two = Client(), Client()
            await one.publish(room, Camera(disc(YELLOW)))
            await two.publish(room, Camera(disc(CYAN)))
            await until(lambda: shows(one, middle=YELLOW, around=GREEN) and shows(two, middle=CYAN, around=GREEN))

            for _ in range(30):
                before = one.seen, two.seen
                await until(lambda before=before: one.seen > before[0] and two.seen > before[1])  # type: ignore[misc]

                assert shows(one, middle=YELLOW, around=GREEN)
                assert shows(two, middle=CYAN, around=GREEN)
            await one.close()
            await two.close()

    asyncio.run(scenario())


def test_viewers_of_one_codec_share_an_encoder_and_another_codec_has_its_own() -> None:
    async def scenario() -> None:
        async with serving() as room:
            publisher = Client()
            await publisher.publish(room, Camera(disc(WHITE)))  # its preview is the first of the VP8 viewers
            await until(lambda: shows(publisher, middle=WHITE, around=GREEN))
            viewers = [Client() for _ in range(5)]
            for viewer in viewers[:4]:
                await viewer.watch(room, only(room).watch, codec="VP8")
            await until(lambda: all(shows(viewer, middle=WHITE, around=GREEN) for viewer in viewers[:4]))
            assert only(room).fanout.codecs == ("VP8",)

            await viewers[4].watch(room, only(room).watch, codec="H264")

            await until(lambda: shows(viewers[4], middle=WHITE, around=GREEN))
            assert set(only(room).fanout.codecs) == {"VP8", "H264"}
            assert only(room).viewers == 5
            for client in (*viewers, publisher):
                await client.close()

    asyncio.run(scenario())


def test_a_publisher_that_comes_back_finds_its_settings_and_its_viewers() -> None:
    async def scenario() -> None:
        async with serving() as room:
            first, viewer, second = Client(), Client(), Client()
            answered = await first.publish(room, Camera(disc(WHITE)))
            await viewer.watch(room, answered["watch"])
            await until(lambda: shows(viewer, middle=WHITE, around=GREEN))
            response = await room.client.patch(
                f"/api/sessions/{answered['id']}/settings", json={"background": "#ff0000"}
            )
            assert response.status == 200
            await first.close()
            await until(lambda: only(room).state == "away")
            await until(lambda: shows(viewer, middle=RED, around=RED))  # nobody, and nothing old

            again = await second.publish(room, Camera(disc(WHITE)), resume=answered["id"])

            assert again["id"] == answered["id"]
            await until(lambda: shows(viewer, middle=WHITE, around=RED))
            await second.close()
            await viewer.close()

    asyncio.run(scenario())


def test_a_browser_that_began_small_is_sent_on_in_its_full_size() -> None:
    async def scenario() -> None:
        async with serving() as room:
            client, camera = Client(), Camera(disc(WHITE, size=(120, 90)))
            await client.publish(room, camera)
            await until(lambda: client.last is not None and client.last.shape == (90, 120, 3))

            camera.show(disc(WHITE))

            await until(lambda: client.last is not None and client.last.shape == (120, 160, 3))
            await until(lambda: shows(client, middle=WHITE, around=GREEN))
            await client.close()

    asyncio.run(scenario())


def test_a_second_publisher_is_refused_when_there_is_room_for_one() -> None:
    async def scenario() -> None:
        async with serving(with_limits(publishers=1)) as room:
            client, other = Client(), Client()
            await client.publish(room, Camera(disc(WHITE)))
            other.connection.addTrack(Camera(disc(CYAN)))

            response = await room.client.post("/api/sessions", json={"type": "offer", "sdp": await other.offer()})

            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            assert "found 1 of 1" in (await response.json())["error"]
            assert room.studio.refused == 1
            await client.close()
            await other.close()

    asyncio.run(scenario())


def test_sound_goes_through_as_the_packets_it_came_in() -> None:
    async def scenario() -> None:
        async with serving() as room:
            publisher, viewer = Client(), Client()
            publisher.connection.addTrack(Tone())
            answered = await publisher.publish(room, Camera(disc(WHITE)))
            viewer.connection.addTransceiver("audio", direction="recvonly")
            heard = listen(viewer)
            await viewer.watch(room, answered["watch"])

            await until(lambda: len(heard) > 40)

            assert only(room).sound.passed >= len(heard)
            assert np.median(heard[20:]) > 1000  # of 32768: the tone, not silence
            await publisher.close()
            await viewer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("order", ["publisher first", "viewer first"])
def test_all_is_freed_when_everybody_has_left(order: str) -> None:
    async def scenario() -> None:
        async with serving(with_limits(resume_wait=0.0)) as room:
            publisher, viewer = Client(), Client()
            answered = await publisher.publish(room, Camera(disc(WHITE)))
            where = await viewer.watch(room, answered["watch"])
            await until(lambda: shows(viewer, middle=WHITE, around=GREEN))

            if order == "viewer first":
                assert (await room.client.delete(where)).status == 200
                await until(lambda: only(room).viewers == 0)
            await room.client.delete(f"/api/sessions/{answered['id']}")

            await until(lambda: room.studio.peers == 0)
            assert room.studio.broadcasts == ()
            await publisher.close()
            await viewer.close()

    asyncio.run(scenario())


def listen(client: Client) -> list[float]:
    """Returns the list that fills with the loudness of every piece of sound that the client hears."""
    heard: list[float] = []

    async def follow(track: Any) -> None:
        try:
            while True:
                frame = await track.recv()
                heard.append(float(np.abs(frame.to_ndarray().astype(float)).mean()))
        except MediaStreamError:
            pass

    def on_track(track: Any) -> None:
        if track.kind == "audio":
            client.watching.append(asyncio.create_task(follow(track)))

    client.connection.remove_all_listeners("track")
    client.connection.on("track", on_track)
    return heard


class Tone(MediaStreamTrack):
    """440 Hz, 50 pieces a second."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._at = 0

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(0.02)
        wave = 12_000 * np.sin(2 * np.pi * 440 * (self._at + np.arange(960)) / 48_000)
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._at, Fraction(1, 48_000)
        self._at += 960
        return frame
