"""Times the step of a model, memory stores included, and writes percentiles with the machine they were taken on.

python -m benchmarks.latency --model lite --size 512x288 --frames 600 --threads 2 --json latency.json
"""

from __future__ import annotations

import time
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from benchmarks import report
from rtmatte import models
from rtmatte.contract import Contract, Gates, self_test_frames
from rtmatte.engine import open_engine, sha256_of
from rtmatte.errors import InputError
from rtmatte.imaging import parse_size
from rtmatte.latency import Percentiles
from rtmatte.step import Engine

BURN_IN = 30  # calls before the clock counts: allocation, caches, the governor
PARTS = 10  # a run is cut into, each with its burn-in, so that the progress bar never moves while the clock runs
PICTURES = 16  # different frames, shown in turn
STREAM = 270  # steps of the uninterrupted run that growth is taken from: frames 31 to 300
COMPARED = 30


def measure(engine: Engine, frames: int) -> NDArray[np.float64]:
    """Returns the seconds of each of `frames` ordinary steps, stores on the contract's schedule, after a burn-in.

    The pictures are the self-test's: a disc that moves over a ramp. Nothing else is in the time: no decoding, no
    resize, no compositing.
    """
    contract = engine.contract
    pictures, mask = self_test_frames(contract, PICTURES)
    gates, state = Gates.for_contract(contract), engine.new_state()
    for prepare in (gates.set_seed, gates.set_settle):
        for row in range(contract.batch):
            prepare(row)
        _, state = engine.step(pictures[0], mask, gates, state)
    seconds = np.empty(frames)
    for index, picture in enumerate(islice(cycle(pictures), BURN_IN + frames), start=1):
        _set_ordinary(gates, contract, index)
        began = time.perf_counter()
        _, state = engine.step(picture, None, gates, state)
        if index > BURN_IN:
            seconds[index - BURN_IN - 1] = time.perf_counter() - began
    return seconds


def growth(seconds: NDArray[np.float64]) -> float:
    """Returns how much longer a step takes late in an uninterrupted run: the median of its last 30 over its first 30.

    The memory is of fixed size, so it is 1 but for the machine's unrest.
    """
    return float(np.median(seconds[-COMPARED:]) / np.median(seconds[:COMPARED]))


def _set_ordinary(gates: Gates, contract: Contract, ordinal: int) -> None:
    gates.clear()
    slot = contract.slot_of(ordinal)
    if slot is not None:
        for row in range(contract.batch):
            gates.set_write(slot, row)


def _runs(frames: int) -> list[int]:
    """Returns how many steps each uninterrupted run has; together at least `frames`."""
    first = [STREAM] if frames >= STREAM else []
    rest = frames - sum(first)
    return first + [-(-rest // PARTS)] * (PARTS if rest else 0)


def main(
    model: Annotated[str, typer.Option(help="Name of a bundled model, an ONNX file or a checkpoint.")] = "lite",
    size: Annotated[str, typer.Option(metavar="WxH", help="Frame size of the graph.")] = "512x288",
    frames: Annotated[int, typer.Option(min=1, help="Steps to time.")] = 600,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the backend.")] = 2,
    backend: Annotated[str, typer.Option(help="Backend, or auto.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="Report to write.")] = None,
) -> None:
    """Time the step of one model."""
    wanted = parse_size(size)
    path = models.find(model, wanted) if not Path(model).exists() else Path(model)
    engine = open_engine(path, backend=backend, size=wanted, threads=threads)
    if engine.contract.size != wanted:
        found = "x".join(map(str, engine.contract.size))
        raise InputError(f"expected a graph for {size}, {path.name} is one for {found}; give --size {found}")
    runs = _runs(frames)
    parts = [measure(engine, steps) for steps in track(runs, f"{path.name}, {engine.backend}")]
    grown = growth(parts[0]) if runs[0] == STREAM else None
    step = Percentiles.of(np.concatenate(parts)[:frames])
    figures = f"p50 {step.p50:.1f} ms, p95 {step.p95:.1f} ms, p99 {step.p99:.1f} ms"
    figures += f"; frames 271-300 take {grown:.3f} times as long as 31-60" if grown else ""
    Console().print(f"{path.name} on {engine.backend}, {threads} threads, {frames} steps: {figures}", soft_wrap=True)
    if json:
        body = {
            "model": engine.contract.model,
            "sha256": sha256_of(path),
            "backend": engine.backend,
            "size": size,
            "threads": threads,
            "frames": frames,
            "growth": grown and round(grown, 4),
            "step_ms": {name: round(getattr(step, name), 3) for name in ("p50", "p95", "p99")},
        }
        report.write_json(json, "benchmarks.latency", body)


if __name__ == "__main__":
    report.run(main)
