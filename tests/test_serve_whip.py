"""WHIP (RFC 9725) and WHEP byte by byte, by a client that shares nothing with the server, and what OBS 30 asks for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aioice import stun

from rtmatte.serve.offer import with_start_bit_rate
from rtmatte.serve.options import IceServer
from rtmatte.serve.whip import link
from tests.serving import LIMITS, OPTIONS, WHITE, Camera, Client, disc, serving, until
from tests.whip import FRAGMENT, OBS_OFFER, SDP, ask


class Mirror(asyncio.DatagramProtocol):
    """A STUN server: tells everybody their own address."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        asked = stun.parse_message(data)
        answer = stun.Message(
            message_method=asked.message_method,
            message_class=stun.Class.RESPONSE,
            transaction_id=asked.transaction_id,
        )
        answer.attributes["XOR-MAPPED-ADDRESS"] = addr
        self._transport.sendto(bytes(answer), addr)


def test_a_publisher_gets_created_a_location_an_etag_and_an_answer() -> None:
    async def scenario() -> None:
        async with serving() as room:
            answer = await ask(room, "POST", "/whip", OBS_OFFER, Content_Type=SDP)

            assert answer.status == 201
            assert answer["Content-Type"] == SDP
            assert answer["Location"].startswith("/whip/")
            assert answer["ETag"].startswith('"')
            assert answer["Accept-Patch"] == FRAGMENT
            lines = answer.body.decode().split("\r\n")
            assert lines[0] == "v=0"
            assert sum(line.startswith("m=") for line in lines) == 2
            assert lines.count("a=recvonly") == 2
            assert lines.count("a=setup:active") == 2
            assert any(line.startswith("a=candidate:") for line in lines)

    asyncio.run(scenario())


def test_ending_is_answered_by_200_and_again_by_200() -> None:
    async def scenario() -> None:
        async with serving() as room:
            where = (await ask(room, "POST", "/whip", OBS_OFFER, Content_Type=SDP))["Location"]

            assert [(await ask(room, "DELETE", where)).status for _ in range(2)] == [200, 200]

            assert (await ask(room, "DELETE", "/whip/nobody")).status == 404
            assert room.studio.publishers == room.studio.peers == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/whip", "/whep", "/whep/anything"])
def test_options_say_what_is_taken(path: str) -> None:
    async def scenario() -> None:
        async with serving() as room:
            answer = await ask(room, "OPTIONS", path)

            assert answer.status == 204
            assert answer["Accept-Post"] == SDP
            assert answer["Allow"] == "OPTIONS, POST"
            assert not answer.has("Access-Control-Allow-Origin")

    asyncio.run(scenario())


def test_trickled_candidates_are_taken_by_their_etag() -> None:
    async def scenario() -> None:
        async with serving() as room:
            created = await ask(room, "POST", "/whip", OBS_OFFER, Content_Type=SDP)
            where, tag = created["Location"], created["ETag"]
            candidate = "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"
            fragment = f"a=ice-ufrag:ufrg\r\na=ice-pwd:x\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n{candidate}"

            statuses = [
                (await ask(room, "PATCH", where, fragment, Content_Type=FRAGMENT, If_Match=match)).status
                for match in (tag, '"other"', "*")
            ]

            assert statuses == [204, 412, 422]
            assert (await ask(room, "PATCH", where, "a=end-of-candidates\r\n", Content_Type=FRAGMENT)).status == 204
            assert (await ask(room, "PATCH", where, "a=candidate:rubbish", Content_Type=FRAGMENT)).status == 400
            assert (await ask(room, "PATCH", where, fragment, Content_Type="text/plain")).status == 415

    asyncio.run(scenario())


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
@pytest.mark.parametrize("path", ["/whip", "/whip/x", "/whep"])
def test_other_methods_are_not_allowed(method: str, path: str) -> None:
    async def scenario() -> None:
        async with serving() as room:
            answer = await ask(room, method, path)

            assert answer.status == 405
            assert "OPTIONS" in answer["Allow"]

    asyncio.run(scenario())


def test_an_offer_of_another_type_is_415_and_no_offer_is_400() -> None:
    async def scenario() -> None:
        async with serving() as room:
            assert (await ask(room, "POST", "/whip", OBS_OFFER, Content_Type="text/plain")).status == 415
            for body in ("", "v=0", "hello", OBS_OFFER.replace("ice-ufrag", "x"), OBS_OFFER.replace("a=rtcp-mux", "")):
                assert (await ask(room, "POST", "/whip", body, Content_Type=SDP)).status == 400

    asyncio.run(scenario())


@pytest.mark.parametrize("codec", ["AV1/90000", "H265/90000", "VP9/90000"])
def test_a_codec_that_cannot_be_decoded_is_refused_in_a_plain_sentence(codec: str) -> None:
    async def scenario() -> None:
        async with serving() as room:
            answer = await ask(room, "POST", "/whip", OBS_OFFER.replace("H264/90000", codec), Content_Type=SDP)

            assert answer.status == 406
            assert answer["Content-Type"].startswith("text/plain")
            assert codec.partition("/")[0] in answer.body.decode()
            assert "choose H.264" in answer.body.decode()
            assert room.studio.peers == 0

    asyncio.run(scenario())


