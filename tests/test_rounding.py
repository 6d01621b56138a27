"""Weights rounded for the inputs they meet: on the grid, nearest where inputs are independent, better where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from export.rounding import correlations, rounded

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(8, 16, 3, 3)).astype(np.float32)
SCALE = (np.abs(WEIGHT).max(axis=(1, 2, 3)) / 127).astype(np.float32)
NEAREST = np.rint(WEIGHT / SCALE[:, None, None, None])


def test_weights_of_independent_inputs_are_rounded_to_the_nearest() -> None:
    found = rounded(WEIGHT, SCALE, np.eye(144))

    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, NEAREST)


def test_weights_of_inputs_much_alike_change_the_outputs_less_than_the_nearest_would() -> None:
    common = RNG.normal(size=(144, 6)) @ RNG.normal(size=(6, 4000))
    inputs = np.maximum(common + 0.1 * RNG.normal(size=common.shape), 0)

    found = rounded(WEIGHT, SCALE, inputs @ inputs.T / 4000)

    def error(whole: np.ndarray) -> float:
        off = (whole * SCALE[:, None, None, None] - WEIGHT).reshape(8, -1)
        return float(np.square(off @ inputs).mean())

    assert np.abs(found.astype(int)).max() <= 127
    assert error(found) < error(NEAREST) / 3


@pytest.mark.parametrize(("stride", "pad", "dilation"), [(1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 0, 1)])
def test_correlations_are_of_what_the_weights_are_multiplied_with(
    tmp_path: Path, stride: int, pad: int, dilation: int
) -> None:
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        name="conv",
        pads=[pad] * 4,
        strides=[stride] * 2,
        dilations=[dilation] * 2,
        kernel_shape=[3, 3],
    )
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    ends[0] = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 7, 9])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [numpy_helper.from_array(WEIGHT[:, :4], "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "g.onnx")
    x = RNG.normal(size=(1, 4, 7, 9)).astype(np.float32)

    ((found, correlation),) = correlations(tmp_path / "g.onnx", [node], {"w": (8, 4, 3, 3)}, [{"x": x}])

    patches = torch.nn.functional.unfold(torch.from_numpy(x), 3, dilation, pad, stride)[0].double().numpy()
    assert found.name == "conv"
    np.testing.assert_allclose(correlation, patches @ patches.T / patches.shape[1], rtol=1e-4, atol=1e-5)
