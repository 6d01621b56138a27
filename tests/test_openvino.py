"""What is OpenVINO's own: its precisions, the door to it and the files it refuses. The rest is in `test_step`."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from rtmatte.backends import candidates
from rtmatte.contract import MASK, Contract
from rtmatte.engine import open_engine, self_test
from rtmatte.errors import BackendError, ContractError, EngineError, ModelError
from rtmatte.modelfile import seal
from tests.assertions import assert_bfloat16_means
from tests.toy_model import gates_of, save_toy, toy_contract, toy_inputs

pytest.importorskip("openvino", reason="OpenVINO is not installed; pip install 'rtmatte[openvino]'")

import openvino

from rtmatte.backends.openvino import OpenVinoEngine
from rtmatte.backends.ort import OrtEngine


@pytest.fixture
def toy(contract: Contract, tmp_path: Path) -> Path:
    return save_toy(tmp_path / "toy.onnx", contract)


def test_engine_says_what_runs_and_in_which_precision(toy: Path) -> None:
    assert OpenVinoEngine(toy, threads=1).backend == "openvino cpu f32"
    assert OpenVinoEngine(toy, precision="bf16", threads=1).backend == "openvino cpu bf16"


def test_states_and_alphas_are_the_engines_own_memory(contract: Contract, toy: Path) -> None:
    engine = OpenVinoEngine(toy, threads=1)
    frame, mask = toy_inputs(contract, 0)
    alphas, state = [], engine.new_state()
    for kind in ("seed", "frame", "frame"):
        alpha, state = engine.step(frame, mask, gates_of(contract, kind), state)
        alphas.append(alpha)

    stream = state.take(engine)

    assert alphas[0] is alphas[2] is stream.alphas[0]
    assert alphas[1] is stream.alphas[1]
    for binding, alpha in zip(stream.bindings, stream.alphas, strict=True):
        assert np.shares_memory(binding["alpha"].data, alpha)
    for name in ("bank", "last"):
        first, second = stream.bindings
        assert np.shares_memory(first[name].data, second[f"{name}_next"].data)
        assert np.shares_memory(second[name].data, first[f"{name}_next"].data)
        assert not np.shares_memory(first[name].data, second[name].data)
        np.testing.assert_array_equal(stream.requests[0].get_tensor(name).data, first[name].data)


def test_auto_takes_it_in_float32_where_onnx_runtime_is_missing_and_never_in_bfloat16(toy: Path) -> None:
    names = [backend.name for backend in candidates(toy)]

    assert names.index("cuda") < names.index("cpu") < names.index("openvino")
    assert "openvino-bf16" not in names
    assert [backend.name for backend in candidates(toy, "openvino-bf16")] == ["openvino-bf16"]


@pytest.mark.parametrize(("name", "precision"), [("openvino", "f32"), ("openvino-bf16", "bf16")])
def test_door_opens_it_by_name_and_with_its_self_test(name: str, precision: str, contract: Contract, toy: Path) -> None:
    means = self_test(OrtEngine(toy, threads=1))
    seal(save_toy(toy, replace(contract, self_test=means)))

    engine = open_engine(toy, backend=name, threads=1)

    assert engine.backend == f"openvino cpu {precision}"
    assert_bfloat16_means(np.array(self_test(engine)), np.array(means))


@pytest.fixture
def thresholded(tmp_path: Path) -> Path:
    """A step whose alpha says how many of eight convolutions of the frame are above 0."""
    contract = toy_contract(64, 48)
    path = save_toy(tmp_path / "thresholded.onnx", contract)
    model = onnx.load(path)
    weights = np.random.default_rng(0).standard_normal((8, 1, 3, 3)).astype(np.float32)
    for name, values in {
        "weights": weights - weights.mean(axis=(2, 3), keepdims=True),
        "sum": np.ones((1, 8, 1, 1)),
    }.items():
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    nodes = [
        helper.make_node("Conv", ["light", "weights"], ["score"], pads=[1, 1, 1, 1]),
        helper.make_node("Greater", ["score", "zero"], ["above"]),
        helper.make_node("Cast", ["above"], ["bits"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Conv", ["bits", "sum"], ["count"]),
    ]
    decoded = next(index for index, node in enumerate(model.graph.node) if "decoded" in node.output)
    model.graph.node[decoded].input[:] = ["count", "zero"]
    for node in reversed(nodes):
        model.graph.node.insert(decoded, node)
    path.write_bytes(model.SerializeToString())
    return path


def precisions(part: object) -> Counter[tuple[str, str]]:
    """Returns how many operations of which kind a compiled network runs in which precision."""
    nodes = [node.get_rt_info() for node in part.network.get_runtime_model().get_ops()]  # type: ignore[attr-defined]
    return Counter((str(info["layerType"].astype(str)), str(info["runtimePrecision"].astype(str))) for info in nodes)


def test_what_a_comparison_depends_on_keeps_its_precision_in_bfloat16(thresholded: Path) -> None:
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16")
    whole, parted = (OpenVinoEngine(thresholded, precision=precision, threads=1) for precision in ("f32", "bf16"))

    first, second = (precisions(part) for part in parted._parts)

    assert "bf16" not in {precision for _, precision in first}
    assert first["Convolution", "f32"] == second["Convolution", "bf16"] == 1
    states = [engine.new_state() for engine in (whole, parted)]
    for seed in range(3):
        frame, _ = toy_inputs(whole.contract, seed)
        gates = gates_of(whole.contract, "frame")
        expected, states[0] = whole.step(frame, None, gates, states[0])
        alpha, states[1] = parted.step(frame, None, gates, states[1])
        np.testing.assert_array_equal(alpha, expected)


def test_a_graph_that_compares_only_what_it_is_given_stays_whole(toy: Path) -> None:
    engines = [
        OpenVinoEngine(toy, precision="bf16", threads=1),
        open_engine("lite", backend="openvino-bf16", threads=1),
    ]

    assert [len(engine._parts) for engine in engines] == [1, 1]  # type: ignore[attr-defined]


def test_a_graph_in_int8_stays_whole(thresholded: Path) -> None:
    model = onnx.load(thresholded)
    for name, value in {"step": np.float32(1 / 255), "middle": np.uint8(0)}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    score = next(index for index, node in enumerate(model.graph.node) if "score" in node.output)
    model.graph.node[score].input[0] = "light_again"
    model.graph.node.insert(score, helper.make_node("DequantizeLinear", ["code", "step", "middle"], ["light_again"]))
    model.graph.node.insert(score, helper.make_node("QuantizeLinear", ["light", "step", "middle"], ["code"]))
    thresholded.write_bytes(model.SerializeToString())

    assert len(OpenVinoEngine(thresholded, precision="bf16", threads=1)._parts) == 1


def test_without_openvino_the_error_names_the_extra(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "rtmatte.backends.openvino")

    with pytest.raises(BackendError, match=r"openvino: OpenVINO is not installed .*rtmatte\[openvino\]"):
        open_engine(toy, backend="openvino")


def test_file_that_differs_from_its_contract_is_refused_in_one_line(contract: Contract, tmp_path: Path) -> None:
    path = save_toy(tmp_path / "wide.onnx", contract, graph_of=toy_contract(width=32))

    with pytest.raises(ContractError, match=r"expected frame \[1, 8, 16, 3\] float32, found \[1, 8, 32, 3\]") as caught:
        OpenVinoEngine(path, threads=1)
    assert "\n" not in str(caught.value)


def test_graph_that_openvino_cannot_load_is_a_model_error_in_one_line(toy: Path) -> None:
    model = onnx.load(toy)
    model.graph.ClearField("node")
    model.graph.node.append(helper.make_node("NoSuchOperator", [MASK], ["alpha"]))
    toy.write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match="OpenVINO cannot load") as caught:
        OpenVinoEngine(toy, threads=1)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


class BrokenRequest:
    """Fails in OpenVINO's own words."""

    def set_tensor(self, name: str, tensor: object) -> None:
        raise RuntimeError("Exception from src/infer_request.cpp:79:\nCheck 'ready' failed\nout of memory")


def test_failing_step_is_an_engine_error_and_a_new_state_goes_on(contract: Contract, toy: Path) -> None:
    engine = OpenVinoEngine(toy, threads=1)
    frame, mask = toy_inputs(contract, 0)
    state = engine.new_state()
    state._buffers.requests = (BrokenRequest(),)

    with pytest.raises(EngineError, match=r"failed in a step \(out of memory\); start the stream over"):
        engine.step(frame, mask, gates_of(contract, "seed"), state)
    alpha, _ = engine.step(frame, mask, gates_of(contract, "seed"), engine.new_state())
    np.testing.assert_array_equal(alpha, mask)
