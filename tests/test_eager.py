"""PyTorch behind the Engine protocol: the toy's step against NumPy, and a checkpoint of lite through the door."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmatte.backends.eager import EagerEngine
from rtmatte.contract import Contract, Gates
from rtmatte.engine import open_engine
from rtmatte.errors import BackendError, EngineError, ModelError, StateConsumed
from tests.assertions import assert_equal_but_rounding
from tests.toy_model import ToyInNumpy, toy_contract, toy_inputs
from tests.toy_torch import Broken, Toy


@pytest.fixture
def contract() -> Contract:
    return toy_contract(batch=2)


def test_every_gate_gives_what_the_same_step_in_numpy_gives(contract: Contract) -> None:
    engine, reference = EagerEngine(Toy(), contract), ToyInNumpy(contract)
    state, gates = engine.new_state(), Gates.for_contract(contract)
    for number in range(8):
        frame, mask = toy_inputs(contract, number)
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
    frame, mask = toy_inputs(contract, 0)
    state = engine.new_state()
    engine.step(frame, mask, gates, state)

    with pytest.raises(StateConsumed):
        engine.step(frame, mask, gates, state)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.step(frame, mask, gates, engine.new_state())


def test_failing_step_is_an_engine_error_in_one_line(contract: Contract) -> None:
    engine = EagerEngine(Broken(), contract)
    frame, mask = toy_inputs(contract, 0)

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
