"""What the Engine protocol promises, kept by every backend that runs ONNX files without a GPU, on a toy with every
gate against the same step in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import ALPHA, FRAME, METADATA_KEY, Contract, Gates, TensorSpec
from rtmatte.errors import EngineError, InputError, StateConsumed
from rtmatte.step import Engine
from tests.assertions import assert_equal_but_rounding
from tests.toy_model import ToyInNumpy, gates_of, save_toy, set_gate, toy_contract, toy_inputs

Open = Callable[[Path], Engine]


@pytest.fixture(params=["onnxruntime", "openvino"])
def open_file(request: pytest.FixtureRequest) -> Open:
    """Returns what opens an ONNX file in one of the backends, on one thread."""
    pytest.importorskip(request.param)
    if request.param == "onnxruntime":
        return partial(OrtEngine, threads=1)
    from rtmatte.backends.openvino import OpenVinoEngine

    return partial(OpenVinoEngine, threads=1)


@pytest.fixture
def engine(contract: Contract, open_file: Open, tmp_path: Path) -> Engine:
    return open_file(save_toy(tmp_path / "toy.onnx", contract))


SCHEDULE = ("seed", "settle", "frame", "write 1", "frame", "write 2", "frame", "write 1", "seed", "frame", "frame")


def test_every_gate_gives_what_the_same_step_in_numpy_gives(contract: Contract, engine: Engine) -> None:
    reference, state = ToyInNumpy(contract), engine.new_state()
    for number, kind in enumerate(SCHEDULE):
        frame, mask = toy_inputs(contract, number)
        gates = gates_of(contract, kind)

        alpha, state = engine.step(frame, mask, gates, state)

        assert_equal_but_rounding(alpha, reference.step(frame, mask, gates))


def test_rows_of_a_batch_in_different_phases_equal_single_runs(open_file: Open, tmp_path: Path) -> None:
    contract, single = toy_contract(batch=4), toy_contract()
    engine = open_file(save_toy(tmp_path / "four.onnx", contract))
    references = [ToyInNumpy(single) for _ in range(4)]
    state = engine.new_state()
    for number in range(len(SCHEDULE)):
        frame, mask = toy_inputs(contract, number)
        gates = Gates.for_contract(contract)
        kinds = ["seed" if number == 0 else SCHEDULE[(number + row) % len(SCHEDULE)] for row in range(4)]
        for row, kind in enumerate(kinds):
            set_gate(gates, kind, row)

        alpha, state = engine.step(frame, mask, gates, state)

        for row, kind in enumerate(kinds):
            of_row = slice(row, row + 1)
            expected = references[row].step(frame[of_row], mask[of_row], gates_of(single, kind))
            assert_equal_but_rounding(alpha[of_row], expected)


def test_two_streams_do_not_mix(contract: Contract, engine: Engine) -> None:
    references = [ToyInNumpy(contract), ToyInNumpy(contract)]
    states = [engine.new_state(), engine.new_state()]
    for number, kind in enumerate(SCHEDULE):
        for stream, (reference, state) in enumerate(zip(references, states, strict=True)):
            frame, mask = toy_inputs(contract, 100 * stream + number)
            gates = gates_of(contract, kind)

            alpha, states[stream] = engine.step(frame, mask, gates, state)

            assert_equal_but_rounding(alpha, reference.step(frame, mask, gates))


def test_an_alpha_lasts_until_the_second_next_step_of_its_stream(contract: Contract, engine: Engine) -> None:
    frame, mask = toy_inputs(contract, 0)
    other, _ = engine.step(frame, mask, gates_of(contract, "seed"), engine.new_state())
    first, state = engine.step(frame, mask, gates_of(contract, "seed"), engine.new_state())
    kept = first.copy()

    second, state = engine.step(frame, None, gates_of(contract, "frame"), state)
    after_one = first.copy()
    third, state = engine.step(frame, None, gates_of(contract, "frame"), state)

    np.testing.assert_array_equal(after_one, kept)
    np.testing.assert_array_equal(other, kept)
    assert np.shares_memory(third, first)
    assert not np.shares_memory(second, first)


def test_a_poisoned_state_shows_until_a_seed_and_not_after(contract: Contract, engine: Engine) -> None:
    frame, mask = toy_inputs(contract, 0)
    broken = np.full_like(frame, np.nan)
    reference = ToyInNumpy(contract)

    _, state = engine.step(broken, None, gates_of(contract, "write 1"), engine.new_state())
    poisoned, state = engine.step(frame, None, gates_of(contract, "frame"), state)
    assert np.isnan(poisoned).all()
    for kind in ("seed", "frame", "write 1", "frame"):
        gates = gates_of(contract, kind)
        alpha, state = engine.step(frame, mask, gates, state)

        assert_equal_but_rounding(alpha, reference.step(frame, mask, gates))


def test_a_poisoned_row_does_not_reach_its_neighbour(open_file: Open, tmp_path: Path) -> None:
    contract, single = toy_contract(batch=2), toy_contract()
    engine = open_file(save_toy(tmp_path / "two.onnx", contract))
    frame, mask = toy_inputs(contract, 0)
    frame[0] = np.nan
    reference, state = ToyInNumpy(single), engine.new_state()
    for kind in ("frame", "write 2", "frame"):
        gates = Gates.for_contract(contract)
        for row in range(2):
            set_gate(gates, kind, row)

        alpha, state = engine.step(frame, mask, gates, state)

        assert_equal_but_rounding(alpha[1:], reference.step(frame[1:], mask[1:], gates_of(single, kind)))


def test_consumed_state_is_refused(contract: Contract, engine: Engine) -> None:
    frame, mask = toy_inputs(contract, 0)
    state = engine.new_state()
    engine.step(frame, mask, gates_of(contract, "seed"), state)

    with pytest.raises(StateConsumed, match="already used"):
        engine.step(frame, mask, gates_of(contract, "seed"), state)


def test_state_of_another_engine_is_refused(
    contract: Contract, engine: Engine, open_file: Open, tmp_path: Path
) -> None:
    frame, mask = toy_inputs(contract, 0)
    other = open_file(save_toy(tmp_path / "other.onnx", contract))

    with pytest.raises(StateConsumed, match="another engine"):
        engine.step(frame, mask, gates_of(contract, "seed"), other.new_state())


def test_closed_engine_refuses_to_step(contract: Contract, engine: Engine) -> None:
    frame, mask = toy_inputs(contract, 0)
    state = engine.new_state()
    engine.close()

    with pytest.raises(EngineError, match="closed"):
        engine.step(frame, mask, gates_of(contract, "seed"), state)
    with pytest.raises(EngineError, match="closed"):
        engine.new_state()


def test_wrong_arrays_are_refused_and_leave_the_state_usable(open_file: Open, tmp_path: Path) -> None:
    contract = toy_contract(batch=2)
    engine = open_file(save_toy(tmp_path / "two.onnx", contract))
    frame, mask = toy_inputs(contract, 0)
    seed, state = gates_of(contract, "seed"), engine.new_state()

    with pytest.raises(InputError, match=r"expected frame \[2, 8, 16, 3\] float32, found \[1, 8, 16, 3\]"):
        engine.step(frame[:1], mask, seed, state)
    with pytest.raises(InputError, match=r"found .* uint8"):
        engine.step(frame.astype(np.uint8), mask, seed, state)
    with pytest.raises(InputError, match="expected mask"):
        engine.step(frame, mask[:, :, :4], seed, state)
    with pytest.raises(InputError, match="mask was expected"):
        engine.step(frame, None, seed, state)
    with pytest.raises(InputError, match="expected write"):
        engine.step(frame, mask, gates_of(toy_contract(batch=2, slots=4), "seed"), state)
    engine.step(frame, mask, seed, state)


def test_model_without_mask_gates_or_states_takes_every_call_for_an_ordinary_one(
    open_file: Open, tmp_path: Path
) -> None:
    contract = Contract(
        model="plain",
        role="step",
        inputs=(TensorSpec(FRAME, (1, 4, 6, 3), "uint8"),),
        states=(),
        outputs=(TensorSpec(ALPHA, (1, 1, 4, 6), "uint8"),),
    )
    nodes = [
        helper.make_node("Slice", [FRAME, "one", "two", "three"], ["green"]),
        helper.make_node("Transpose", ["green"], [ALPHA], perm=[0, 3, 1, 2]),
    ]
    constants = [helper.make_tensor(n, TensorProto.INT64, [1], [v]) for n, v in (("one", 1), ("two", 2), ("three", 3))]
    taken = helper.make_tensor_value_info(FRAME, TensorProto.UINT8, [1, 4, 6, 3])
    given = helper.make_tensor_value_info(ALPHA, TensorProto.UINT8, [1, 1, 4, 6])
    graph = helper.make_graph(nodes, "plain", [taken], [given], constants)
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    onnx.save_model(model, str(tmp_path / "plain.onnx"))
    engine = open_file(tmp_path / "plain.onnx")
    frame = np.arange(72, dtype=np.uint8).reshape(1, 4, 6, 3)

    alpha, _ = engine.step(frame, None, gates_of(contract, "seed"), engine.new_state())

    np.testing.assert_array_equal(alpha[0, 0], frame[0, :, :, 1])
