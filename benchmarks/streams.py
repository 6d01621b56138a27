"""What does another camera cost? Sessions that share one engine: time of a frame and memory, with one, two and more.

    python -m benchmarks.streams --threads 1 --json streams.json

Each session follows its own person by its own state in an engine whose weights are loaded once; frames are 1280x720,
cut out in turn, as a server with several publishers does it. Numbers of sessions take turns of a few frames each, so a
busy moment of the machine touches all alike, and the first frames of a turn are not counted. Processor time counts all
threads. Memory is what the process holds more of after a session, and after a second engine, beside the first one.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import report
from benchmarks.compositing import scenes
from rtmatte import models
from rtmatte.clock import ManualClock
from rtmatte.engine import Engine, open_engine, sha256_of
from rtmatte.errors import InputError
from rtmatte.frame import Frame, Mask
from rtmatte.imaging import parse_size
from rtmatte.latency import Percentiles
from rtmatte.session import Session
from rtmatte.targets.mask import MaskTarget

TURN, SETTLING = 12, 4  # rounds of a turn, of which the first ones bring the sessions' states back into the caches
MEGABYTE = 2**20


class Streams:
    """Sessions of one engine, each at a place of its own in the same scene of a person who moves."""

    def __init__(self, engine: Engine, scene: Sequence[Frame], mask: Mask, count: int) -> None:
        clock = ManualClock()
        self._scene = scene
        self._shown = 0
        self.sessions = [Session(engine, MaskTarget(mask), clock) for _ in range(count)]
        for session in self.sessions:
            session.process(self._frame(0))  # the one that the mask is of

    def round(self, count: int) -> None:
        """Gives each of the first `count` sessions a frame, one after the other."""
        self._shown += 1
        for number, session in enumerate(self.sessions[:count]):
            session.process(self._frame(self._shown + number))

    def _frame(self, number: int) -> Frame:
        return Frame(number, self._scene[number % len(self._scene)].pixels, number / 30)


def measure(streams: Streams, counts: Sequence[int], frames: int) -> dict[str, dict[str, Any]]:
    """Returns the milliseconds of a frame by number of sessions: `wall_ms` percentiles, `cpu_ms` median."""
    wall: dict[int, list[float]] = {count: [] for count in counts}
    cpu: dict[int, list[float]] = {count: [] for count in counts}
    for _ in track(range(-(-frames // (TURN - SETTLING))), "streams", console=Console(stderr=True)):
        for count in counts:
            for at in range(TURN):
                began, worked = time.perf_counter(), time.process_time()
                streams.round(count)
                if at >= SETTLING:
                    wall[count].append((time.perf_counter() - began) / count)
                    cpu[count].append((time.process_time() - worked) / count)
    alone = Percentiles.of(np.array(cpu[counts[0]])).p50
    found = {}
    for count in counts:
        took, worked = Percentiles.of(np.array(wall[count])), Percentiles.of(np.array(cpu[count])).p50
        times = report.rounded({"p50": took.p50, "p95": took.p95, "p99": took.p99})
        found[str(count)] = {"wall_ms": times, "cpu_ms": round(worked, 3), "to_one": round(worked / alone, 3)}
    return found


def held() -> float:
    """Returns the memory that this process holds, in megabytes."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / MEGABYTE


def main(
    model: Annotated[str, typer.Option(help="Name of a bundled model, or an ONNX with a contract.")] = "lite",
    size: Annotated[str, typer.Option(metavar="WxH", help="Frame size.")] = "1280x720",
    sessions: Annotated[int, typer.Option(min=2, max=16, help="At most so many at a time.")] = 4,
    frames: Annotated[int, typer.Option(min=8, help="Of each session, for each number of sessions.")] = 160,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the backend.")] = 2,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """Times sessions that share an engine, and weighs them."""
    wanted = parse_size(size)
    path = Path(model) if Path(model).is_file() else models.find(model, wanted)
    before = held()
    engine = open_engine(path, size=wanted, threads=threads)
    if engine.contract.batch != 1:
        raise InputError(f"expected a model of one row a call, {path.name} has {engine.contract.batch}")
    drawn = scenes(wanted, engine.contract.size)
    alpha = drawn[0].alpha
    assert alpha is not None
    mask, scene = Mask((alpha > 0.5).astype(np.float32)), [matte.frame for matte in drawn]
    memory: dict[str, float] = {}
    first = Streams(engine, scene, mask, 1)
    first.round(1)
    weighed = held()
    memory["engine and first session"] = weighed - before
    streams = Streams(engine, scene, mask, sessions)
    streams.round(sessions)
    memory["each further session"] = (held() - weighed) / sessions
    weighed = held()
    other = Streams(open_engine(path, size=wanted, threads=threads), scene, mask, 1)
    other.round(1)
    memory["an engine of its own"] = held() - weighed
    del first, other
    counts = [count for count in (1, 2, 4, 8, 16) if count < sessions] + [sessions]
    found = measure(streams, counts, frames)
    table = Table("sessions", "ms a frame, p50", "p95", "processor, p50", "to one session's", title=f"{size}, {model}")
    for count, one in found.items():
        table.add_row(
            count, *(str(one["wall_ms"][of]) for of in ("p50", "p95")), str(one["cpu_ms"]), str(one["to_one"])
        )
    Console().print(table)
    Console().print(", ".join(f"{what}: {megabytes:.0f} MB" for what, megabytes in memory.items()))
    if json is not None:
        facts = {"model": engine.contract.model, "sha256": sha256_of(path), "backend": engine.backend}
        facts |= {"size": size, "working": "x".join(map(str, engine.contract.size))}
        body = {**facts, "threads": threads, "memory_mb": report.rounded(memory, 1), "sessions": found}
        report.write_json(json, "benchmarks.streams", body)


if __name__ == "__main__":
    report.run(main)
