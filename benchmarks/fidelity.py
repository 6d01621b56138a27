"""How true a graph is to its checkpoint: any backend and variant against PyTorch in float32.

    python -m benchmarks.fidelity matanyone-512x288-fast.onnx --checkpoint matanyone.pth --frames 60 --json f.json

Two figures: free-running, where both feed on their own states, and step by step, where each call starts from the
float32 state. The exit code is 2 when the one that the variant is judged by is above its tolerance. MatAnyone's graphs
in float32 are held against the authors' reading of the memory; those in int8 or half precision, and backends that
compute in bfloat16, against the graph's own reading, so that the error is that of their precision alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import report
from export.check import ONE_STEP_IN_HALF, Drift, Startable, Tolerance, measure_drift, measure_steps
from rtmatte.backends.eager import EagerEngine
from rtmatte.contract import FRAME, Contract
from rtmatte.engine import open_engine, sha256_of
from rtmatte.errors import BackendError, ModelError
from rtmatte.network.checkpoint import HALF, Variant, open_step
from rtmatte.step import Engine

FREE = {  # what is judged free-running, by variant; "" is lite
    "parity": Tolerance(2e-6, 2e-3),
    "fast": Tolerance(5e-4),
    "": Tolerance(1e-3),
}
LOW_PRECISION = Tolerance(5e-3)  # of a step in int8, or in a backend's own bfloat16
_EXACT = ("parity", "fast", "", HALF)


def tolerance_of(engine: Engine) -> tuple[bool, Tolerance]:
    """Returns whether an engine is judged step by step, and its tolerance."""
    variant = engine.contract.variant
    if variant not in _EXACT or "bf16" in engine.backend:
        return True, LOW_PRECISION
    if variant == HALF:
        return True, ONE_STEP_IN_HALF
    return False, FREE[variant]


def reading_of(contract: Contract, *, stepwise: bool) -> Variant | None:
    """Returns the variant of the network that a graph is held against, `stepwise` or free-running; None for lite's."""
    if contract.model != "matanyone":
        return None
    return "fast" if stepwise and contract.variant.startswith("fast") else "parity"


def reference_of(contract: Contract, checkpoint: Path, reading: Variant | None) -> EagerEngine:
    """Returns the checkpoint in PyTorch, in float32, for the frames and the memory of a graph.

    Raises ModelError when the graph was made from another checkpoint.
    """
    width, height = contract.size
    step, original = open_step(
        checkpoint, width=width, height=height, slots=contract.slots, batch=contract.batch, variant=reading
    )
    if original.weights_sha256 != contract.weights_sha256:
        raise ModelError(
            f"expected the checkpoint that the graph was made from (sha256 {contract.weights_sha256}), "
            f"found {checkpoint} (sha256 {original.weights_sha256})"
        )
    return EagerEngine(step, replace(original, write_every=contract.write_every))


def by_step(engine: Engine, reference: EagerEngine, frames: int) -> Drift | None:
    """Returns the error step by step, or None for a backend that cannot be given a state."""
    if not hasattr(engine, "state_of"):
        return None
    startable: Startable = engine  # type: ignore[assignment]
    return measure_steps(startable, reference, frames=frames)


def main(
    model: Annotated[Path, typer.Argument(help="An ONNX file made from the checkpoint.")],
    checkpoint: Annotated[Path, typer.Option(help="The checkpoint it was made from.")],
    backend: Annotated[str, typer.Option(help="Backend, or auto.")] = "auto",
    frames: Annotated[int, typer.Option(min=4, help="Recurrent frames to compare.")] = 40,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the backend.")] = None,
    json: Annotated[Path | None, typer.Option(help="Report to write.")] = None,
) -> None:
    """Compare a graph with its checkpoint."""
    console = Console()
    engine = open_engine(model, backend=backend, threads=threads, note=Console(stderr=True).print)
    stepwise, tolerance = tolerance_of(engine)
    reading = reading_of(engine.contract, stepwise=stepwise)
    reference = reference_of(engine.contract, checkpoint, reading)
    found = {
        "free": measure_drift(engine, reference, frames=frames),
        "by_step": by_step(engine, reference, frames),
    }
    for kind, drift in found.items():
        console.print(f"{model.name} on {engine.backend}, {kind}: {drift or 'this backend takes no state'}")
    if json:
        report.write_json(json, "benchmarks.fidelity", _facts(engine, model, reading, frames, found, tolerance))
    judged = found["by_step" if stepwise else "free"]
    if judged is None:
        raise BackendError(f"{engine.backend} is judged step by step and takes no state; choose another backend")
    if not judged.within(tolerance):
        raise ModelError(f"{model.name} on {engine.backend} is not true to {checkpoint.name}: {judged}; {tolerance}")


def _facts(
    engine: Engine,
    model: Path,
    reading: Variant | None,
    frames: int,
    found: dict[str, Drift | None],
    tolerance: Tolerance,
) -> dict[str, Any]:
    contract = engine.contract
    return {
        "model": contract.model,
        "variant": contract.variant,
        "reference": reading or contract.model,
        "sha256": sha256_of(model),
        "backend": engine.backend,
        "size": "x".join(map(str, contract.size)),
        "frame": contract.input(FRAME).dtype,
        "frames": frames,
        "tolerance": {"mean": tolerance.mean, "max": tolerance.greatest},
    } | {kind: drift and _figures(drift) for kind, drift in found.items()}


def _figures(drift: Drift) -> dict[str, Any]:
    def short(value: float) -> float:
        return float(f"{value:.3g}")

    return {
        "mean": short(drift.mean),
        "max": short(drift.greatest),
        "last_quarter_mean": short(drift.last_mean),
        "last_quarter_max": short(drift.last_greatest),
        "mean_of_frame": [short(value) for value in drift.means],
    }


if __name__ == "__main__":
    report.run(main)