def test_no_candidates_with_their_end_still_connects() -> None:
    """OBS sends none and finds us by its checks; the line that says there will be none must not end the attempt."""

    async def scenario() -> None:
        async with serving() as room:
            client = Client()
            client.connection.addTrack(Camera(disc(WHITE)))
            kept = [line for line in (await client.offer()).split("\r\n") if not line.startswith("a=candidate")]
            assert "a=end-of-candidates" in kept

            answer = await ask(room, "POST", "/whip", "\r\n".join(kept), Content_Type=SDP)
            await client.accept(answer.body.decode())

            await until(lambda: room.studio.broadcasts[0].received > 3)
            await client.close()

    asyncio.run(scenario())


def test_hidden_candidates_delay_nothing() -> None:
    async def scenario() -> None:
        async with serving() as room:
            hidden = "a=candidate:1 1 udp 2113937151 0b8a4f-not-there.local 50000 typ host"
            offer = OBS_OFFER.replace("a=mid:0", f"a=mid:0\r\n{hidden}")
            loop = asyncio.get_running_loop()
            began = loop.time()
            await ask(room, "POST", "/whip", OBS_OFFER, Content_Type=SDP)
            without = loop.time() - began

            answer = await ask(room, "POST", "/whip", offer, Content_Type=SDP)

            assert answer.status == 201
            assert loop.time() - began - without < without + 0.9  # resolving takes a second

    asyncio.run(scenario())


def test_a_viewer_gets_created_and_a_place_of_its_own() -> None:
    async def scenario() -> None:
        async with serving() as room:
            publisher, viewer = Client(), Client()
            answered = await publisher.publish(room, Camera(disc(WHITE)))
            viewer.connection.addTransceiver("video", direction="recvonly")

            answer = await ask(room, "POST", "/whep", await viewer.offer(), Content_Type=SDP)  # there is only one

            assert answer.status == 201
            assert answer["Location"].startswith(f"/whep/{answered['watch']}/")
            assert "a=sendonly" in answer.body.decode()
            assert answered["id"] not in str(answer)  # who watches does not control
            assert (await ask(room, "DELETE", answer["Location"])).status == 200
            assert (await ask(room, "DELETE", answer["Location"])).status == 200
            await publisher.close()
            await viewer.close()

    asyncio.run(scenario())


def test_watching_nobody_is_404_and_publishing_where_one_watches_is_400() -> None:
    async def scenario() -> None:
        async with serving() as room:
            assert (await ask(room, "POST", "/whep", OBS_OFFER, Content_Type=SDP)).status == 404
            assert (await ask(room, "POST", "/whep/x", OBS_OFFER, Content_Type=SDP)).status == 404
            await ask(room, "POST", "/whip", OBS_OFFER, Content_Type=SDP)

            assert (await ask(room, "POST", "/whep", OBS_OFFER, Content_Type=SDP)).status == 400
            watching = OBS_OFFER.replace("sendonly", "recvonly")
            assert (await ask(room, "POST", "/whip", watching, Content_Type=SDP)).status == 400

    asyncio.run(scenario())


def test_relays_are_told_in_link_headers_but_not_to_everybody() -> None:
    relay = IceServer("turn:relay.example:3478?transport=udp", "user", 'se"cret')

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Mirror, local_addr=("127.0.0.1", 0))
        url = f"stun:127.0.0.1:{transport.get_extra_info('sockname')[1]}"
        async with serving(replace(OPTIONS, ice_servers=(IceServer(url),), limits=LIMITS)) as room:
            created = await ask(room, "POST", "/whip", OBS_OFFER, Content_Type=SDP)
            described = await ask(room, "OPTIONS", "/whip")

            assert created["Link"] == f'<{url}>; rel="ice-server"'
            assert not described.has("Link")
        transport.close()

    asyncio.run(scenario())
    assert link(relay) == (
        '<turn:relay.example:3478?transport=udp>; rel="ice-server"; username="user"; credential="se\\"cret"; '
        'credential-type="password"'
    )


def test_the_answer_asks_a_browser_to_start_fast_and_nothing_else_of_it_changes() -> None:
    answer = "\r\n".join(
        [
            "m=audio 9 X 111",
            "a=rtpmap:111 opus/48000/2",
            "m=video 9 X 96 97 98",
            "a=rtpmap:96 VP8/90000",
            "a=rtpmap:97 rtx/90000",
            "a=fmtp:97 apt=96",
            "a=rtpmap:98 H264/90000",
            "a=fmtp:98 packetization-mode=1",
            "",
        ]
    )

    hinted = with_start_bit_rate(answer).split("\r\n")

    assert "a=fmtp:96 x-google-start-bitrate=2500" in hinted
    assert "a=fmtp:98 packetization-mode=1;x-google-start-bitrate=2500" in hinted
    assert "a=fmtp:97 apt=96" in hinted
    assert len(hinted) == len(answer.split("\r\n")) + 1
