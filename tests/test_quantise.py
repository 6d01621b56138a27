"""The int8 graph: convolutions and nothing else, the float32 graph's contract, sealed, and near it step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export import scaling
from export.__main__ import main
from export.check import Tolerance
from export.choice import (
    FEW,
    ONE_STEP_IN_INT8,
    blocks_of,
    choose,
    measure_calls,
    quantise_checked,
)
from export.quantise import Quantiser
from export.rehearsal import Recorded, Recorder, improvise, rehearse
from export.to_onnx import export_step
from rtmatte.backends.ort import OrtEngine
from rtmatte.clock import ManualClock
from rtmatte.contract import FRAME, GATES, read_contract
from rtmatte.engine import open_engine, self_test
from rtmatte.errors import InputError, ModelError
from rtmatte.frame import Mask
from rtmatte.modelfile import read_seal
from rtmatte.network.checkpoint import open_step
from rtmatte.sources.synthetic import SyntheticSource
from rtmatte.step import Array
from rtmatte.targets.mask import MaskTarget

WIDTH, HEIGHT = 64, 48


@pytest.fixture(scope="module")
def graph(lite_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    step, contract = open_step(lite_checkpoint, width=WIDTH, height=HEIGHT)
    path = tmp_path_factory.mktemp("int8") / "lite.onnx"
    export_step(step, contract, path, half_weights=True)
    return path


def disc() -> MaskTarget:
    """Returns the target of the made scene."""
    return MaskTarget(Mask(SyntheticSource(ManualClock(), size=(WIDTH, HEIGHT)).alpha_of(0)))


@pytest.fixture(scope="module")
def int8(graph: Path) -> Path:
    path = graph.with_name("int8.onnx")
    with Quantiser(graph, played(graph, 8)) as quantiser:
        quantiser.write(path)
    return path


def played(graph: Path, frames: int) -> list[Recorded]:
    """Returns the calls that frames of the made scene make of a graph."""
    return list(rehearse(Recorder(graph), "synthetic", disc(), frames=frames))


def test_calls_are_those_of_a_stream_with_the_states_that_led_to_them(graph: Path) -> None:
    calls = played(graph, 8)

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


def test_what_leaves_int8_is_flat_until_it_is_float32(int8: Path) -> None:
    model = onnx.load(int8)
    made = {output: node for node in model.graph.node for output in node.output}
    users: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, set()).add(node.op_type)

    leaving = [
        node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in made and users[node.output[0]] != {"Conv"}
    ]

    assert len(leaving) > 3
    for node in leaving:
        assert users[node.output[0]] == {"Reshape"}, node.name
        assert made[node.input[0]].op_type == "Reshape", node.name


def test_convolutions_left_out_are_given_and_give_what_they_would_in_float32(graph: Path, tmp_path: Path) -> None:
    path = tmp_path / "mixed.onnx"
    with Quantiser(graph, played(graph, 4)) as quantiser:
        left = {node.name for node in quantiser.plain.graph.node if node.op_type == "Conv"}
        left = set(sorted(left)[::2])
        quantiser.write(path, floating=left)

    model = onnx.load(path)
    made = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type == "Conv" and not node.name.endswith("_blocked"):
            in_int8 = node.input[1] in made and made[node.input[1]].op_type == "DequantizeLinear"
            assert in_int8 == (node.name not in left)
        if node.op_type == "Add" or node.name in left:
            for name in node.input:
                assert not rounded_for_another(made, name), f"{node.name} is given {name}"


def rounded_for_another(made: dict[str, onnx.NodeProto], name: str) -> bool:
    """Whether a tensor was float32, and was rounded to int8 although it need not be."""
    coarse = made.get(name)
    fine = made.get(coarse.input[0]) if coarse is not None and coarse.op_type == "DequantizeLinear" else None
    maker = made.get(fine.input[0]) if fine is not None and fine.op_type == "QuantizeLinear" else None
    if maker is not None and maker.op_type == "Relu":
        maker = made.get(maker.input[0])
    if maker is None or maker.op_type != "Conv":
        return maker is not None
    return maker.input[1] not in made or made[maker.input[1]].op_type != "DequantizeLinear"


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
    drift = measure_calls(OrtEngine(int8, threads=1), played(graph, 16))

    assert drift.within(ONE_STEP_IN_INT8), str(drift)
    assert drift.greatest > 0


def test_scales_per_channel_make_a_step_truer_than_one_for_a_map(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = played(graph, 12)

    def drift_of(name: str) -> float:
        with Quantiser(graph, calls) as quantiser:
            quantiser.write(tmp_path / name)
        return measure_calls(OrtEngine(tmp_path / name, threads=1), calls).mean

    each = drift_of("each.onnx")
    codes_of = scaling.codes_of

    def one_for_all(low: Array, high: Array) -> tuple[Array, int]:
        return codes_of(np.full_like(low, low.min()), np.full_like(high, high.max()))

    monkeypatch.setattr(scaling, "codes_of", one_for_all)

    assert each < 0.95 * drift_of("one.onnx")


def test_blocks_are_branches_or_single_1x1_and_say_what_they_save_and_whether_an_alpha_sees_them(graph: Path) -> None:
    with Quantiser(graph, ()) as quantiser:
        blocks = blocks_of(quantiser.plain)
        weights = {node.name: node.input[1] for node in quantiser.plain.graph.node if node.op_type == "Conv"}
        sizes = {tensor.name: tuple(tensor.dims) for tensor in quantiser.plain.graph.initializer}

    assert sorted(name for block in blocks for name in block.convolutions) == sorted(weights)
    assert len(blocks) < len(weights)
    assert all(block.products > 0 for block in blocks)
    assert {block.seen for block in blocks} == {True, False}
    assert {block.worth for block in blocks} == {True, False}
    for block in blocks:
        shapes = [sizes[weights[name]] for name in block.convolutions]
        if " branch" not in block.name and shapes[0][2:] == (1, 1):
            assert len(shapes) == 1
        assert block.saved < block.products or not block.worth
        assert not block.worth or all(inputs > FEW for _, inputs, *_ in shapes)
        assert len({inputs > FEW for _, inputs, *_ in shapes}) == 1


def test_a_tolerance_that_int8_exceeds_is_met_by_leaving_convolutions_out(graph: Path) -> None:
    calls = played(graph, 6)
    with Quantiser(graph, calls) as quantiser:
        everything = choose(quantiser, calls, Tolerance(1.0))
        limit = everything.drift.mean / 2
        part = choose(quantiser, calls, Tolerance(limit))

        dear = {name for block in blocks_of(quantiser.plain) if not block.worth for name in block.convolutions}

    assert everything.floating == dear
    assert part.drift.mean <= limit
    assert 0 < part.share < everything.share
    assert part.floating > dear


def test_pictures_unlike_the_clip_cost_less_where_their_ranges_were_seen(graph: Path, tmp_path: Path) -> None:
    dim = [Recorded({**call.given, FRAME: call.given[FRAME] // 8}, call.alpha) for call in played(graph, 4)]
    unlike = list(improvise(Recorder(graph), frames=8))

    def drift_of(given: Sequence[Recorded]) -> float:
        with Quantiser(graph, given) as quantiser:
            return measure_calls(OrtEngine(quantiser.draft(), threads=1), unlike).mean

    assert drift_of([*dim, *unlike]) < 0.5 * drift_of(dim)


def test_openvino_runs_the_same_file_and_agrees(int8: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed; pip install 'rtmatte[openvino]'")

    for name in ("openvino", "openvino-bf16"):
        assert open_engine(int8, backend=name, threads=1).backend.startswith("openvino cpu")


def test_the_check_finds_a_scale_that_is_wrong(graph: Path, int8: Path, tmp_path: Path) -> None:
    model = onnx.load(int8)
    scale = next(t for t in model.graph.initializer if t.name == "unit_scale")
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(0.2), scale.name))
    onnx.save(model, tmp_path / "wrong.onnx")

    drift = measure_calls(OrtEngine(tmp_path / "wrong.onnx", threads=1), played(graph, 4))

    assert not drift.within(ONE_STEP_IN_INT8)


def test_graph_in_half_precision_is_refused(graph: Path, tmp_path: Path) -> None:
    model = onnx.load(graph)
    contract = read_contract(graph)
    states = tuple(replace(spec, dtype="float16") for spec in contract.states)
    model.metadata_props[0].value = replace(contract, states=states).to_json()
    onnx.save(model, tmp_path / "half.onnx")

    with pytest.raises(ModelError, match="in half precision"):
        Quantiser(tmp_path / "half.onnx", ())


def test_a_limit_that_makes_no_sense_is_refused_before_a_graph_is_written(
    lite_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(lite_checkpoint), "--size", f"{WIDTH}x{HEIGHT}", "--int8", "synthetic", "--within", "0"]
    monkeypatch.setattr("sys.argv", [*arguments, "--output", str(tmp_path / "lite.onnx")])

    assert main() == 2

    assert "expected a mean error" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("within", [0.0, -1.0, 2.0, float("nan")])
def test_a_tolerance_that_makes_no_sense_is_refused(graph: Path, within: float) -> None:
    with pytest.raises(InputError, match="expected a mean error"):
        quantise_checked(graph, "synthetic", within=within)


def test_a_clip_in_which_nobody_is_found_is_one_line_and_exit_code_2(
    lite_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(lite_checkpoint), "--size", f"{WIDTH}x{HEIGHT}", "--check-frames", "0"]
    output = ["--output", str(tmp_path / "lite.onnx")]
    monkeypatch.setattr("sys.argv", [*arguments, *output, "--int8", "synthetic"])

    assert main() == 2

    told = capsys.readouterr().err
    assert "expected a clip of a person" in told
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["lite.onnx"]
