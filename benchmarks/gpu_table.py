"""The whole table of GPU figures on the card that is here, in one run and one JSON file.

python -m benchmarks.gpu_table --json gpu.json                                lite, and MatAnyone with random weights
python -m benchmarks.gpu_table --weights matanyone.pth --json gpu.json        a checkpoint of yours: the same speed

Every system of a size takes its turn in every round, so that a ratio is of one card in one state. "step" is one step
after the other; "paced" is one every 33 ms, as from a camera, until its alpha is there; a line is from frame in to
composite out at that pace. Plain PyTorch in float32 is the measure. Errors are mean |difference| of alphas: of single
steps from the states of PyTorch on the CPU, and of lite running free beside ONNX Runtime on the CPU.
Needs an NVIDIA GPU; whatever is not installed is left out and named. It runs from a checkout with `make env`, and takes
minutes, the export of graphs included.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.gpu_bars import bars
from benchmarks.gpu_systems import (
    LITE_SIZE,
    PLAIN,
    SIZES,
    Row,
    Say,
    calibrated_weights,
    lite_systems,
    matanyone_systems,
)
from benchmarks.gpu_timing import paced_composites, paced_steps
from benchmarks.latency import measure
from export.check import Drift, measure_drift, measure_steps
from rtmatte import models
from rtmatte.backends.eager import EagerEngine
from rtmatte.backends.ort import OrtEngine
from rtmatte.compose.device import DeviceDrawing
from rtmatte.cuda import Gpu, find_gpu
from rtmatte.errors import BackendMissing, EngineError, RtmatteError
from rtmatte.latency import Percentiles
from rtmatte.network.checkpoint import open_step
from rtmatte.resident import ResidentEngine
from rtmatte.torch_device import TorchDevice

ROUNDS = 5
STEPS = 24  # calls of the parity of single steps: a seed, a settling one, ordinary ones, four stores
FREE = 300  # frames of lite running free

Figures = dict[str, Any]


def main(
    weights: Annotated[Path | None, typer.Option(help="MatAnyone's checkpoint; default: random weights.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="Steps a system and a round.")] = 100,
    json: Annotated[Path | None, typer.Option(help="Report to write.")] = None,
) -> None:
    """Measure every system on this GPU, in turn, and say what ran and what was left out."""
    gpu = gpu_here()
    skipped: list[str] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        chosen = weights or calibrated_weights(folder)
        table = measured(lite_systems(skipped.append), frames, against_onnxruntime, skipped.append)
        for size in SIZES:
            rows = matanyone_systems(chosen, size, folder, skipped.append)
            error = against_eager(chosen) if size == LITE_SIZE else nothing
            table += measured(rows, frames, error, skipped.append)
    found = bars(table)
    console = Console()
    console.print(drawn(table, gpu.name))
    for bar in found:
        console.print(str(bar))
    for line in skipped:
        print(line, file=sys.stderr)
    if json:
        verdicts = [bar.entry() for bar in found]
        body = {"gpu": gpu.name, "capability": gpu.target, "rows": table, "bars": verdicts, "left_out": skipped}
        report.write_json(json, "benchmarks.gpu_table", body)


def gpu_here() -> Gpu:
    """Returns the GPU; BackendMissing, in one sentence, where there is none that anything here can use.

    Where the bindings of CUDA are not installed, PyTorch is asked.
    """
    try:
        return find_gpu()
    except BackendMissing:
        if not torch.cuda.is_available():
            raise
        major, minor = torch.cuda.get_device_capability()
        return Gpu(torch.cuda.get_device_name(), (major, minor), 0)


def measured(rows: Iterable[Row], frames: int, error: Callable[[Row], Figures], say: Say) -> list[Figures]:
    """Returns the figures of systems of one size, which take turns; one that fails on the way is left out."""
    with ExitStack() as stack:
        going = []
        for row in rows:
            stack.enter_context(closing(row.engine))
            going.append(row)
        for _ in range(ROUNDS):
            for row in list(going):
                if not _went(row, partial(_take_turn, row, frames), say):
                    going.remove(row)
        table = figures(going)
        for row, entry in zip(going, table, strict=True):
            for more in (error, partial(lines, frames=frames)):
                _went(row, partial(_add, entry, more, row), say)
    return table


def _take_turn(row: Row, frames: int) -> None:
    row.steps.append(measure(row.engine, frames))
    row.paced.append(paced_steps(row.engine, frames))


def _add(entry: Figures, more: Callable[[Row], Figures], row: Row) -> None:
    entry.update(more(row))


def _went(row: Row, what: Callable[[], object], say: Say) -> bool:
    try:
        what()
    except RtmatteError as reason:
        say(f"failed: {row.model} {row.size[0]}x{row.size[1]} on {row.system}: {reason}")
        return False
    return True


def figures(rows: list[Row]) -> list[Figures]:
    """Returns what the report says of each row; `ratio` is how many times as fast as the measure at that size."""
    medians = {row.size: float(np.median(np.concatenate(row.steps))) for row in rows if row.system == PLAIN}
    table = []
    for row in rows:
        steps, paced = np.concatenate(row.steps), np.concatenate(row.paced)
        entry: Figures = {
            "model": row.model,
            "size": "x".join(map(str, row.size)),
            "system": row.system,
            "backend": row.engine.backend,
            "step_ms": percentiles(steps),
            "paced_ms": percentiles(paced),
        }
        if row.model == "matanyone" and row.size in medians:
            entry["ratio"] = round(medians[row.size] / float(np.median(steps)), 2)
        table.append(entry)
    return table


def lines(row: Row, frames: int) -> Figures:
    """Returns the milliseconds from frame in to composite out, drawn on the GPU where PyTorch has it, and here."""
    found: Figures = {"line_drawn_here_ms": percentiles(paced_composites(row.engine, None, frames))}
    drawing = gpu_drawing()
    if drawing is not None:
        with closing(drawing):
            found["line_ms"] = percentiles(paced_composites(row.engine, drawing, frames))
    return found


def gpu_drawing() -> DeviceDrawing | None:
    """Returns what draws composites on the GPU; None where PyTorch cannot use it."""
    return DeviceDrawing(TorchDevice()) if torch.cuda.is_available() else None


def against_onnxruntime(row: Row) -> Figures:
    """Returns how far lite, running free, is from the same graph on the CPU."""
    with closing(OrtEngine(models.find("lite", LITE_SIZE))) as reference:
        return {"free_running": of_drift(measure_drift(row.engine, reference, frames=FREE))}


def against_eager(weights: Path) -> Callable[[Row], Figures]:
    """Returns what tells how far single steps of MatAnyone are from PyTorch's in float32 on the CPU."""

    def error(row: Row) -> Figures:
        if not isinstance(row.engine, ResidentEngine):
            raise EngineError("its states cannot be set")
        width, height = row.size
        reference = EagerEngine(*open_step(weights, width=width, height=height, variant="fast"))
        return {"single_steps": of_drift(measure_steps(row.engine, reference, frames=STEPS))}

    return error


