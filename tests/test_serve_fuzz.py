"""Requests and offers made of rubbish: none is a mistake of ours, and none leaves anything behind.

The fast suite takes 2,000; `make test-serve` takes 20,000 of another seed, or as many as MUTANTS says, from the first.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from aiortc.exceptions import InvalidStateError
from hypothesis import given
from hypothesis import strategies as st

from rtmatte.serve.offer import Offer
from rtmatte.serve.refusal import Refusal
from tests.serving import Room, pool_size, serving, until, with_limits
from tests.whip import FRAGMENT, OBS_OFFER, SDP

BROWSER_OFFER = OBS_OFFER.replace("a=sendonly", "a=sendrecv").replace(
    "a=group:LS 0 1", "a=extmap-allow-mixed"
) + "\r\n".join(
    [
        "a=rtpmap:97 VP8/90000",
        "a=rtcp-fb:97 goog-remb",
        "a=candidate:1 1 udp 2113937151 127.0.0.1 50000 typ host generation 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:2",
        "a=sctp-port:5000",
        "a=max-message-size:262144",
        "",
    ]
)
SEEDS = (OBS_OFFER, BROWSER_OFFER)
SPLINTERS: tuple[str, ...] = (
    "",
    "0",
    "-1",
    "65536",
    "99999999999999999999",
    "a=",
    "m=",
    ":",
    "/",
    " ",
    "\t",
    "\0",
    "é",
    "\u2028",
    "x" * 300,
)
SPLINTERS += ("m=video 9 UDP/TLS/RTP/SAVPF 96", "a=group:BUNDLE 9 9", "a=setup:holdconn", "a=fmtp:96 apt=96", "nan")
METHODS: tuple[str, ...] = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "LOCK")
PATHS: tuple[str, ...] = (
    "/",
    "/whip",
    "/whep",
    "/whip/x",
    "/whep/x/y",
    "/api/sessions",
    "/api/login",
    "/api/sessions/x/settings",
)
PATHS += ("/api/server", "/api/sessions/x/events", "/metrics", "/%2e%2e/%2e%2e/etc/passwd", "/whep/%00", "/x" * 200)
TYPES: tuple[str, ...] = (
    SDP,
    FRAGMENT,
    "application/json",
    "text/plain",
    "",
    ";;",
    "application/sdp; charset=nonsense",
)


def mutated(chance: random.Random) -> str:
    """An offer with some of its lines cut, doubled, exchanged, or with splinters in them."""
    lines = chance.choice(SEEDS).split("\r\n")
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(lines))
        match chance.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, chance.choice(lines))
            case 2:
                other = chance.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                fields = chance.choice((" ", ":", "=", "/", ";"))
                parts = lines[at].split(fields)
                parts[chance.randrange(len(parts))] = chance.choice(SPLINTERS)
                lines[at] = fields.join(parts)
            case 4:
                lines[at] = lines[at][: chance.randint(0, len(lines[at]))]
            case _:
                lines[at] = chance.choice(SPLINTERS)
        lines = lines or [""]
    return "\r\n".join(lines)


def outcome(text: str) -> int:
    """Returns the status of the refusal of an offer, 0 for one that is taken."""
    try:
        Offer.parse(text)
    except Refusal as refusal:
        return int(refusal.status)
    return 0


@given(st.text(max_size=400))
def test_any_text_is_an_offer_or_a_refusal(text: str) -> None:
    for offer in (text, f"v=0\r\n{text}", OBS_OFFER + text):
        assert outcome(offer) in (0, 400, 406, 413)


@given(st.randoms(use_true_random=False))
def test_any_mutant_is_an_offer_or_a_refusal(chance: random.Random) -> None:
    assert outcome(mutated(chance)) in (0, 400, 406, 413)


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda: "v=0\r\n" + "a=x\r\n" * 20_000, 413),
        (lambda: "v=0\r\n" + "m=video 9 X 96\r\n" * 9, 400),
        (lambda: OBS_OFFER + "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n" * 101, 400),
        (lambda: "v=0\r\n" + "a=\r\n" * 5_000, 400),
        (lambda: OBS_OFFER + OBS_OFFER[OBS_OFFER.index("m=video") :], 400),
    ],
)
def test_offers_that_are_too_much_are_refused_before_they_cost_anything(make: Callable[[], str], status: int) -> None:
    with pytest.raises(Refusal) as caught:
        Offer.parse(make())

    assert caught.value.status == status


def test_two_thousand_mutants_are_no_mistake_of_ours_and_leave_nothing_behind() -> None:
    asyncio.run(_fuzzed(2_000, random.Random(1)))


@pytest.mark.serve
@pytest.mark.timeout(900)
def test_twenty_thousand_mutants_are_no_mistake_of_ours_and_leave_nothing_behind() -> None:
    count = int(os.environ.get("RTMATTE_MUTANTS", "20000"))
    asyncio.run(_fuzzed(count, random.Random(2)))
    print(f"{count} requests, no answer of 500, nothing left")


async def _fuzzed(count: int, chance: random.Random) -> None:
    async with serving(with_limits(publishers=2, connect_wait=0.5, resume_wait=0.0)) as room:
        unheard: list[dict[str, Any]] = []  # what went wrong in a task that nobody waits for
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unheard.append(context))
        await _empty(room)
        before = _held(room)
        for number in range(count):
            status = await (_offer if number % 2 else _anything)(room, chance)
            assert status < 500 or status == 503, (number, status)
            if number % 50 == 0:
                await asyncio.gather(*(room.studio.end(each.id) for each in room.studio.broadcasts))
        await _empty(room)
        gc.collect()
        after = _held(room)

    # A peer that is ended while it connects: aiortc's own task finds the transport closed, and ends, too.
    assert [each for each in unheard if not isinstance(each.get("exception"), InvalidStateError)] == []
    assert after["peers"] == after["broadcasts"] == 0
    assert after["tasks"] <= before["tasks"] + 1  # the client's own connection
    assert after["files"] <= before["files"] + 2
    assert after["threads"] <= before["threads"] + pool_size()


async def _offer(room: Room, chance: random.Random) -> int:
    offer = mutated(chance)
    if chance.random() < 0.5:
        response = await room.client.post("/whip", data=offer.encode("utf-8", "replace"), headers={"Content-Type": SDP})
    else:
        response = await room.client.post("/api/sessions", json={"type": "offer", "sdp": offer})
    await response.read()
    return int(response.status)


async def _anything(room: Room, chance: random.Random) -> int:
    """One request over a socket of its own, whatever it may be; 0 when the server hung up on it."""
    body = chance.choice((b"", mutated(chance).encode(), chance.randbytes(60), b'{"type": "offer", "sdp": 1}', b"{}"))
    head = f"{chance.choice(METHODS)} {chance.choice(PATHS)} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    head += f"Content-Type: {chance.choice(TYPES)}\r\nContent-Length: {len(body)}\r\n"
    if chance.random() < 0.1:
        head += chance.choice(("Upgrade: websocket\r\nConnection: Upgrade\r\n", "Expect: 100-continue\r\n", "X\r\n"))
    if chance.random() < 0.2:
        head += f"{chance.choice(('If-Match', 'Origin', 'Authorization', 'Cookie'))}: {chance.choice(TYPES)}\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", room.port)
    try:
        writer.write(head.encode() + b"\r\n" + body)
        line = await asyncio.wait_for(reader.readline(), 10)
    except ConnectionError:
        line = b""
    finally:
        writer.close()
    return int(line.split()[1]) if line else 0


async def _empty(room: Room) -> None:
    await asyncio.gather(*(room.studio.end(each.id) for each in room.studio.broadcasts))
    await until(lambda: room.studio.peers == 0 and not room.studio.broadcasts)
    await asyncio.sleep(0.3)  # sockets and tasks that were closed are gone a turn of the loop later


def _held(room: Room) -> dict[str, Any]:
    """What the process and the server hold now."""
    process = psutil.Process()
    return {
        "peers": room.studio.peers,
        "broadcasts": len(room.studio.broadcasts),
        "tasks": len(asyncio.all_tasks()),
        "files": process.num_fds(),
        "threads": process.num_threads(),
    }
