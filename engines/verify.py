"""A plan against ONNX Runtime on the same graph, free-running: each feeds on its own states, frame after frame."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from export.check import Drift, Tolerance, measure_drift
from rtmatte.backends.ort import OrtEngine
from rtmatte.backends.trt import open_trt
from rtmatte.contract import read_contract
from rtmatte.errors import PlanError
from rtmatte.modelfile import sha256_of
from rtmatte.plan.api import RUNTIMES, Runtime
from rtmatte.plan.sidecar import read_sidecar

FRAMES = 300
SAME_NETWORK = Tolerance(1e-3)  # half precision on the way, over all frames and over the last quarter


def verify(plan: Path, onnx: Path, *, frames: int = FRAMES) -> Drift:
    """Returns the drift of `plan` from ONNX Runtime running the graph `onnx` on the CPU.

    A head runs with the tail beside it, against a whole step of the same weights. PlanError when the plan is not of
    that graph, BackendMissing where there is no GPU to run it on.
    """
    sidecar = read_sidecar(plan)
    if sidecar.contract.role == "step":
        same = sidecar.onnx_sha256 == sha256_of(onnx)
    else:
        same = sidecar.contract.weights_sha256 == read_contract(onnx).weights_sha256
    if not same:
        raise PlanError(f"{plan} was not built from {onnx}; build it again, or name the graph it was built from")
    with closing(open_trt(plan, _runtime(sidecar.runtime))) as engine:
        return measure_drift(engine, OrtEngine(onnx), frames=frames)


def _runtime(name: str) -> Runtime:
    for runtime in RUNTIMES:
        if runtime == name:
            return runtime
    raise PlanError(f"expected a plan of {', '.join(RUNTIMES)}, found {name!r}")
