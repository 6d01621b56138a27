"""Scales per channel: codes reach both ends, ranges are those of all calls, and upsampling stays the same function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.scaling import LEAST, ChannelRanges, codes_of, codes_of_each, keep_blocked
from rtmatte.step import Array

RNG = np.random.default_rng(0)
WIDTH = 16


def model_of(nodes: list[onnx.NodeProto], constants: dict[str, Array], shape: tuple[int, ...]) -> ModelProto:
    """Returns a graph from `x` and `f` of `shape` to `y`."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xf"]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends, [result], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("low", [0.0, -1.0, -6.0])
def test_codes_reach_both_ends_of_every_channel_and_waste_few_digits_of_any(low: float) -> None:
    highs = np.array([0.5, 3.0, 12.0], np.float32)
    lows = np.full(3, low, np.float32) * highs / 12

    scale, zero = codes_of(lows, highs)

    codes = [np.rint(ends / scale) + zero for ends in (lows, highs)]
    assert codes[0].min() >= 0
    assert codes[1].max() <= 255
    assert (codes[1] - codes[0] > 250).all()
    assert zero == 0 if low == 0 else 0 < zero < 255


def test_each_channel_with_a_zero_of_its_own_uses_all_codes_whichever_side_it_lies_on() -> None:
    lows, highs = np.array([-3, -1, 0, -4], np.float32), np.array([1, 3, 2, 0], np.float32)

    scale, zeros = codes_of_each(lows, highs)

    ends = [np.rint(end / scale) + zeros for end in (lows, highs)]
    assert np.abs(ends[0]).max() <= 1
    assert np.abs(ends[1] - 255).max() <= 1
    shared, _ = codes_of(lows, highs)
    assert (scale <= shared * 1.01).all()
    assert scale.sum() < 0.8 * shared.sum()


def test_a_channel_that_was_still_is_given_a_scale_all_the_same() -> None:
    scale, _ = codes_of(np.zeros(2, np.float32), np.array([0, 5], np.float32))

    assert scale[0] == pytest.approx(LEAST * scale[1])
    assert np.isfinite(codes_of(np.zeros(2, np.float32), np.zeros(2, np.float32))[0]).all()


def test_ranges_are_those_of_what_convolutions_take_and_give_over_all_calls(tmp_path: Path) -> None:
    weight = RNG.normal(size=(4, 3, 1, 1)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    onnx.save(model_of(nodes, {"w": weight}, (1, 3, 5, 6)), tmp_path / "g.onnx")
    pictures = [RNG.normal(size=(1, 3, 5, 6)).astype(np.float32) for _ in range(3)]
    ranges = ChannelRanges(tmp_path / "g.onnx")

    for picture in pictures:
        ranges.see({"x": picture, "f": picture})

    taken = np.concatenate(pictures)
    given = np.einsum("oi,bihw->bohw", weight[:, :, 0, 0], taken)
    for name, maps in {"x": taken, "c": given, "y": np.maximum(given, 0)}.items():
        np.testing.assert_allclose(ranges.found[name][0], maps.min(axis=(0, 2, 3)), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(ranges.found[name][1], maps.max(axis=(0, 2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "added"), [("Relu", 1), ("Conv", 0)])
def test_upsampling_kept_blocked_is_the_same_function(kind: str, added: int) -> None:
    weight = RNG.normal(size=(WIDTH, WIDTH, 1, 1)).astype(np.float32)
    before = helper.make_node(kind, ["x", "w"][: 1 + (kind == "Conv")], ["b"], "before")
    nodes = [
        before,
        helper.make_node("Resize", ["b", "", "s"], ["u"], "up", mode="linear"),
        helper.make_node("Conv", ["f", "w"], ["c"], "project", strides=[1, 1], pads=[2, 2, 2, 2]),
        helper.make_node("Add", ["u", "c"], ["y"], "sum"),
    ]
    plain = model_of(nodes, {"w": weight, "s": np.array([1, 1, 2, 2], np.float32)}, (1, WIDTH, 4, 4))
    changed = ModelProto.FromString(plain.SerializeToString())

    keep_blocked(changed)

    assert len(changed.graph.node) == len(plain.graph.node) + added
    changed.graph.node.sort(key=lambda node: ["before", "up_blocked", "up", "project", "sum"].index(node.name))
    given = {name: RNG.normal(size=(1, WIDTH, 4, 4)).astype(np.float32) for name in "xf"}
    sessions = [onnxruntime.InferenceSession(model.SerializeToString()) for model in (plain, changed)]
    expected, found = (session.run(None, given)[0] for session in sessions)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
