"""What an operator's tools look at: /metrics for Prometheus, and /healthz, which sends a canary through a network."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import web

from rtmatte.errors import RtmatteError
from rtmatte.live import LiveStatus
from rtmatte.serve.broadcast import Broadcast
from rtmatte.serve.guard import Guard
from rtmatte.serve.refusal import Refusal
from rtmatte.serve.studio import Studio

CANARY_WAIT = 5.0  # seconds; a network that takes longer is stuck
CANARY_LASTS = 2.0  # seconds for which its answer stands, so that asking often costs nothing


class Canary(Protocol):
    """What is asked of the networks."""

    @property
    def step_seconds(self) -> float: ...

    def canary(self) -> float:
        """Returns the seconds it took; EngineError when it died."""
        ...


class Watchtower:
    """GET /metrics and GET /healthz."""

    def __init__(self, studio: Studio, networks: Canary, guard: Guard) -> None:
        self._studio, self._networks, self._guard = studio, networks, guard
        self._flight: asyncio.Task[float] | None = None
        self._landed = -CANARY_LASTS

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/healthz", self.health)

    async def metrics(self, request: web.Request) -> web.Response:
        text = "".join(self._lines())
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def health(self, request: web.Request) -> web.Response:
        """→ {"canary_ms"}; 503 when the network fails, or does not answer in time."""
        loop = asyncio.get_running_loop()
        if self._flight is None or (self._flight.done() and loop.time() - self._landed > CANARY_LASTS):
            self._flight = asyncio.create_task(asyncio.to_thread(self._networks.canary))
            self._flight.add_done_callback(self._land)
        try:
            seconds = await asyncio.wait_for(asyncio.shield(self._flight), CANARY_WAIT)
        except TimeoutError:
            sentence = f"expected the network's answer within {CANARY_WAIT:g} seconds, found none"
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, sentence) from None
        except RtmatteError as error:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        return web.json_response({"canary_ms": round(seconds * 1e3, 1)})

    def _land(self, flight: asyncio.Task[float]) -> None:
        self._landed = asyncio.get_running_loop().time()
        flight.cancelled() or flight.exception()  # heard, also when nobody waits any more

    def _lines(self) -> Iterator[str]:
        studio = self._studio
        yield from _metric("rtmatte_publishers", "gauge", "Publishers on air.", {"": studio.publishers})
        yield from _metric("rtmatte_publishers_limit", "gauge", "Publishers admitted.", {"": studio.capacity})
        yield from _metric("rtmatte_peers", "gauge", "Open peer connections.", {"": studio.peers})
        yield from _metric("rtmatte_refused_total", "counter", "Refused for want of room.", {"": studio.refused})
        yield from _metric("rtmatte_faults_total", "counter", "Requests that met a mistake.", {"": self._guard.faults})
        step = {"": self._networks.step_seconds}
        yield from _metric("rtmatte_network_step_seconds", "gauge", "Median of the last steps.", step)
        streams = [(f'stream="{number}"', each) for number, each in enumerate(studio.broadcasts, 1)]
        for name, kind, says in STREAM_METRICS:
            found = {label: value for label, each in streams for label, value in _of_stream(name, label, each)}
            yield from _metric(f"rtmatte_{name}", kind, says, found)


STREAM_METRICS = (
    ("viewers", "gauge", "Viewers of a stream."),
    ("pictures_received_total", "counter", "Pictures decoded."),
    ("pictures_sent_total", "counter", "Pictures that left the line."),
    ("pictures_dropped_total", "counter", "Pictures dropped, by reason."),
    ("pictures_encoded_total", "counter", "Pictures encoded, once per codec."),
    ("encoder_cpu_seconds_total", "counter", "Processor time of the encoders."),
    ("packet_losses_total", "counter", "Gaps in a publisher's packets that never closed."),
    ("latency_seconds", "gauge", "From arrival to sending, by quantile."),
)


def _of_stream(name: str, label: str, stream: Broadcast) -> Iterator[tuple[str, float]]:
    """Yields the samples of a metric of one stream, each with its labels."""
    status = stream.status if isinstance(stream.status, LiveStatus) else None
    totals = stream.fanout.totals
    match name:
        case "viewers":
            yield label, stream.viewers
        case "pictures_received_total":
            yield label, stream.received
        case "pictures_sent_total":
            yield label, status.counts.sent if status else 0
        case "pictures_dropped_total":
            dropped: dict[str, Any] = dict(status.counts.dropped) if status else {}
            dropped |= {"line busy": stream.replaced, "encoder busy": totals.dropped}
            for reason, count in dropped.items():
                yield f'{label},reason="{reason}"', count
        case "pictures_encoded_total":
            yield label, totals.calls
        case "encoder_cpu_seconds_total":
            yield label, totals.cpu
        case "packet_losses_total":
            yield label, stream.losses
        case "latency_seconds" if status and status.latency:
            for quantile, value in (("0.5", status.latency.p50), ("0.95", status.latency.p95)):
                yield f'{label},quantile="{quantile}"', value / 1e3


def _metric(name: str, kind: str, says: str, samples: dict[str, Any]) -> Iterator[str]:
    """Yields a metric in Prometheus' text format 0.0.4; nothing for one without samples."""
    if samples:
        yield f"# HELP {name} {says}\n# TYPE {name} {kind}\n"
        for labels, value in samples.items():
            yield f"{name}{{{labels}}} {value}\n" if labels else f"{name} {value}\n"
