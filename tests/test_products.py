"""Sums that leave int8 whole: the same numbers as the convolution of the codes, and only where that pays."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization.onnx_model import ONNXModel

from export import products
from export.products import PRODUCTS, multiply_out, spare_sums
from rtmatte.step import Array

SHAPE = (2, 256, 4, 5)
RNG = np.random.default_rng(0)


def rounding(name: str, scale: float, zero: int, constants: dict[str, Array]) -> list[NodeProto]:
    """Returns the pair that rounds the map `name` to codes, and gives `name`_rounded."""
    constants |= {f"{name}_scale": np.array(scale, np.float32), f"{name}_zero": np.array(zero, np.uint8)}
    pair = [f"{name}_scale", f"{name}_zero"]
    return [
        helper.make_node("QuantizeLinear", [name, *pair], [f"{name}_codes"], f"{name}_coarse"),
        helper.make_node("DequantizeLinear", [f"{name}_codes", *pair], [f"{name}_rounded"], f"{name}_fine"),
    ]


def convolution(
    name: str, picture: str, kernel: tuple[int, int], constants: dict[str, Array], *, bias: bool = True, **other: Any
) -> list[NodeProto]:
    """Returns a convolution in int8 that makes the map `name` of 8 channels from one of 256."""
    constants[f"{name}_w"] = RNG.integers(-127, 128, (8, SHAPE[1], *kernel), np.int8)
    constants[f"{name}_steps"] = RNG.uniform(0.001, 0.01, 8).astype(np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", [f"{name}_w", f"{name}_steps"], [f"{name}_W"], f"{name}_undone", axis=0)
    ]
    given = [picture, f"{name}_W"]
    if bias:
        constants[f"{name}_b"] = RNG.integers(-5000, 5000, 8, np.int32)
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_b", f"{name}_steps"], [f"{name}_B"], axis=0))
        given.append(f"{name}_B")
    pads = [kernel[0] // 2, kernel[1] // 2] * 2
    return [*nodes, helper.make_node("Conv", given, [name], name, kernel_shape=kernel, pads=pads, **other)]


def model_of(nodes: list[NodeProto], constants: dict[str, Array]) -> ModelProto:
    """Returns a graph from `x` to `y`."""
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", SHAPE), ("y", None))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def one(kernel: tuple[int, int], *, zero: int = 100, bias: bool = True, then: str = "Abs", **other: Any) -> ModelProto:
    """Returns a graph of one convolution, `c`, whose rounded output goes through `then`."""
    constants: dict[str, Array] = {}
    nodes = rounding("x", 1.0, 7, constants)
    nodes += convolution("c", "x_rounded", kernel, constants, bias=bias, **other)
    nodes += [*rounding("c", 0.5, zero, constants), helper.make_node(then, ["c_rounded"], ["y"], "then")]
    return model_of(nodes, constants)


def answer(model: ModelProto, picture: Array) -> Array:
    """Returns what a graph makes of a picture, its nodes as they are and in whatever order they lie."""
    sorted_model = ONNXModel(model)
    sorted_model.topological_sort()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(sorted_model.model.SerializeToString(), options)
    found: Array = session.run(None, {"x": picture})[0]
    return found


@pytest.mark.parametrize("kernel", [(3, 3), (3, 5), (1, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_sums_are_those_of_the_convolution_before_it_is_rounded(
    kernel: tuple[int, int], bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "PRODUCTS", SHAPE[1])
    model = one(kernel, bias=bias)
    picture = RNG.uniform(-7, 200, SHAPE).astype(np.float32)

    whole = spare_sums(model, {"c"})
    unrounded = answer(model, picture)
    multiply_out(model, whole)

    assert whole == {"c"}
    np.testing.assert_allclose(answer(model, picture), unrounded, rtol=1e-5, atol=5e-3)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["MatMulInteger"] == 1
    assert kinds["Conv"] == 0
    assert kinds["QuantizeLinear"] == 1


def test_rounded_sums_differ_from_whole_ones() -> None:
    model, picture = one((3, 3)), RNG.uniform(-7, 200, SHAPE).astype(np.float32)
    rounded = answer(model, picture)
    multiply_out(model, spare_sums(model, {"c"}))

    assert np.abs(answer(model, picture) - rounded).max() > 0.2


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(one((1, 1)), id="few products a number"),
        pytest.param(one((3, 3), zero=0), id="a relu in the rounding"),
        pytest.param(one((3, 3), group=1, dilations=[2, 2]), id="dilated"),
        pytest.param(one((2, 2)), id="an even window"),
        pytest.param(one((3, 3), strides=[2, 2]), id="in strides"),
    ],
)
def test_elsewhere_sums_stay_rounded(model: ModelProto) -> None:
    before = model.SerializeToString()

    assert not spare_sums(model, {"c"})
    assert model.SerializeToString() == before


def test_sums_that_nobody_asked_for_or_that_int8_takes_stay_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "PRODUCTS", 1)
    constants: dict[str, Array] = {}
    nodes = rounding("x", 1.0, 7, constants)
    nodes += convolution("c", "x_rounded", (3, 3), constants) + rounding("c", 0.5, 100, constants)
    constants["d_w"], constants["d_steps"] = np.ones((4, 8, 1, 1), np.int8), np.ones(4, np.float32)
    nodes += [
        helper.make_node("DequantizeLinear", ["d_w", "d_steps"], ["d_W"], "d_undone", axis=0),
        helper.make_node("Conv", ["c_rounded", "d_W"], ["d"], "d", kernel_shape=(1, 1)),
        *rounding("d", 0.5, 100, constants),
        helper.make_node("Abs", ["d_rounded"], ["y"], "then"),
    ]
    model = model_of(nodes, constants)

    assert not spare_sums(model, {"c"})
    assert spare_sums(model, {"c", "d"}) == {"d"}


def test_maps_too_large_to_be_laid_out_stay_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SHAPE[1] * 9 >= PRODUCTS
    monkeypatch.setattr(products, "NUMBERS", 2 * 8 * 4 * 5 - 1)

    assert not spare_sums(one((3, 3)), {"c"})
