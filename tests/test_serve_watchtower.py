"""What an operator's tools look at: metrics for Prometheus, and health by a canary."""

from __future__ import annotations

import asyncio
import re

from tests.serving import SIZE, on_air, serving


def test_metrics_are_in_the_format_of_prometheus() -> None:
    async def scenario() -> None:
        async with serving() as room:
            client, _ = await on_air(room)

            response = await room.client.get("/metrics")

            text = await response.text()
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            for line in text.splitlines():
                assert line.startswith("#") or re.fullmatch(
                    r'[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? \S+', line
                ), line
            assert "rtmatte_publishers 1\n" in text
            assert re.search(r'rtmatte_pictures_sent_total\{stream="1"\} [1-9]', text)
            await client.close()

    asyncio.run(scenario())


def test_health_sends_a_canary_through_the_network() -> None:
    async def scenario() -> None:
        async with serving() as room:
            assert (await room.client.get("/healthz")).status == 503  # no network is open yet
            room.networks.engine(SIZE)
            await asyncio.sleep(2.1)  # for as long as an answer stands

            response = await room.client.get("/healthz")

            assert response.status == 200
            assert (await response.json())["canary_ms"] > 0

    asyncio.run(scenario())
