"""Many peers: they come and go without a trace, and more of them than there is room for harm nobody."""

from __future__ import annotations

import asyncio
import gc
import threading

import numpy as np
import psutil
import pytest

from tests.serving import Camera, Client, Room, disc, pool_size, serving, until, with_limits

pytestmark = [pytest.mark.serve, pytest.mark.timeout(900)]

WHITE = (255, 255, 255)
CYCLES = 400  # so many that a heap which grows once, by some 25 MB, is told from a leak
WARM_UP = 100  # visits until the pools of threads and memory have their size
LEAK = 0.1e6  # bytes a visit


def test_four_hundred_peers_that_come_and_go_leave_nothing_behind() -> None:
    async def scenario() -> None:
        async with serving(with_limits(resume_wait=0.0)) as room:
            await _fill_pool()
            for _ in range(WARM_UP):
                await _one_visit(room)
            before = await _held()

            for _ in range(CYCLES):
                await _one_visit(room)

            after = await _held()
            leak = (after["memory"] - before["memory"]) / CYCLES
            print(f"{leak / 1e3:.0f} kB a visit")
            assert leak <= LEAK, (before, after)
            assert (after["tasks"], after["files"]) == (before["tasks"], before["files"])
            assert after["threads"] <= before["threads"]
            assert room.studio.peers == 0

    asyncio.run(scenario())


def test_of_fifty_at_once_as_many_as_fit_are_admitted_and_the_rest_refused_within_a_second() -> None:
    async def scenario() -> None:
        async with serving(with_limits(publishers=2)) as room:
            offers = [await _offer() for _ in range(48)]
            admitted = [Client(), Client()]
            for client in admitted:
                await client.publish(room, Camera(disc(WHITE), fps=15))
            await until(lambda: all(client.seen > 30 for client in admitted))
            calm = _latency(room)

            times = await asyncio.gather(*(_refused(room, offer) for offer in offers))

            assert max(times) < 1.0, sorted(times)[-3:]
            seen = [client.seen for client in admitted]
            await until(lambda: all(client.seen > before + 30 for client, before in zip(admitted, seen, strict=True)))
            assert _latency(room) <= 2 * calm
            assert room.studio.publishers == room.studio.peers == 2
            assert room.studio.refused == 48
            for client in admitted:
                await client.close()

    asyncio.run(scenario())


async def _one_visit(room: Room) -> None:
    client = Client()
    answered = await client.publish(room, Camera(disc(WHITE)))
    await until(lambda: client.seen > 0)
    await room.client.delete(f"/api/sessions/{answered['id']}")
    await client.close()
    await until(lambda: room.studio.peers == 0)


async def _fill_pool() -> None:
    """Lets the loop's own pool make all of its threads, which it does one by one otherwise, whenever none is free."""
    barrier = threading.Barrier(pool_size())
    await asyncio.gather(*(asyncio.to_thread(barrier.wait, 10) for _ in range(pool_size())))


async def _held() -> dict[str, float]:
    await asyncio.sleep(1.0)  # encoders and sockets end a moment after those who used them
    gc.collect()
    process = psutil.Process()
    return {
        "memory": process.memory_info().rss,
        "tasks": len(asyncio.all_tasks()),
        "files": process.num_fds(),
        "threads": process.num_threads(),
    }


async def _offer() -> str:
    client = Client()
    client.connection.addTransceiver("video", direction="sendonly")
    offer = await client.offer()
    await client.close()
    return offer


async def _refused(room: Room, offer: str) -> float:
    """Returns the seconds that a refusal took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    response = await room.client.post("/api/sessions", json={"type": "offer", "sdp": offer})
    assert response.status == 503
    assert response.headers["Retry-After"]
    return loop.time() - began


def _latency(room: Room) -> float:
    """Returns the p95 of the streams on air, in milliseconds, at least one: what is measured here is not the clock."""
    found = [each.line.status.latency for each in room.studio.broadcasts if each.line is not None]
    return float(np.max([max(1.0, latency.p95) for latency in found if latency is not None]))
