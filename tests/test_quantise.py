"""The int8 graph: convolutions and nothing else, the float32 graph's contract, sealed, and near it step by step."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from export.__main__ import main
from export.quantise import ONE_STEP_IN_INT8, measure_calls, quantise
from export.rehearsal import Recorder, rehearse
from export.to_onnx import export_step
from rtmatte.backends.ort import OrtEngine
from rtmatte.clock import ManualClock
from rtmatte.contract import GATES, read_contract
from rtmatte.engine import open_engine, self_test
from rtmatte.errors import ModelError
from rtmatte.frame import Mask
from rtmatte.modelfile import read_seal
from rtmatte.network.checkpoint import open_step
from rtmatte.network.lite import Lite
from rtmatte.sources.synthetic import SyntheticSource
from rtmatte.targets.mask import MaskTarget

WIDTH, HEIGHT = 64, 48


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(5)
    net = Lite()
    path = tmp_path_factory.mktemp("int8") / "weights.pt"
    torch.save({"widths": net.widths.to_dict(), "net": net.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def graph(checkpoint: Path) -> Path:
    step, contract = open_step(checkpoint, width=WIDTH, height=HEIGHT)
    path = checkpoint.with_suffix(".onnx")
    export_step(step, contract, path, half_weights=True)
    return path


def disc() -> MaskTarget:
    """Returns the target of the made scene."""
    return MaskTarget(Mask(SyntheticSource(ManualClock(), size=(WIDTH, HEIGHT)).alpha_of(0)))


@pytest.fixture(scope="module")
def int8(graph: Path) -> Path:
    path = graph.with_name("int8.onnx")
    quantise(graph, path, rehearse(Recorder(graph), "synthetic", disc(), frames=8))
    return path


def test_calls_are_those_of_a_stream_with_the_states_that_led_to_them(graph: Path) -> None:
    calls = list(rehearse(Recorder(graph), "synthetic", disc(), frames=8))

    gates = [tuple(name for name in GATES if call.given[name].any()) for call in calls]
    assert gates[:3] == [("seed",), ("settle",), ("settle",)]
    assert gates[3:] == [()] * 4 + [("write",)] + [()] * 2
    assert not calls[0].given["bank_valid"].any()
    assert calls[-1].given["bank_valid"].sum() == 2
    assert not np.array_equal(calls[3].given["last_alpha"], calls[4].given["last_alpha"])


def test_every_convolution_is_int8_per_channel_and_nothing_else_is(graph: Path, int8: Path) -> None:
    model = onnx.load(int8)
    made = {output: node for node in model.graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    before = Counter(node.op_type for node in onnx.load(graph).graph.node)

    assert len(convolutions) == before["Conv"] > 10
    for node in convolutions:
        picture, weight = made[node.input[0]], made[node.input[1]]
        assert picture.op_type == weight.op_type == "DequantizeLinear"
        values, scales = (numpy_helper.to_array(constants[name]) for name in weight.input[:2])
        assert values.dtype == np.int8
        assert scales.shape == values.shape[:1]
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QLinearMatMul"}


def test_contract_is_the_float32_graphs_but_for_variant_and_self_test_and_the_seal_holds(
    graph: Path, int8: Path
) -> None:
    contract, seal = read_contract(int8), read_seal(int8)

    assert seal is not None
    assert seal.recorded == seal.found
    assert contract.variant == "int8"
    assert replace(contract, variant="", self_test=()) == read_contract(graph)
    assert contract.self_test == self_test(OrtEngine(int8, threads=1))
    assert contract.self_test != self_test(OrtEngine(graph, threads=1))
    assert open_engine(int8, backend="cpu", threads=1).contract == contract


def test_a_step_in_int8_is_near_the_step_in_float32(graph: Path, int8: Path) -> None:
    calls = islice(rehearse(Recorder(graph), "synthetic", disc(), frames=16), 16)

    drift = measure_calls(OrtEngine(int8, threads=1), calls)

    assert drift.within(ONE_STEP_IN_INT8), str(drift)
    assert drift.greatest > 0


def test_openvino_runs_the_same_file_and_agrees(int8: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed; pip install 'rtmatte[openvino]'")

    for name in ("openvino", "openvino-bf16"):
        assert open_engine(int8, backend=name, threads=1).backend.startswith("openvino cpu")


def test_the_check_finds_a_scale_that_is_wrong(graph: Path, int8: Path, tmp_path: Path) -> None:
    model = onnx.load(int8)
    scale = next(t for t in model.graph.initializer if t.name.endswith("_scale") and len(t.dims) == 0)
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(0.2), scale.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    calls = rehearse(Recorder(graph), "synthetic", disc(), frames=4)

    assert not measure_calls(OrtEngine(tmp_path / "wrong.onnx", threads=1), calls).within(ONE_STEP_IN_INT8)


def test_graph_in_half_precision_is_refused_and_nothing_is_written(graph: Path, tmp_path: Path) -> None:
    model = onnx.load(graph)
    contract = read_contract(graph)
    states = tuple(replace(spec, dtype="float16") for spec in contract.states)
    model.metadata_props[0].value = replace(contract, states=states).to_json()
    onnx.save(model, tmp_path / "half.onnx")

    with pytest.raises(ModelError, match="in half precision"):
        quantise(tmp_path / "half.onnx", tmp_path / "int8.onnx", iter(()))
    assert not (tmp_path / "int8.onnx").exists()


def test_a_clip_in_which_nobody_is_found_is_one_line_and_exit_code_2(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(checkpoint), "--size", f"{WIDTH}x{HEIGHT}", "--check-frames", "0", "--int8", "synthetic"]
    monkeypatch.setattr("sys.argv", [*arguments, "--output", str(tmp_path / "lite.onnx")])

    assert main() == 2

    told = capsys.readouterr().err
    assert "expected a clip of a person" in told
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["lite.onnx"]
