"""Bad ways between peers: packets lost, late, out of order, or none for a second; and a relay as the only way.

The server and its peers are on two hosts, network namespaces of their own, whose only link is `network.weather`.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from rtmatte.serve.options import IceServer
from tests.network.hosts import ADDRESSES, PATIENCE, Hosts, NotAllowed, Running, two_hosts
from tests.network.server import PORT
from tests.serving import OPTIONS, WHITE, Camera, Client, disc, serving, until

pytestmark = [pytest.mark.serve, pytest.mark.timeout(300)]

TOKEN = "network-tests-network-tests-0123"
ROUGH, ARRIVE = 8.0, 0.6  # seconds; share of the pictures that reach the server, and of those from there the viewer
OUTAGES, OUTAGE, RECOVERY = 5, 1.0, 2.0
FREED = 5.0  # seconds until the place of a publisher that vanished is free
RELAY_USER, RELAY_PASSWORD = "rtmatte", "relay-password"


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    try:
        with two_hosts() as found:
            yield found
    except NotAllowed as reason:
        pytest.skip(f"network namespaces are not allowed here: {reason}")


class Broadcast:
    """A server on one host, its publisher and its viewer on the other, and when they had which picture."""

    def __init__(self, hosts: Hosts) -> None:
        address = f"http://{ADDRESSES['server']}:{PORT}"
        hosts.run("server", "-m", "tests.network.server", ADDRESSES["server"], TOKEN).await_line("open")
        self._counts = hosts.run("server", "-m", "tests.network.counts", address, TOKEN)
        self._peers = hosts.run("peers", "-m", "tests.network.peers", address, TOKEN)

    @property
    def sent(self) -> list[float]:
        return _times(self._peers, "sent ")

    @property
    def received(self) -> list[tuple[float, int]]:
        """When the server had decoded how many pictures."""
        return [(float(at), int(count)) for _, count, at in _said(self._counts, "received ")]

    @property
    def left(self) -> list[tuple[float, int]]:
        """When how many had left the line for the viewer."""
        return [(float(at), int(count)) for _, count, at in _said(self._counts, "left ")]

    @property
    def seen(self) -> list[float]:
        """When the viewer saw a picture."""
        return _times(self._peers, "seen ")

    @property
    def freed(self) -> list[float]:
        """When the server had no publisher."""
        return [float(at) for _, count, at in _said(self._counts, "publishers ") if count == "0"]

    def back_after(self, moment: float) -> tuple[float, float]:
        """Waits until three pictures came to the server and three to the viewer after `moment`; returns how long each
        took."""
        before = by(moment, self.received)
        try:
            wait_until(lambda: self.received[-1][1] >= before + 3 and sum(at > moment for at in self.seen) >= 3)
        except AssertionError as error:
            new = self.received[-1][1] - before, sum(at > moment for at in self.seen)
            raise AssertionError(f"since then {new[0]} pictures came to the server, {new[1]} to the viewer") from error
        arrived = next(at for at, count in self.received if count >= before + 3)
        return arrived - moment, [at for at in self.seen if at > moment][2] - moment


def test_pictures_go_on_through_loss_and_jitter(hosts: Hosts) -> None:
    broadcast = Broadcast(hosts)
    wait_until(lambda: len(broadcast.seen) > 30)

    began, _ = hosts.weather("rough")
    wait_until(lambda: time.monotonic() > began + ROUGH)
    ended, lost = hosts.weather("fair")

    sent, seen = (sum(began < at < ended for at in times) for times in (broadcast.sent, broadcast.seen))
    received, left = (by(ended, counts) - by(began, counts) for counts in (broadcast.received, broadcast.left))
    seconds = {int(at - began) for at in broadcast.seen if began < at < ended}
    print(f"of {sent} pictures {received} came to the server; of {left} from there {seen} to the viewer")
    print(f"{lost} packets lost; pictures in {len(seconds)} of {ROUGH:g} seconds")
    assert lost > 30
    assert received > ARRIVE * sent
    assert seen > ARRIVE * left
    assert len(seconds) > 0.75 * ROUGH


def test_pictures_are_back_within_two_seconds_of_an_outage(hosts: Hosts) -> None:
    broadcast = Broadcast(hosts)
    wait_until(lambda: len(broadcast.seen) > 30)
    took: list[tuple[float, float]] = []

    for _ in range(OUTAGES):
        out, _ = hosts.weather("cut")
        wait_until(partial(_is_past, out + OUTAGE))
        ended, _ = hosts.weather("rough")
        took.append(broadcast.back_after(ended))

    print(f"back after {OUTAGE:g} s without any, the server and the viewer, in seconds: {np.round(took, 2).tolist()}")
    assert np.sort(took, axis=0)[-2].max() <= RECOVERY  # one may lose its requests for a key frame, too


def test_the_place_of_a_publisher_that_vanishes_is_free_within_five_seconds(hosts: Hosts) -> None:
    broadcast = Broadcast(hosts)
    wait_until(lambda: len(broadcast.seen) > 30)

    vanished, _ = hosts.weather("cut")
    wait_until(lambda: any(at > vanished for at in broadcast.freed))

    assert min(at for at in broadcast.freed if at > vanished) - vanished <= FREED


def by(moment: float, counts: list[tuple[float, int]]) -> int:
    """Returns how many there were at that moment."""
    return max((count for at, count in counts if at <= moment), default=0)


def wait_until(fact: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def _is_past(moment: float) -> bool:
    return time.monotonic() > moment


def _said(running: Running, beginning: str) -> list[list[str]]:
    return [line.split() for line in list(running.lines) if line.startswith(beginning)]


def _times(running: Running, beginning: str) -> list[float]:
    return [float(words[-1]) for words in _said(running, beginning)]


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
