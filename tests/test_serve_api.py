"""The control API and the WebSocket of a server; and its process, from the first line to the last."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
import urllib.request

import cv2
import numpy as np
import pytest

from tests.serving import GREEN, RED, SIZE, WHITE, Camera, Client, disc, on_air, serving, shows, until
from tests.whip import OBS_OFFER


def test_settings_and_backgrounds_change_the_picture_that_is_sent() -> None:
    async def scenario() -> None:
        async with serving() as room:
            client, session = await on_air(room)

            response = await room.client.patch(f"{session}/settings", json={"background": "#ff0000"})
            assert response.status == 200
            await until(lambda: shows(client, middle=WHITE, around=RED))

            _, png = cv2.imencode(".png", np.full((60, 80, 3), (255, 255, 0), np.uint8))  # BGR: cyan
            response = await room.client.put(
                f"{session}/background", data=png.tobytes(), headers={"Content-Type": "image/png"}
            )
            assert response.status == 200, await response.text()
            await until(lambda: shows(client, middle=WHITE, around=(0, 255, 255)))
            assert "/" not in (await response.json())["background"]
            await client.close()

    asyncio.run(scenario())


def test_the_privacy_button_hides_everybody() -> None:
    async def scenario() -> None:
        async with serving() as room:
            client, session = await on_air(room)

            await room.client.patch(f"{session}/settings", json={"privacy": True})

            await until(lambda: shows(client, middle=GREEN, around=GREEN))
            await client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "settings", None, 200),
        ("GET", "status", None, 200),
        ("PATCH", "settings", {"despill": 0.5}, 200),
        ("PATCH", "settings", {"despill": 5}, 400),
        ("PATCH", "settings", {"background": "/etc/passwd"}, 400),
        ("PATCH", "settings", {"background": "../../clip.mp4"}, 400),
        ("POST", "target", {"kind": "person"}, 202),
        ("POST", "target", {"kind": "pick", "points": [{"x": 0.5, "y": 0.5, "wanted": True}], "box": None}, 202),
        ("POST", "target/undo", None, 202),
        ("POST", "reseed", None, 202),
        ("POST", "record", {"on": True}, 409),
        ("POST", "record", {"on": True, "path": "x"}, 409),
        ("DELETE", "settings", None, 405),
        ("GET", "nothing", None, 404),
    ],
)
def test_every_kind_of_request_has_its_answer(method: str, path: str, body: object, status: int) -> None:
    async def scenario() -> None:
        async with serving() as room:
            client = Client()
            answered = await client.publish(room, Camera(disc(WHITE)))

            response = await room.client.request(method, f"/api/sessions/{answered['id']}/{path}", json=body)

            assert response.status == status, await response.text()
            assert response.content_type == "application/json"
            await client.close()

    asyncio.run(scenario())


def test_a_frame_can_be_asked_for() -> None:
    async def scenario() -> None:
        async with serving() as room:
            client, session = await on_air(room)
            body = b""
            async with asyncio.timeout(10):
                while not body:  # a view is kept up only while somebody asks
                    response = await room.client.get(f"{session}/frame.jpg?view=matte")
                    body = await response.read() if response.status == 200 else b""

            picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_GRAYSCALE)

            assert picture is not None
            assert picture.shape == SIZE[::-1]
            assert picture[60, 80] > 240
            assert picture[5, 5] < 15
            await client.close()

    asyncio.run(scenario())


def test_a_session_is_controlled_by_its_own_id_alone() -> None:
    async def scenario() -> None:
        async with serving() as room:
            client = Client()
            answered = await client.publish(room, Camera(disc(WHITE)))

            for id in (answered["watch"], "", "x", answered["id"][:-1]):
                assert (await room.client.get(f"/api/sessions/{id}/settings")).status == 404
                assert (await room.client.delete(f"/whip/{id}")).status in (404, 405)
            await client.close()

    asyncio.run(scenario())


def test_the_sessions_are_listed_for_who_may_steer_them() -> None:
    async def scenario() -> None:
        async with serving() as room:
            assert await (await room.client.get("/api/sessions")).json() == {"sessions": []}
            client, session = await on_air(room)
            obs = {"Content-Type": "application/sdp", "User-Agent": "Mozilla/5.0 (OBS-Studio/30.2.2; Linux x86_64)"}
            sent = await room.client.post("/whip", data=OBS_OFFER, headers=obs)

            mine, other = (await (await room.client.get("/api/sessions")).json())["sessions"]

            assert session == f"/api/sessions/{mine['id']}"
            assert mine == await (await room.client.get(session)).json() | {"seconds": mine["seconds"]}
            assert (mine["sender"], mine["state"], mine["size"]) == ("page", "live", list(SIZE))
            assert (other["sender"], other["state"], other["size"]) == ("OBS", "connecting", None)
            assert sent.headers["Location"] == f"/whip/{other['id']}"
            steered = await room.client.patch(f"/api/sessions/{other['id']}/settings", json={"background": "#ff0000"})
            assert steered.status == 200
            await client.close()

    asyncio.run(scenario())


def test_the_status_says_what_encodes() -> None:
    async def scenario() -> None:
        async with serving() as room:
            client, session = await on_air(room)

            encoders = (await (await room.client.get(session)).json())["encoders"]

            assert encoders in ({"VP8": "libvpx"}, {"H264": encoders.get("H264", "")})
            assert all(encoders.values())
            await client.close()

    asyncio.run(scenario())


def test_two_pages_are_kept_in_step() -> None:
    async def scenario() -> None:
        async with serving() as room:
            client, session = await on_air(room)
            one = await room.client.ws_connect(f"{session}/events")
            two = await room.client.ws_connect(f"{session}/events")
            assert (await one.receive_json())["settings"]["background"] == "green"

            await one.send_json({"change": {"edge_shift": 1.5}})

            async with asyncio.timeout(10):
                told = await two.receive_json()
                while told.get("settings", {}).get("edge_shift") != 1.5:
                    told = await two.receive_json()
                while "status" not in told:
                    told = await two.receive_json()
            assert told["status"]["phase"] == "tracking"
            assert told["status"]["state"] == "live"
            await one.close()
            await two.close()
            await client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("message", ["", "x", "[]", "{}", '{"change": 1}', '{"command": "rm"}', '{"change": {"a": 1}}'])
def test_a_message_that_means_nothing_is_answered_by_an_error(message: str) -> None:
    async def scenario() -> None:
        async with serving() as room:
            client = Client()
            answered = await client.publish(room, Camera(disc(WHITE)))
            socket = await room.client.ws_connect(f"/api/sessions/{answered['id']}/events")

            await socket.send_str(message)

            async with asyncio.timeout(10):
                while "error" not in (told := await socket.receive_json()):
                    pass
            assert told["error"].startswith("expected")
            await socket.close()
            await client.close()

    asyncio.run(scenario())


def test_a_page_that_floods_is_cut_off_and_the_stream_goes_on() -> None:
    async def scenario() -> None:
        async with serving() as room:
            client, session = await on_air(room)
            socket = await room.client.ws_connect(f"{session}/events")

            for _ in range(300):
                await socket.send_str('{"command": "reseed"}')

            async with asyncio.timeout(10):
                while not socket.closed:
                    await socket.receive()
            assert socket.close_code == 1008
            seen = client.seen
            await until(lambda: client.seen > seen + 5)
            await client.close()

    asyncio.run(scenario())


def test_the_api_is_described_with_the_paths_it_has_here() -> None:
    async def scenario() -> None:
        async with serving() as room:
            described = await (await room.client.get("/api/openapi.json")).json()

            assert described["openapi"].startswith("3.")
            operation = described["paths"]["/api/sessions/{id}/settings"]["get"]
            assert operation["parameters"][0]["name"] == "id"
            assert "get" in described["paths"]["/api/sessions"]

    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process at once there")
def test_the_command_serves_until_it_is_told_to_end() -> None:
    command = [sys.executable, "-m", "rtmatte", "serve", "--port", "0", "--host", "0.0.0.0", "--token", "t" * 32]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    port = re.search(r":(\d+)/", line)
    assert port, line
    request = urllib.request.Request(
        f"http://127.0.0.1:{port[1]}/api/server", headers={"Authorization": "Bearer " + "t" * 32}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        assert b'"model": "lite"' in response.read()

    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)

    assert process.returncode == 143
    assert time.monotonic() - began < 10  # two seconds on a machine of its own
    assert "t" * 32 not in line + out + err
    assert "without --cert" in err
    assert "Traceback" not in err
