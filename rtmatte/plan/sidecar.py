"""What a plan says about itself, in a JSON file beside it, and the checks before one byte of a plan reaches TensorRT.

A plan holds machine code. It is loaded only from files that nobody but its user could have written, and only as the
bytes that were built; plans are never downloaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rtmatte.contract import Contract
from rtmatte.cuda import Gpu
from rtmatte.errors import ContractError, PlanError

SUFFIX = ".plan"
VERSION = 1
_AGAIN = "build it again: rtmatte build MODEL"


@dataclass(frozen=True, slots=True)
class Sidecar:
    """How a plan came to be, and what it can run on.

    `targets` are compute capabilities, "sm89"; `gpu` the name of the GPU it was tuned on, empty where it runs on any
    of its targets. Layers, precisions and bytes as in `api.Built`; `seconds` the build took; `self_test` the greatest
    difference of a block mean from the contract's, None where the plan was built but never run.
    """

    contract: Contract
    onnx_sha256: str
    plan_sha256: str
    plan_bytes: int
    runtime: str
    runtime_version: str
    targets: tuple[str, ...]
    gpu: str
    options: dict[str, bool]
    layers: dict[str, int]
    precisions: dict[str, int]
    activation_bytes: int
    weight_bytes: int
    seconds: float
    self_test: float | None = None
    version: int = field(default=VERSION)

    def to_json(self) -> str:
        """Returns the text of the file, the contract as a JSON object of its own."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return json.dumps(values | {"contract": asdict(self.contract)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Sidecar:
        """Returns the sidecar in `text`; PlanError when it is damaged or of another version."""
        try:
            raw: dict[str, Any] = json.loads(text)
            if raw.get("version") != VERSION:
                raise PlanError(f"expected a sidecar of version {VERSION}, found {raw.get('version')}; build it again")
            raw["contract"] = Contract.from_json(json.dumps(raw["contract"]))
            raw["targets"] = tuple(str(target) for target in raw["targets"])
            return cls(**raw)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ContractError) as error:
            raise PlanError(f"the sidecar is damaged ({error}); build the plan again") from error


def sidecar_path(plan: Path) -> Path:
    """Returns where the sidecar of a plan is."""
    return plan.with_name(plan.name + ".json")


def read_sidecar(plan: Path) -> Sidecar:
    """Returns the sidecar of `plan`; PlanError when there is none or it is damaged."""
    try:
        return Sidecar.from_json(sidecar_path(plan).read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise PlanError(
            f"expected {sidecar_path(plan).name} beside {plan}, found none that can be read "
            f"({error.strerror or error}); {_AGAIN}"
        ) from error
    except PlanError as error:
        raise PlanError(f"{sidecar_path(plan)}: {error}") from error


def read_plan(
    plan: Path, *, runtime: str, version: str, gpu: Gpu, onnx_sha256: str | None = None
) -> tuple[Sidecar, bytes]:
    """Returns the sidecar and the bytes of a plan that may be loaded here.

    `onnx_sha256` is the model it has to be built from, None for any. PlanError says what is wrong: whose files they
    are, another model, library, version or GPU, or bytes that are not those that were built.
    """
    for path in (plan.parent, plan, sidecar_path(plan)):
        check_owner(path)
    sidecar = read_sidecar(plan)
    if onnx_sha256 not in (None, sidecar.onnx_sha256):
        raise PlanError(f"{plan} was built from another model (sha256 {sidecar.onnx_sha256}); {_AGAIN}")
    if (sidecar.runtime, sidecar.runtime_version) != (runtime, version):
        raise PlanError(
            f"{plan} was built with {sidecar.runtime} {sidecar.runtime_version}, this is {runtime} {version}; {_AGAIN}"
        )
    if gpu.target not in sidecar.targets or sidecar.gpu not in ("", gpu.name):
        built_for = sidecar.gpu or ", ".join(sidecar.targets)
        raise PlanError(f"{plan} was built for {built_for}, this is {gpu.name} ({gpu.target}); {_AGAIN}")
    content = plan.read_bytes()
    if len(content) != sidecar.plan_bytes:
        raise PlanError(f"{plan}: expected {sidecar.plan_bytes} bytes, found {len(content)}; {_AGAIN}")
    if hashlib.sha256(content).hexdigest() != sidecar.plan_sha256:
        raise PlanError(f"{plan} was changed or damaged after it was built; {_AGAIN}")
    return sidecar, content


def write_plan(plan: Path, content: bytes, sidecar: Sidecar) -> None:
    """Writes a plan and then its sidecar, each complete or not at all, for the user alone."""
    write_whole(plan, content)
    write_sidecar(plan, sidecar)


def write_sidecar(plan: Path, sidecar: Sidecar) -> None:
    """Writes the sidecar of a plan, complete or not at all."""
    write_whole(sidecar_path(plan), sidecar.to_json().encode())


def with_self_test(plan: Path, worst: float) -> Sidecar:
    """Returns the plan's sidecar once it says that the self-test was run, and how far it was off."""
    sidecar = replace(read_sidecar(plan), self_test=worst)
    write_sidecar(plan, sidecar)
    return sidecar


def check_owner(path: Path) -> None:
    """Raises PlanError unless `path` exists, is the user's own or root's, and nobody else may write to it.

    Windows has no such modes: there the per-user folder keeps others out.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise PlanError(f"cannot read {path}: {error.strerror or error}; {_AGAIN}") from error
    user = getattr(os, "geteuid", None)
    if user is None:
        return
    if status.st_uid not in (user(), 0):
        raise PlanError(f"{path} belongs to another user, so what is in it is not run; build a plan of your own")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PlanError(f"{path} can be written by others, so what is in it is not run; chmod go-w '{path}'")


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, complete or not at all, for the user alone."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    part.replace(path)
