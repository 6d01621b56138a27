"""One step of one network in PyTorch, ONNX Runtime and OpenVINO, in turn, on one thread each: CPU seconds and ratios.

    python -m benchmarks.backends weights.pth weights-512x288-fast.onnx --int8 weights-512x288-fast-int8.onnx \\
        --json backends.json

The graphs are `python -m export weights.pth --size 512x288 --int8 CLIP`'s. CPU seconds, taken in turn, hardly mind a
busy machine; wall seconds do. bfloat16 needs a processor that has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import report
from rtmatte.backends.eager import EagerEngine
from rtmatte.backends.openvino import OpenVinoEngine
from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import Gates, read_contract, self_test_frames
from rtmatte.errors import InputError
from rtmatte.modelfile import sha256_of
from rtmatte.network.checkpoint import Variant, open_step
from rtmatte.step import Engine, State

BURN_IN = 2  # rounds before the clock counts
PICTURES = 16  # different frames, shown in turn
REFERENCE = "torch f32"


@dataclass(frozen=True, slots=True)
class Timing:
    """CPU seconds of the steps of one backend, in the order of the rounds."""

    name: str
    seconds: NDArray[np.float64]

    @property
    def cpu_ms(self) -> dict[str, float]:
        """Median and least, in milliseconds."""
        return {"p50": float(np.median(self.seconds)) * 1e3, "min": float(self.seconds.min()) * 1e3}


class Stream:
    """One backend's stream over the self-test's pictures: seeded, settled, then ordinary frames with their stores."""

    def __init__(self, engine: Engine) -> None:
        contract = engine.contract
        pictures, mask = self_test_frames(contract, PICTURES)
        self._engine, self._gates = engine, Gates.for_contract(contract)
        self._pictures, self._ordinal = cycle(pictures), 0
        self._state: State = engine.new_state()
        for prepare in (self._gates.set_seed, self._gates.set_settle):
            for row in range(contract.batch):
                prepare(row)
            _, self._state = engine.step(pictures[0], mask, self._gates, self._state)

    def step(self) -> float:
        """Returns the CPU seconds of the next ordinary step, those of all threads of the process."""
        self._ordinal += 1
        self._gates.clear()
        slot = self._engine.contract.slot_of(self._ordinal)
        if slot is not None:
            for row in range(self._engine.contract.batch):
                self._gates.set_write(slot, row)
        picture = next(self._pictures)
        began = time.process_time()
        _, self._state = self._engine.step(picture, None, self._gates, self._state)
        return time.process_time() - began


def measure(streams: dict[str, Stream], rounds: int, *, progress: Callable[[range], Any] = iter) -> list[Timing]:
    """Returns the timings of `rounds` rounds; in each, every stream takes one step, another one first each time."""
    seconds: dict[str, list[float]] = {name: [] for name in streams}
    names = list(streams)
    for index in progress(range(BURN_IN + rounds)):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            took = streams[name].step()
            if index >= BURN_IN:
                seconds[name].append(took)
    return [Timing(name, np.array(values)) for name, values in seconds.items()]


def open_all(checkpoint: Path, graph: Path, int8: Path | None) -> dict[str, Engine]:
    """Returns the backends to compare, one thread each, by name; the first is PyTorch, running the step of `graph`.

    Raises InputError for an int8 graph of another size or network.
    """
    contract = read_contract(graph)
    width, height = contract.size
    variants: dict[str, Variant] = {"parity": "parity", "fast": "fast"}
    step, eager = open_step(
        checkpoint,
        width=width,
        height=height,
        slots=contract.slots,
        batch=contract.batch,
        variant=variants.get(contract.variant),
    )
    engines: dict[str, Engine] = {
        REFERENCE: EagerEngine(step, eager, threads=1),
        "onnxruntime f32": OrtEngine(graph, threads=1),
        "openvino f32": OpenVinoEngine(graph, threads=1),
        "openvino bf16": OpenVinoEngine(graph, precision="bf16", threads=1),
    }
    if int8 is not None:
        other = read_contract(int8)
        if other.states != contract.states:
            raise InputError(f"expected {int8} to be the int8 graph of {graph}, found {other.model} {other.size}")
        engines["onnxruntime int8"] = OrtEngine(int8, threads=1)
        engines["openvino int8"] = OpenVinoEngine(int8, threads=1)
        engines["openvino int8+bf16"] = OpenVinoEngine(int8, precision="bf16", threads=1)
    return engines


def main(
    checkpoint: Annotated[Path, typer.Argument(help="Weights for PyTorch, the measure of the others.")],
    graph: Annotated[Path, typer.Argument(help="The same weights, exported in float32.")],
    int8: Annotated[Path | None, typer.Option(help="Its int8 graph.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Timed steps of every backend.")] = 12,
    json: Annotated[Path | None, typer.Option(help="Report to write.")] = None,
) -> None:
    """Compare the backends of one network by the CPU time of a step."""
    engines = open_all(checkpoint, graph, int8)
    streams = {name: Stream(engine) for name, engine in engines.items()}
    timings = measure(streams, rounds, progress=lambda steps: track(steps, "rounds", console=Console(stderr=True)))
    reference = timings[0].cpu_ms
    table, rows = Table("backend", "CPU ms, p50", "least", f"times as fast as {REFERENCE}, p50", "least"), {}
    for timing in timings:
        ms = timing.cpu_ms
        times = {name: reference[name] / ms[name] for name in ms}
        rows[timing.name] = {"cpu_ms": report.rounded(ms), "times_as_fast": report.rounded(times)}
        table.add_row(timing.name, *(f"{value:.1f}" for value in ms.values()), *(f"{v:.2f}" for v in times.values()))
    Console().print(table)
    if json is not None:
        contract = read_contract(graph)
        files = {path.name: sha256_of(path) for path in (checkpoint, graph, int8) if path is not None}
        body = {
            "model": contract.model,
            "variant": contract.variant,
            "size": "x".join(map(str, contract.size)),
            "threads": 1,
            "rounds": rounds,
            "files": files,
            "backends": rows,
        }
        report.write_json(json, "benchmarks.backends", body)


if __name__ == "__main__":
    report.run(main)
