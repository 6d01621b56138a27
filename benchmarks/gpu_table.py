"""The whole table of GPU figures on the card that is here, in one run and one JSON file.

python -m benchmarks.gpu_table --json gpu.json                                lite, and MatAnyone with random weights
python -m benchmarks.gpu_table --weights matanyone.pth --json gpu.json        a checkpoint of yours: the same speed

Every system takes its turn in every round, so that a ratio is of one card in one state. "step" is one step after the
other; "paced" is one every 33 ms, as from a camera, until its alpha is there. Plain PyTorch in float32 is the measure.
Needs an NVIDIA GPU; whatever is not installed is left out and named.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.latency import measure
from rtmatte import models
from rtmatte.contract import Gates, self_test_frames
from rtmatte.cuda import find_gpu
from rtmatte.engine import open_engine
from rtmatte.errors import RtmatteError
from rtmatte.imaging import Size
from rtmatte.latency import Percentiles
from rtmatte.step import Engine

SIZES: tuple[Size, ...] = ((512, 288), (1280, 720))
ROUNDS = 5
PERIOD = 1 / 30  # seconds between the frames of a camera
MEASURE = "torch float32"


@dataclass(slots=True)
class Row:
    """One system at one size, and the seconds of its steps so far."""

    model: str
    size: Size
    system: str
    engine: Engine
    steps: list[NDArray[np.float64]] = field(default_factory=list)
    paced: list[NDArray[np.float64]] = field(default_factory=list)


def measure_paced(
    engine: Engine,
    frames: int,
    *,
    now: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> NDArray[np.float64]:
    """Returns the seconds from frame to alpha of each of `frames` ordinary steps that begin `PERIOD` apart."""
    contract = engine.contract
    (picture,), mask = self_test_frames(contract, 1)
    gates, state = Gates.for_contract(contract), engine.new_state()
    for row in range(contract.batch):
        gates.set_seed(row)
    _, state = engine.step(picture, mask, gates, state)
    gates.clear()
    seconds = np.empty(frames)
    due = now()
    for index in range(frames):
        due += PERIOD
        sleep(max(0.0, due - now()))
        began = now()
        _, state = engine.step(picture, None, gates, state)
        seconds[index] = now() - began
    return seconds


def systems(weights: Path, say: Callable[[str], None]) -> Iterator[Row]:
    """Yields every system that runs here, opened; what does not is said."""
    lite = models.find("lite", SIZES[0])
    for backend in ("tensorrt", "rtx", "cuda"):
        yield from _tried("lite", SIZES[0], backend, partial(open_engine, lite, backend=backend), say)
    for size in SIZES:
        for system, make in _torch_systems(weights, size).items():
            yield from _tried("matanyone", size, system, make, say)


def _torch_systems(weights: Path, size: Size) -> dict[str, Callable[[], Engine]]:
    """Returns MatAnyone in PyTorch: plain in float32, captured in half precision, and that cut after the alpha."""
    from rtmatte.backends.eager_cuda import resident
    from rtmatte.network.checkpoint import HALF, open_step
    from rtmatte.torch_device import TorchDevice

    def uncaptured() -> TorchDevice:
        device = TorchDevice()
        device.captures = False
        return device

    def whole(**order: Any) -> Any:
        return open_step(weights, width=size[0], height=size[1], **order)

    return {
        MEASURE: lambda: resident([whole(variant="fast")], uncaptured(), backend=MEASURE),
        "torch half, captured": lambda: resident([whole(variant=HALF)], TorchDevice(), backend="torch"),
        "torch half, head and tail": lambda: resident(
            [whole(variant=HALF, part="head"), whole(variant=HALF, part="tail")], TorchDevice(), backend="torch"
        ),
    }


def _tried(
    model: str, size: Size, system: str, make: Callable[[], Engine], say: Callable[[str], None]
) -> Iterator[Row]:
    try:
        yield Row(model, size, system, make())
    except RtmatteError as error:
        say(f"left out: {model} {size[0]}x{size[1]} on {system}: {error}")


def figures(rows: list[Row]) -> list[dict[str, Any]]:
    """Returns what the report says of each row; `ratio` is how many times as fast as the measure at that size."""
    medians = {row.size: float(np.median(np.concatenate(row.steps))) for row in rows if row.system == MEASURE}
    table = []
    for row in rows:
        steps, paced = np.concatenate(row.steps), np.concatenate(row.paced)
        entry: dict[str, Any] = {
            "model": row.model,
            "size": "x".join(map(str, row.size)),
            "system": row.system,
            "backend": row.engine.backend,
            "step_ms": _percentiles(steps),
            "paced_ms": _percentiles(paced),
        }
        if row.model == "matanyone" and row.size in medians:
            entry["ratio"] = round(medians[row.size] / float(np.median(steps)), 2)
        table.append(entry)
    return table


def _percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    of = Percentiles.of(seconds)
    return {name: round(getattr(of, name), 3) for name in ("p50", "p95", "p99")}


def random_weights(folder: Path) -> Path:
    """Returns a MatAnyone checkpoint of random weights: as fast as any, and good for nothing else."""
    import torch

    from rtmatte.network.matanyone.net import MatAnyone

    torch.manual_seed(0)
    path = folder / "matanyone-random.pth"
    torch.save(MatAnyone().state_dict(), path)
    return path


def main(
    weights: Annotated[Path | None, typer.Option(help="MatAnyone's checkpoint; default: random weights.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="Steps a system and a round.")] = 100,
    json: Annotated[Path | None, typer.Option(help="Report to write.")] = None,
) -> None:
    """Measure every system on this GPU, in turn, and say what ran and what was left out."""
    gpu = find_gpu()
    skipped: list[str] = []
    with ExitStack() as stack:
        chosen = weights or random_weights(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        rows = list(systems(chosen, skipped.append))
        for row in rows:
            stack.enter_context(closing(row.engine))
        for _ in range(ROUNDS):
            for row in rows:
                row.steps.append(measure(row.engine, frames))
                row.paced.append(measure_paced(row.engine, frames))
        table = figures(rows)
    Console().print(_drawn(table, gpu.name))
    for line in skipped:
        print(line, file=sys.stderr)
    if json:
        body = {"gpu": gpu.name, "capability": gpu.target, "rows": table, "left_out": skipped}
        report.write_json(json, "benchmarks.gpu_table", body)


def _drawn(rows: list[dict[str, Any]], title: str) -> Table:
    table = Table("model", "size", "system", "step p50", "p99", "paced p50", "p99", "times", title=f"{title}, ms")
    for row in rows:
        numbers = [f"{row[kind][name]:.2f}" for kind in ("step_ms", "paced_ms") for name in ("p50", "p99")]
        table.add_row(row["model"], row["size"], row["system"], *numbers, str(row.get("ratio", "")))
    return table


if __name__ == "__main__":
    report.run(main)
