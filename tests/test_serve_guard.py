"""What a request has to pass: Host, Origin, rates and sizes; and how little an error tells."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmatte.clock import ManualClock
from rtmatte.errors import InputError
from rtmatte.serve.limits import RateLimit
from rtmatte.serve.options import IceServer, Limits, ServeOptions
from tests.serving import OPTIONS, serving, with_limits


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8080", 200),
        ("localhost:1", 200),
        ("[::1]:8080", 200),
        ("192.168.1.20:8080", 200),  # an address names itself; only names can be made to point elsewhere
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8080", 403),
        ("", 403),
        ("[", 403),
    ],
)
def test_only_hosts_that_are_ours_are_answered(host: str, status: int) -> None:
    async def scenario() -> None:
        async with serving() as room:
            assert (await room.client.get("/api/server", headers={"Host": host})).status == status

    asyncio.run(scenario())


def test_a_name_that_the_operator_gave_is_ours_too() -> None:
    async def scenario() -> None:
        async with serving(replace(OPTIONS, names=("Studio.example",))) as room:
            assert (await room.client.get("/api/server", headers={"Host": "studio.example:8080"})).status == 200

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/api/sessions", "/whip", "/api/login"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", ""])
def test_other_sites_may_not_send_anything(path: str, origin: str) -> None:
    async def scenario() -> None:
        async with serving() as room:
            response = await room.client.post(path, headers={"Origin": origin})

            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers

    asyncio.run(scenario())


def test_other_sites_may_not_open_the_websocket_nor_ask_without_an_origin() -> None:
    async def scenario() -> None:
        async with serving() as room:
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": "http://evil.example"}
            assert (await room.client.get("/api/sessions/x/events", headers=upgrade)).status == 403
            crossed = {"Sec-Fetch-Site": "cross-site"}
            assert (await room.client.get("/api/server", headers=crossed)).status == 403
            assert (await room.client.post("/whip", headers=crossed)).status == 403
            assert (await room.client.get("/", headers=crossed)).status in (200, 404)  # a link to the page is none

    asyncio.run(scenario())


def test_our_own_page_and_allowed_sites_may() -> None:
    async def scenario() -> None:
        async with serving(replace(OPTIONS, origins=("https://friend.example",))) as room:
            own = {"Origin": f"http://127.0.0.1:{room.port}"}
            friend = {"Origin": "https://friend.example"}
            assert (await room.client.get("/api/server", headers=own)).status == 200
            response = await room.client.options("/whip", headers=friend)
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == "https://friend.example"
            assert "Location" in response.headers["Access-Control-Expose-Headers"]
            assert "Authorization" in response.headers["Access-Control-Allow-Headers"]

    asyncio.run(scenario())


def test_publishing_often_from_one_address_is_slowed_down() -> None:
    async def scenario() -> None:
        async with serving(with_limits(requests_per_second=0.2)) as room:
            statuses = [(await room.client.post("/whip")).status for _ in range(4)]

            assert statuses == [415, 415, 429, 429]

    asyncio.run(scenario())


def test_bodies_have_a_type_a_size_and_a_time() -> None:
    async def scenario() -> None:
        async with serving(with_limits(body_wait=0.3)) as room:
            large = await room.client.post(
                "/api/sessions", data=b"x" * 70_000, headers={"Content-Type": "application/json"}
            )
            assert large.status == 413
            other = await room.client.post("/api/sessions", data=b"{}", headers={"Content-Type": "text/plain"})
            assert other.status == 415
            for body in (b"", b"[]", b"{", b"nul", b"[" * 60_000, b"\xff\xfe"):
                response = await room.client.post(
                    "/api/sessions", data=body, headers={"Content-Type": "application/json"}
                )
                assert response.status == 400, body[:20]
            reader, writer = await asyncio.open_connection("127.0.0.1", room.port)
            writer.write(b"POST /whip HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/sdp\r\n")
            writer.write(b"Content-Length: 100\r\n\r\nv")
            assert b" 408 " in await asyncio.wait_for(reader.readline(), 5)
            writer.close()

    asyncio.run(scenario())


@given(st.text(max_size=60))
def test_a_path_never_leaves_the_page(path: str) -> None:
    from rtmatte.serve.app import PAGE, PageFiles

    page = PageFiles(PAGE)

    if page.has(f"/{path}"):
        assert (PAGE / (path or "index.html")).resolve().is_relative_to(PAGE.resolve())


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/..%2f..%2fetc/passwd", "/%2e%2e/app.py", "/page/../app.py", "/app.py", "/%00"]
)
def test_paths_outside_the_page_are_not_found(path: str) -> None:
    async def scenario() -> None:
        async with serving() as room:
            reader, writer = await asyncio.open_connection("127.0.0.1", room.port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()

            assert answer.split()[1] in (b"404", b"400")

    asyncio.run(scenario())


def test_every_response_is_dressed_for_safety() -> None:
    async def scenario() -> None:
        async with serving() as room:
            for path in ("/api/server", "/nothing", "/whip"):
                headers = (await room.client.get(path)).headers

                assert "script-src 'self'" in headers["Content-Security-Policy"]
                assert "unsafe" not in headers["Content-Security-Policy"]
                assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
                assert headers["X-Content-Type-Options"] == "nosniff"
                assert headers["Referrer-Policy"] == "no-referrer"

    asyncio.run(scenario())


def test_a_mistake_of_ours_is_a_number_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving() as room:

            async def fail(*anything: object, **more: object) -> None:
                raise ZeroDivisionError("a secret detail")

            vars(room.studio)["publish"] = fail
            with caplog.at_level(logging.ERROR):
                response = await room.client.post("/api/sessions", json={"type": "offer", "sdp": "v=0"})

            assert response.status == 500
            text = await response.text()
            assert "secret" not in text
            assert "Traceback" not in text
            assert "secret" in caplog.text
            assert "rtmatte_faults_total 1" in await (await room.client.get("/metrics")).text()

    asyncio.run(scenario())


def test_rates_are_counted_by_address_and_recover() -> None:
    clock = ManualClock()
    limit = RateLimit(2.0, 2.0, clock)

    assert [limit.take("a") for _ in range(3)] == [0.0, 0.0, 0.5]
    assert limit.take("b") == 0.0
    clock.advance(0.5)
    assert limit.take("a") == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "0.0.0.0"},
        {"token": "short"},
        {"port": 70_000},
        {"bit_rate": 1},
        {"certificate": "cert.pem"},
        {"relay_only": True},
    ],
)
def test_options_that_are_unsafe_or_contradict_each_other_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ServeOptions(**wrong)


@pytest.mark.parametrize("text", ["", "relay:3478", "turn:relay:3478", "turn:relay:3478,user", "http://relay"])
def test_ice_servers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        IceServer.parse(text)


def test_the_limits_of_sessions_are_those_promised() -> None:
    assert (Limits().body, Limits().header_wait, Limits().body_wait) == (65_536, 5.0, 10.0)
