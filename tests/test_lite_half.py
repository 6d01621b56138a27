"""lite in half precision: its graph, with the shipped weights, beside float32 for as long as a user would look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from export.check import measure_drift
from export.to_onnx import export_step
from rtmatte import models
from rtmatte.backends.eager import EagerEngine
from rtmatte.backends.ort import OrtEngine
from rtmatte.network.checkpoint import HALF, open_step
from rtmatte.network.half import AlphaInBytes, contract_in_half
from rtmatte.network.lite import Lite
from rtmatte.network.lite_step import HALVED, LiteStep, contract_of, fold, in_half
from tests.assertions import assert_half_drift

WIDTH, HEIGHT = 160, 96
FRAMES = 300


def shipped() -> Lite:
    """Returns the network of the graph that ships."""
    graph = onnx.load(models.find("lite", (512, 288))).graph
    values = {
        tensor.name.removesuffix(".half").removeprefix("net."): numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in graph.initializer
    }
    net = fold(Lite().eval())
    known = {name: torch.from_numpy(values[name]) for name in net.state_dict() if name in values}
    net.load_state_dict(known, strict=False)
    net.reader.sharpness.data = torch.from_numpy(values["exp"]).log()  # the exporter kept its exponential
    return net


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> tuple[OrtEngine, EagerEngine]:
    """The half-precision graph, and the same weights in float32."""
    contract = contract_of(shipped(), width=WIDTH, height=HEIGHT)
    step = LiteStep(shipped(), width=WIDTH, height=HEIGHT).eval()
    in_half(step)
    path = tmp_path_factory.mktemp("half") / "lite.onnx"
    export_step(AlphaInBytes(step), contract_in_half(contract, HALVED), path, half_weights=False)
    return OrtEngine(path, threads=1), EagerEngine(LiteStep(shipped(), width=WIDTH, height=HEIGHT), contract)


def test_half_precision_does_not_drift_from_float32_in_ten_seconds(engines: tuple[OrtEngine, EagerEngine]) -> None:
    half, full = engines

    assert_half_drift(measure_drift(half, full, frames=FRAMES))


def test_a_checkpoint_opens_in_half_precision(lite_checkpoint: Path) -> None:
    step, contract = open_step(lite_checkpoint, width=WIDTH, height=HEIGHT, variant=HALF)

    inputs = [torch.zeros(s.shape, dtype=getattr(torch, s.dtype)) for s in (*contract.inputs, *contract.states)]
    with torch.inference_mode():
        results = step(*inputs)
    assert contract.variant == HALF
    assert [str(result.dtype) for result in results] == [f"torch.{spec.dtype}" for spec in contract.results]
    assert [tuple(result.shape) for result in results] == [spec.shape for spec in contract.results]