def nothing(row: Row) -> Figures:
    """Returns no figures: on the CPU a step of the larger pictures takes too long."""
    return {}


def of_drift(drift: Drift) -> Figures:
    """Returns the errors of alphas as the report has them."""
    names = ("mean", "last_mean", "greatest")
    return {"frames": len(drift.means)} | {name: float(f"{getattr(drift, name):.3g}") for name in names}


def percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    """Returns the percentiles in milliseconds."""
    of = Percentiles.of(seconds)
    return {name: round(getattr(of, name), 3) for name in ("p50", "p95", "p99")}


def drawn(rows: list[Figures], title: str) -> Table:
    """Returns the table for people."""
    heads = ("step p50", "p99", "paced p50", "p99", "line p50", "p99", "times", "error")
    table = Table("model", "size", "system", *heads, title=f"{title}, ms")
    for row in rows:
        kinds = (row["step_ms"], row["paced_ms"], row.get("line_ms", row.get("line_drawn_here_ms", {})))
        numbers = [f"{kind[name]:.2f}" if kind else "" for kind in kinds for name in ("p50", "p99")]
        error = (row.get("free_running") or row.get("single_steps") or {}).get("mean", "")
        table.add_row(row["model"], row["size"], row["system"], *numbers, str(row.get("ratio", "")), str(error))
    return table


if __name__ == "__main__":
    report.run(main)
