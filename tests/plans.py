"""A library that builds plans of a few bytes, the GPUs they are for, and what can be done to a plan."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from rtmatte.cuda import Gpu
from rtmatte.plan.api import Api, Built, Progress, Runtime
from rtmatte.plan.sidecar import sidecar_path
from tests.toy_model import save_toy, toy_contract

GPU = Gpu("NVIDIA RTX A", (8, 9), 13000)
OTHER = Gpu("NVIDIA RTX B", (12, 0), 13000)

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="file modes are POSIX's")


class FakeApi:
    """A library that "builds" a few bytes; `built` are the files it was asked for."""

    def __init__(self, runtime: Runtime = "rtx", version: str = "1.7") -> None:
        self.runtime = runtime
        self.version = version
        self.targets = ("sm86", "sm89", "sm120") if runtime == "rtx" else ()
        self.built: list[str] = []

    def build(self, onnx: Path, *, targets: Sequence[str], tf32: bool, progress: Progress | None = None) -> Built:
        self.built.append(onnx.name)
        if progress:
            progress("building", 1.0)
        plan = f"{onnx.name} {self.version} {','.join(targets)} {tf32}".encode() * 10
        return Built(plan, {"CONVOLUTION": 3}, {"FLOAT": 3}, 1000, 500)

    def __str__(self) -> str:
        return f"library {self.version}"


def fake_api(runtime: Runtime = "rtx", version: str = "1.7") -> Api:
    return cast(Api, FakeApi(runtime, version))


def builds(api: Api) -> list[str]:
    return cast(FakeApi, api).built


def toy_onnx(tmp_path: Path) -> Path:
    """Writes the toy's graph: a fixture."""
    return save_toy(tmp_path / "toy.onnx", toy_contract())


def change_sidecar(**values: object) -> Callable[[Path], None]:
    def change(plan: Path) -> None:
        raw = json.loads(sidecar_path(plan).read_text())
        sidecar_path(plan).write_text(json.dumps(raw | values))

    return change


def truncate(plan: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:-1])


def flip(plan: Path) -> None:
    content = bytearray(plan.read_bytes())
    content[5] ^= 1
    plan.write_bytes(content)


def cut_sidecar(plan: Path) -> None:
    sidecar_path(plan).write_text(sidecar_path(plan).read_text()[:100])


def remove_sidecar(plan: Path) -> None:
    sidecar_path(plan).unlink()


DAMAGES = [
    (truncate, "bytes, found"),
    (flip, "changed or damaged"),
    (cut_sidecar, "sidecar is damaged"),
    (remove_sidecar, r"cannot read .*toy\.plan\.json"),
    (change_sidecar(plan_sha256="0" * 64), "changed or damaged"),
    (change_sidecar(targets=["sm86"]), r"built for sm86, this is NVIDIA RTX A \(sm89\)"),
    (change_sidecar(gpu=OTHER.name), "built for NVIDIA RTX B, this is NVIDIA RTX A"),
    (change_sidecar(runtime="tensorrt"), r"built with tensorrt 1\.7, this is rtx 1\.7"),
    (change_sidecar(version=99), "version 1, found 99"),
    (change_sidecar(contract={}), "damaged"),
    (change_sidecar(contract=None), "damaged"),
    (change_sidecar(targets=None), "damaged"),
    (change_sidecar(surprise=1), "damaged"),
    (lambda plan: sidecar_path(plan).write_text("[]"), "damaged"),
    (lambda plan: sidecar_path(plan).write_text("[" * 100_000), "damaged"),
    (lambda plan: sidecar_path(plan).write_bytes(b"\xff\xfe"), "damaged"),
    (lambda plan: plan.unlink(), "cannot read"),
]
