"""Who may in: the token, the key of the address, viewing keys; guessing is slowed down, and no secret is told."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from rtmatte.serve.access import COOKIE, Access, new_token
from rtmatte.serve.options import IceServer
from tests.serving import LIMITS, OPTIONS, Client, Room, serving
from tests.whip import OBS_OFFER

TOKEN = "0123456789abcdef0123456789abcdef"
LOCKED = replace(OPTIONS, token=TOKEN)


def bearer(key: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"Authorization": f"Bearer {key}"}


async def published(room: Room) -> dict[str, Any]:
    """A session by an offer that nobody follows up, as the server answers it."""
    given = {"type": "offer", "sdp": OBS_OFFER}
    response = await room.client.post("/api/sessions", json=given, headers=bearer(TOKEN))
    assert response.status == 201, await response.text()
    answered: dict[str, Any] = await response.json()
    return answered


@pytest.mark.parametrize("path", ["/api/server", "/metrics", "/healthz", "/api/openapi.json", "/api/sessions/x"])
def test_nothing_but_the_page_is_shown_without_the_token(path: str) -> None:
    async def scenario() -> None:
        async with serving(LOCKED) as room:
            refused = await room.client.get(path)
            wrong = await room.client.get(path, headers=bearer("x" * 32))
            right = await room.client.get(path, headers=bearer(TOKEN))

            assert refused.status == wrong.status == 401
            assert refused.headers["WWW-Authenticate"].startswith("Bearer")
            assert right.status not in (401, 403)

    asyncio.run(scenario())


def test_the_key_of_the_address_logs_in_once_and_the_token_always() -> None:
    async def scenario() -> None:
        async with serving(LOCKED) as room:
            key = room.access.key
            first = await room.client.post("/api/login", json={"key": key})
            assert first.status == 204
            cookie = first.headers["Set-Cookie"]
            assert cookie.startswith(f"{COOKIE}=")
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert (await room.client.get("/api/server")).status == 200  # the client keeps the cookie
            assert (await room.client.post("/api/login", json={"key": key})).status == 401
            assert (await room.client.post("/api/login", json={"key": TOKEN})).status == 204
            for wrong in ("", None, 1, "x" * 32):
                assert (await room.client.post("/api/login", json={"key": wrong})).status == 401

    asyncio.run(scenario())


def test_a_viewing_key_lets_somebody_watch_its_stream_and_do_nothing_else() -> None:
    async def scenario() -> None:
        async with serving(LOCKED) as room:
            one, two = await published(room), await published(room)
            key = bearer(one["viewing_key"])
            offer = {"Content-Type": "application/sdp", **key}
            viewer = Client()
            viewer.connection.addTransceiver("video", direction="recvonly")
            wanted = await viewer.offer()

            async def status(method: str, path: str, **given: Any) -> int:
                return int((await room.client.request(method, path, **({"headers": key} | given))).status)

            created = await room.client.post(f"/whep/{one['watch']}", data=wanted, headers=offer)
            assert created.status == 201
            place = created.headers["Location"]
            assert one["viewing_key"] not in str(created.headers) + await created.text()
            assert await status("DELETE", place) == 200
            for path in (f"/whep/{two['watch']}", "/whep", "/whep/", "/whip", f"/whep/{one['id']}"):
                assert await status("POST", path, data=wanted, headers=offer) == 401, path
            session = f"/api/sessions/{one['id']}"
            for path in ("/api/server", "/api/sessions", session, f"{session}/settings", f"{session}/events"):
                assert await status("GET", path) == 401, path
            assert await status("GET", f"{session}/frame.jpg?view=original") == 401
            assert await status("DELETE", session) == 401
            assert await status("DELETE", f"/whip/{one['id']}") == 401
            assert await status("POST", "/api/login", json={"key": one["viewing_key"]}) == 401
            assert await status("GET", "/metrics") == 401
            await viewer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer x", "Basic {key}", "{key}", "Bearer {key}x", "Bearer \u2028"])
def test_without_its_very_key_a_stream_is_not_watched(given: str) -> None:
    async def scenario() -> None:
        async with serving(LOCKED) as room:
            stream = await published(room)
            headers = {"Content-Type": "application/sdp", "Authorization": given.format(key=stream["viewing_key"])}

            response = await room.client.post(f"/whep/{stream['watch']}", data="v=0", headers=headers)

            assert response.status in (400, 401) if not given.isascii() else response.status == 401

    asyncio.run(scenario())


def test_a_viewing_key_ends_with_its_session_and_is_random() -> None:
    async def scenario() -> None:
        async with serving(LOCKED) as room:
            one, two = await published(room), await published(room)
            assert len({one["viewing_key"], one["watch"], one["id"], two["viewing_key"]}) == 4
            assert len(one["viewing_key"]) >= 32  # 192 bits

            await room.client.delete(f"/api/sessions/{one['id']}", headers=bearer(TOKEN))

            headers = {"Content-Type": "application/sdp", **bearer(one["viewing_key"])}
            assert (await room.client.post(f"/whep/{one['watch']}", data="v=0", headers=headers)).status == 401

    asyncio.run(scenario())


def test_guessing_viewing_keys_is_slowed_down_and_no_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving(replace(LOCKED, limits=replace(LIMITS, logins_per_minute=3))) as room:
            stream = await published(room)
            (broadcast,) = room.studio.broadcasts
            path = f"/whep/{stream['watch']}"
            with caplog.at_level(logging.DEBUG):
                statuses = [
                    (await room.client.request(method, path, headers=bearer("x" * 32))).status
                    for method in ("POST", "OPTIONS", "PATCH", "POST")
                ]
                await room.client.options(path, headers=bearer(stream["viewing_key"]))

            assert statuses == [401, 401, 401, 429]
            assert stream["viewing_key"] not in caplog.text + repr(broadcast) + repr(vars(room.access))

    asyncio.run(scenario())


def test_relays_are_told_to_who_has_the_key_before_it_offers() -> None:
    relay = IceServer("stun:127.0.0.1:9")

    async def scenario() -> None:
        async with serving(replace(LOCKED, ice_servers=(relay,))) as room:
            broadcast = room.studio._new_broadcast("page")
            path = f"/whep/{broadcast.watch}"

            allowed = await room.client.options(path, headers=bearer(broadcast.viewing_key))
            refused = await room.client.options(path)

            assert allowed.headers["Link"] == '<stun:127.0.0.1:9>; rel="ice-server"'
            assert "Link" not in refused.headers

    asyncio.run(scenario())


def test_guessing_tokens_is_slowed_down() -> None:
    async def scenario() -> None:
        async with serving(replace(LOCKED, limits=replace(LIMITS, logins_per_minute=3))) as room:
            statuses = [(await room.client.get("/api/server")).status for _ in range(5)]

            assert statuses == [401, 401, 401, 429, 429]
            right = await room.client.get("/api/server", headers=bearer(TOKEN))
            assert right.status == 200  # who knows the token does not wait for those who guess

    asyncio.run(scenario())


def test_secrets_are_in_no_repr() -> None:
    options = replace(LOCKED, ice_servers=(IceServer("turn:relay:1", "user", "password-of-the-relay"),))

    assert TOKEN not in repr(options)
    assert "password-of-the-relay" not in repr(options)
    assert TOKEN not in repr(Access(TOKEN))
    assert len({new_token() for _ in range(10)}) == 10
    assert len(new_token()) >= 43  # 256 bits
