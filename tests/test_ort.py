"""What is ONNX Runtime's own; what it shares with the other backends is in `test_step`."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import Contract
from rtmatte.errors import EngineError
from tests.toy_model import gates_of, save_toy, toy_contract, toy_inputs


@pytest.fixture
def engine(contract: Contract, tmp_path: Path) -> OrtEngine:
    return OrtEngine(save_toy(tmp_path / "toy.onnx", contract), threads=1)


def test_steps_allocate_nothing_once_warm(tmp_path: Path) -> None:
    contract = toy_contract(64, 48)
    engine = OrtEngine(save_toy(tmp_path / "larger.onnx", contract), threads=1)
    frame, mask = toy_inputs(contract, 0)
    gates, state = gates_of(contract, "seed"), engine.new_state()
    _, state = engine.step(frame, mask, gates, state)
    gates.clear()
    tracemalloc.start()
    try:
        for number in range(700):
            if number == 500:  # the binding's own caches have grown to their size by then
                before, _ = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
            _, state = engine.step(frame, mask, gates, state)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before < 256, "memory grows with the steps"
    assert peak - before < mask.nbytes, "a step makes an array"


def test_backend_says_what_runs(engine: OrtEngine) -> None:
    assert engine.backend == "onnxruntime cpu"


def test_failing_step_is_an_engine_error_and_a_new_state_goes_on(contract: Contract, tmp_path: Path) -> None:
    # A GatherND whose index is 99 when `settle` is set, which no check at load can see.
    path = save_toy(tmp_path / "toy.onnx", contract)
    model = onnx.load(path)
    model.graph.node.insert(0, helper.make_node("Cast", ["settle"], ["index"], to=TensorProto.INT64))
    model.graph.node.insert(1, helper.make_node("Mul", ["index", "far"], ["far_index"]))
    model.graph.node.insert(2, helper.make_node("GatherND", ["seed", "far_index"], ["gathered"]))
    model.graph.initializer.append(helper.make_tensor("far", TensorProto.INT64, [1], [99]))
    model.graph.output.append(helper.make_tensor_value_info("gathered", TensorProto.FLOAT, [1, 1]))
    for node in model.graph.node:
        if list(node.output) == ["start"]:
            node.input[:] = ["gathered", "settle"]
    path.write_bytes(model.SerializeToString())
    engine = OrtEngine(path, threads=1)
    frame, mask = toy_inputs(contract, 0)

    with pytest.raises(EngineError, match=r"onnxruntime cpu failed in a step .* start the stream over") as caught:
        engine.step(frame, mask, gates_of(contract, "settle"), engine.new_state())
    assert "\n" not in str(caught.value)
    alpha, _ = engine.step(frame, mask, gates_of(contract, "seed"), engine.new_state())
    np.testing.assert_array_equal(alpha, mask)
