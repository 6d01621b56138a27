"""Comparisons that rounding turns: found where convolutions make what is compared, and as many as really turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.comparisons import Comparisons
from export.rehearsal import Recorded

CHANNELS, TOKENS = 8, 2000
RNG = np.random.default_rng(0)


def comparing(weight: np.ndarray, limit: float = 0.5) -> ModelProto:
    """Returns a graph that compares a number per token, which a convolution makes, and a gate, which none does."""
    nodes = [
        helper.make_node("Conv", ["map", "weight"], ["logit"], "conv"),
        helper.make_node("GreaterOrEqual", ["logit", "limit"], ["kept"], "kept"),
        helper.make_node("Greater", ["gate", "limit"], ["open"], "open"),
    ]
    given = [("map", (1, CHANNELS, 1, TOKENS)), ("gate", (1,))]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in given],
        [helper.make_tensor_value_info(name, TensorProto.BOOL, None) for name in ("kept", "open")],
        [
            numpy_helper.from_array(weight.astype(np.float32)[None, :, None, None], "weight"),
            numpy_helper.from_array(np.array(limit, np.float32), "limit"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def calls(count: int) -> list[Recorded]:
    shape = (1, CHANNELS, 1, TOKENS)
    maps = [RNG.standard_normal(shape).astype(np.float32) for _ in range(count)]
    return [Recorded({"map": map_, "gate": np.ones(1, np.float32)}, np.zeros(1)) for map_ in maps]


def test_as_many_are_expected_to_turn_as_do(tmp_path: Path) -> None:
    weight = RNG.standard_normal(CHANNELS)
    shown, draft = calls(6), tmp_path / "draft.onnx"
    off = weight + 0.02 * RNG.standard_normal(CHANNELS)
    onnx.save_model(comparing(off), draft)

    expected = Comparisons(comparing(weight), shown).turned(draft)

    def kept(weights: np.ndarray, call: Recorded) -> np.ndarray:
        return np.tensordot(weights, call.given["map"], (0, 1)) >= 0.5

    turned = float(np.mean([(kept(weight, call) != kept(off, call)).sum() for call in shown]))
    assert 5 < turned < TOKENS / 10
    assert 0.7 * turned < expected < 1.4 * turned


def test_nothing_turns_that_is_not_moved_or_lies_far_away(tmp_path: Path) -> None:
    weight = RNG.standard_normal(CHANNELS)
    shown, draft = calls(2), tmp_path / "draft.onnx"

    onnx.save_model(comparing(weight), draft)
    assert Comparisons(comparing(weight), shown).turned(draft) == 0

    onnx.save_model(comparing(weight * 1.01, limit=1e3), draft)
    assert Comparisons(comparing(weight, limit=1e3), shown).turned(draft) == 0


def test_a_graph_that_compares_only_gates_has_nothing_to_turn(tmp_path: Path) -> None:
    model = comparing(RNG.standard_normal(CHANNELS))
    del model.graph.node[1]
    onnx.save_model(model, tmp_path / "draft.onnx")

    assert Comparisons(model, calls(1)).turned(tmp_path / "draft.onnx") == 0
