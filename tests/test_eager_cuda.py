"""PyTorch with its state on a device: the same code on the CPU, where it can always run, and on a GPU where one is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export.check import Tolerance, measure_drift
from rtmatte import models
from rtmatte.backends.eager import EagerEngine
from rtmatte.backends.eager_cuda import resident
from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import Gates
from rtmatte.engine import open_engine
from rtmatte.errors import BackendError, EngineError
from rtmatte.network import lite_step
from rtmatte.network.lite import Lite
from rtmatte.torch_device import TorchDevice
from tests.assertions import assert_equal_but_rounding
from tests.gpu import gpu_or_skip
from tests.toy_model import ToyInNumpy, set_gate, toy_contract, toy_inputs
from tests.toy_torch import Broken, Toy

HALF_MEAN = 1e-3  # of the alpha, free-running: the network in half precision or on another backend
SCHEDULE = ("seed", "settle", "frame", "write 1", "frame", "write 2", "frame", "seed", "frame", "frame")


@pytest.mark.parametrize("kind", ["cpu", pytest.param("cuda", marks=pytest.mark.needs_gpu)])
def test_every_gate_gives_what_the_same_step_in_numpy_gives(kind: str) -> None:
    if kind == "cuda":
        gpu_or_skip()
    contract = toy_contract(batch=2)
    engine = resident([(Toy(), contract)], TorchDevice(kind), backend=f"torch {kind}")
    reference, state, gates = ToyInNumpy(contract), engine.new_state(), Gates.for_contract(contract)
    for number, what in enumerate(SCHEDULE):
        frame, mask = toy_inputs(contract, number)
        gates.clear()
        for row in range(2):
            set_gate(gates, what, row)

        alpha, state = engine.step(frame, mask, gates, state)

        assert_equal_but_rounding(alpha, reference.step(frame, mask, gates))


def test_lite_gives_what_it_gives_without_a_device() -> None:
    torch.manual_seed(2)
    net = lite_step.fold(Lite().eval())
    contract = lite_step.contract_of(net, width=64, height=48)
    step = lite_step.LiteStep(net, width=64, height=48).eval()
    reference = EagerEngine(step, contract)

    drift = measure_drift(resident([(step, contract)], TorchDevice("cpu"), backend="cpu"), reference, frames=12)

    assert drift.within(Tolerance(1e-6)), str(drift)


def test_failing_module_is_an_engine_error_in_one_line() -> None:
    contract = toy_contract()
    engine = resident([(Broken(), contract)], TorchDevice("cpu"), backend="torch cpu")
    frame, mask = toy_inputs(contract, 0)

    with pytest.raises(
        EngineError, match=r"torch cpu failed in a step \(PyTorch says: .*start the stream over"
    ) as caught:
        engine.step(frame, mask, Gates.for_contract(contract), engine.new_state())
    assert "\n" not in str(caught.value)


def test_memory_goes_with_its_state() -> None:
    contract = toy_contract()
    device = TorchDevice("cpu")
    engine = resident([(Toy(), contract)], device, backend="torch cpu")
    before = len(device._blocks)

    state = engine.new_state()
    assert len(device._blocks) == before + 1
    del state
    assert len(device._blocks) == before


def test_checkpoint_on_a_gpu_that_is_not_there_is_an_error(lite_checkpoint: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")

    with pytest.raises(BackendError, match="cuda: PyTorch finds no NVIDIA GPU"):
        open_engine(lite_checkpoint, backend="cuda")


@pytest.mark.needs_gpu
@pytest.mark.parametrize("backend", ["rtx", "tensorrt"])
def test_plan_of_lite_follows_onnx_runtime_for_300_frames(backend: str) -> None:
    gpu_or_skip()
    path = models.find("lite", (512, 288))
    try:
        engine = open_engine(path, backend=backend)
    except BackendError as error:
        pytest.skip(str(error))  # one of the two libraries, or a GPU it does not serve

    drift = measure_drift(engine, OrtEngine(path), frames=300)

    assert drift.within(Tolerance(HALF_MEAN)), str(drift)
