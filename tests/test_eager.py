"""PyTorch behind the Engine protocol: the toy's step against NumPy, and a checkpoint of lite through the door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtmatte.backends.eager import EagerEngine
from rtmatte.contract import FRAME, MASK, Contract, Gates
from rtmatte.engine import open_engine
from rtmatte.errors import BackendError, EngineError, ModelError, StateConsumed
from tests.assertions import assert_equal_but_rounding
from tests.toy_model import ToyInNumpy, toy_contract


class Toy(nn.Module):
    """The toy of `toy_model` in PyTorch."""

    def forward(
        self, frame: Tensor, mask: Tensor, seed: Tensor, settle: Tensor, write: Tensor, bank: Tensor, last: Tensor
    ) -> tuple[Tensor, ...]:
        seeding = seed[:, :, None, None] > 0.5
        starting = torch.maximum(seed, settle)[:, :, None, None] > 0.5
        bank, last = bank.masked_fill(seeding, 0), last.masked_fill(seeding, 0)
        light = frame.mean(dim=3).unsqueeze(1) / 255
        alpha = torch.where(seeding, mask, last / 2 + light / 4 + bank.amax(1, keepdim=True) / 4)
        begun = torch.cat([alpha, torch.zeros_like(bank[:, 1:])], dim=1)
        kept = torch.where(write[:, :, None, None] > 0.5, alpha, bank)
        return alpha, torch.where(starting, begun, kept), alpha


class Broken(nn.Module):
    """A step whose shapes do not fit."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return (tensors[0] @ tensors[1],)


@pytest.fixture
def contract() -> Contract:
    return toy_contract(batch=2)


def inputs(contract: Contract, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(number)
    frame = rng.uniform(0, 255, contract.input(FRAME).shape).astype(np.float32)
    return frame, rng.uniform(0, 1, contract.input(MASK).shape).astype(np.float32)


def test_every_gate_gives_what_the_same_step_in_numpy_gives(contract: Contract) -> None:
    engine, reference = EagerEngine(Toy(), contract), ToyInNumpy(contract)
    state, gates = engine.new_state(), Gates.for_contract(contract)
    for number in range(8):
        frame, mask = inputs(contract, number)
        gates.clear()
        if number % 4 == 0:
            gates.set_seed(row=number // 4)
        elif number % 4 == 1:
            gates.set_settle(row=number // 4)
        else:
            gates.set_write(number % 3, row=number % 2)

        alpha, state = engine.step(frame, mask, gates, state)

        assert_equal_but_rounding(alpha, reference.step(frame, mask, gates))


def test_consumed_state_and_closed_engine_are_refused(contract: Contract) -> None:
    engine, gates = EagerEngine(Toy(), contract), Gates.for_contract(contract)
    frame, mask = inputs(contract, 0)
    state = engine.new_state()
    engine.step(frame, mask, gates, state)

    with pytest.raises(StateConsumed):
        engine.step(frame, mask, gates, state)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.step(frame, mask, gates, engine.new_state())


def test_failing_step_is_an_engine_error_in_one_line(contract: Contract) -> None:
    engine = EagerEngine(Broken(), contract)
    frame, mask = inputs(contract, 0)

    with pytest.raises(EngineError, match=r"torch cpu failed in a step .* start the stream over") as caught:
        engine.step(frame, mask, Gates.for_contract(contract), engine.new_state())
    assert "\n" not in str(caught.value)


def test_checkpoint_runs_at_the_size_that_is_asked_for(lite_checkpoint: Path) -> None:
    engine = open_engine(lite_checkpoint, backend="cpu", size=(100, 60), threads=1)

    assert engine.backend == "torch cpu"
    assert engine.contract.size == (100, 60)


def test_checkpoint_is_not_run_by_another_backend(lite_checkpoint: Path) -> None:
    with pytest.raises(BackendError, match=r"expected a backend of auto, cuda, cpu for lite\.pt, found 'rtx'"):
        open_engine(lite_checkpoint, backend="rtx")


def test_damaged_checkpoint_is_a_model_error(lite_checkpoint: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "lite.pt"
    damaged.write_bytes(lite_checkpoint.read_bytes()[:1000])

    with pytest.raises(ModelError, match=r"lite\.pt"):
        open_engine(damaged)
