"""The one builder of plans: an ONNX file with its contract becomes a plan with its sidecar."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rtmatte.contract import read_contract
from rtmatte.cuda import Gpu
from rtmatte.errors import BackendError, ContractError, InputError
from rtmatte.modelfile import sha256_of
from rtmatte.plan.api import Api, Progress
from rtmatte.plan.sidecar import SUFFIX, Sidecar, read_sidecar, write_plan

# Its promise is the reference's numbers, so float32 stays float32 there.
EXACT_VARIANT = "parity"


@dataclass(frozen=True, slots=True)
class Aim:
    """What plans are built for: `targets`, and the name of the GPU they are tuned on, empty for any of the targets."""

    targets: tuple[str, ...]
    gpu: str = ""


def aim(api: Api, gpu: Gpu | None, targets: Sequence[str] = ()) -> Aim:
    """Returns what `api` is to build for: the targets that are asked for, else the GPU that is here.

    TensorRT for RTX makes portable plans for any of its targets; TensorRT tunes on the GPU at hand and for no other.
    Raises InputError where that leaves nothing to build for.
    """
    if gpu is None and not api.targets:
        raise InputError(f"{api} builds only on the GPU that will run the plan; use --runtime rtx --target sm89")
    here = (gpu.target,) if gpu else ()
    asked = tuple(targets) or here
    if not asked:
        raise InputError(f"no GPU here, so say what to build for: --target {','.join(api.targets)}")
    known = api.targets or here
    unknown = [target for target in asked if target not in known]
    if unknown:
        raise InputError(f"expected targets of {', '.join(known)} for {api}, found {', '.join(unknown)}")
    return Aim(asked) if api.targets else Aim(asked, gpu.name if gpu else "")


def build_plan(onnx: Path, plan: Path, *, api: Api, aim: Aim, progress: Progress | None = None) -> Sidecar:
    """Writes the plan of an ONNX file to `plan`, its sidecar beside it, and returns that sidecar.

    Raises ModelError for a file without a contract, BackendError when the library refuses its graph or the plan cannot
    be written.
    """
    contract, digest = read_contract(onnx), sha256_of(onnx)
    options = options_of(contract.variant)
    began = time.monotonic()
    built = api.build(onnx, targets=aim.targets if api.targets else (), tf32=options["tf32"], progress=progress)
    sidecar = Sidecar(
        contract=contract,
        onnx_sha256=digest,
        plan_sha256=hashlib.sha256(built.plan).hexdigest(),
        plan_bytes=len(built.plan),
        runtime=api.runtime,
        runtime_version=api.version,
        **asdict(aim),
        options=options,
        layers=built.layers,
        precisions=built.precisions,
        activation_bytes=built.activation_bytes,
        weight_bytes=built.weight_bytes,
        seconds=round(time.monotonic() - began, 1),
    )
    try:
        plan.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_plan(plan, built.plan, sidecar)
    except OSError as error:
        raise BackendError(f"cannot write {plan}: {error.strerror or error}; name another folder") from error
    return sidecar


def graphs_of(onnx: Path) -> tuple[Path, ...]:
    """Returns the files that make one step, in the order they run: one, or a head and its tail.

    The tail lies beside its head, under the same name but for that word. ContractError when it is not there, and for
    a tail, which cannot run alone. A plan is asked of its sidecar, an ONNX file of itself.
    """
    contract = read_sidecar(onnx).contract if onnx.suffix == SUFFIX else read_contract(onnx)
    if contract.role == "step":
        return (onnx,)
    tail = onnx.with_name("tail".join(onnx.name.rsplit("head", 1)))
    if contract.role != "head" or tail == onnx or not tail.is_file():
        raise ContractError(f"{onnx} is a {contract.role}: expected a head, and its tail beside it as {tail.name}")
    return onnx, tail


def options_of(variant: str) -> dict[str, bool]:
    """Returns what the builder is told for a variant of a model, as sidecars and cache keys have it."""
    return {"tf32": variant != EXACT_VARIANT}


def plan_name(onnx: Path, api: Api, aim: Aim) -> str:
    """Returns the file name of a plan that is kept by name, "lite-512x288-rtx-sm86-sm89.plan"."""
    return "-".join((onnx.stem, api.runtime, *aim.targets)) + SUFFIX
