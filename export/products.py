"""Convolutions in int8 whose sums leave it whole: unfolded into one matrix product of integers, never rounded.

A convolution of ONNX in int8 gives bytes. Where its sum is added to a signal in float32, that rounding is for nothing,
and it is two fifths of the noise that MatAnyone's foreground logits have from int8. A matrix product of integers gives
32 bits; ONNX Runtime takes 1.53 ms for one of [576,2304] by [2304,256], 1.47 for the convolution, and 0.3 more to lay
the input out and to turn four bytes a number instead of one. Where few products make a number that is too much.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export.wiring import makers, shapes, takers
from rtmatte.step import Array

PRODUCTS = 1024  # of a number: fewer are not worth the layout
NUMBERS = 2**19  # of a map: beyond, what is laid out no longer fits a processor's cache


def spare_sums(model: ModelProto, among: Collection[str]) -> frozenset[str]:
    """Takes the rounding from what convolutions in int8, of those `among`, give to others than such, where it pays.

    Returns the names of these convolutions, which are then for `multiply_out`. `model` holds roundings as pairs of
    QuantizeLinear and DequantizeLinear.
    """
    spared = [*_spared(model, among)]
    for node, coarse, fine in spared:
        node.output[0] = fine.output[0]
        model.graph.node.remove(coarse)
        model.graph.node.remove(fine)
    return frozenset(node.name for node, *_ in spared)


def multiply_out(model: ModelProto, names: Collection[str]) -> None:
    """Replaces convolutions in int8 of those names, whose outputs are not rounded, by matrix products of integers.

    Nodes are added at the graph's end, out of order.
    """
    made = makers(model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    known = shapes(model)
    for node in [node for node in model.graph.node if node.name in names]:
        built = _Built(model, node.name)
        codes, _, zero = made[node.input[0]].input
        weight, steps = (numpy_helper.to_array(tensors[name]) for name in made[node.input[1]].input[:2])
        batch, channels, height, width = known[node.output[0]]
        rows = built.node("Transpose", codes, perm=[0, 2, 3, 1])
        rows = _unfolded(built, rows, zero, weight.shape[2:], (height, width))
        rows = built.node("Reshape", rows, built.constant(np.array([batch * height * width, prod(weight.shape[1:])])))
        matrix = weight.transpose(2, 3, 1, 0).reshape(-1, channels)
        total = built.node("MatMulInteger", rows, built.constant(np.ascontiguousarray(matrix)), zero)
        if len(node.input) == 3:
            total = built.node("Add", total, made[node.input[2]].input[0])
        whole = built.node("Mul", built.node("Cast", total, to=TensorProto.FLOAT), built.constant(steps))
        whole = built.node("Reshape", whole, built.constant(np.array([batch, height, width, channels])))
        built.node("Transpose", whole, perm=[0, 3, 1, 2], gives=node.output[0])
        model.graph.node.remove(node)


def in_int8(node: NodeProto, made: Mapping[str, NodeProto]) -> bool:
    """Returns whether a node is a convolution in int8: its weight is kept so. `made` is by what nodes give."""
    return node.op_type == "Conv" and node.input[1] in made and made[node.input[1]].op_type == "DequantizeLinear"


def _spared(model: ModelProto, among: Collection[str]) -> Iterator[tuple[NodeProto, NodeProto, NodeProto]]:
    """Yields the convolutions whose rounding is for nothing, each with the pair that is this rounding."""
    users = takers(model)
    made = makers(model)
    known = shapes(model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.name not in among or not in_int8(node, made):
            continue
        weight = tuple(tensors[made[node.input[1]].input[0]].dims)
        pair = _rounding(node, users)
        if pair is None or not _pays(node, weight, known[node.output[0]]):
            continue
        coarse, fine = pair
        a_relu = not numpy_helper.to_array(tensors[coarse.input[2]]).any()  # became the rounding's lower end
        within = any(in_int8(user, made) for user in users[fine.output[0]])
        if not a_relu and not within:
            yield node, coarse, fine


def _pays(node: NodeProto, weight: tuple[int, ...], given: tuple[int, ...]) -> bool:
    """Returns whether a convolution has many products a number, few numbers, and a plain window of odd size."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kernel = weight[2:]
    return (
        prod(weight[1:]) >= PRODUCTS
        and prod(given) <= NUMBERS
        and attributes.get("group", 1) == 1
        and all(size % 2 for size in kernel)
        and {*attributes.get("strides", ()), *attributes.get("dilations", ())} <= {1}
        and [*attributes.get("pads", (0,) * 4)] == [size // 2 for size in (*kernel, *kernel)]
    )


def _rounding(node: NodeProto, users: Mapping[str, Sequence[NodeProto]]) -> tuple[NodeProto, NodeProto] | None:
    """Returns the pair that rounds what a convolution gives; None where there is none, or a Relu before it."""
    match users[node.output[0]]:
        case [NodeProto(op_type="QuantizeLinear") as coarse]:
            match users[coarse.output[0]]:
                case [NodeProto(op_type="DequantizeLinear") as fine]:
                    return coarse, fine
    return None


def _unfolded(built: _Built, rows: str, zero: str, kernel: tuple[int, ...], size: tuple[int, int]) -> str:
    """Returns the map [B,h,w,C] of codes as [B,h,w,kh*kw*C]: at each place what a window around it holds."""
    if prod(kernel) == 1:
        return rows
    height, width = size
    margins = np.array([0, kernel[0] // 2, kernel[1] // 2, 0] * 2)
    padded, axes = built.node("Pad", rows, built.constant(margins), zero), built.constant(np.array([1, 2]))
    windows = [
        built.node(
            "Slice",
            padded,
            built.constant(np.array([row, column])),
            built.constant(np.array([row + height, column + width])),
            axes,
        )
        for row, column in product(range(kernel[0]), range(kernel[1]))
    ]
    return built.node("Concat", *windows, axis=3)


class _Built:
    """Nodes and constants in the place of one node, named after it."""

    def __init__(self, model: ModelProto, name: str) -> None:
        self._graph, self._name, self._count = model.graph, name, 0

    def node(self, kind: str, *given: str, gives: str = "", **attributes: Any) -> str:
        """Adds a node of one result and returns that one's name."""
        name = self._next()
        gives = gives or name
        self._graph.node.append(helper.make_node(kind, given, [gives], name, **attributes))
        return gives

    def constant(self, value: Array) -> str:
        name = self._next()
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _next(self) -> str:
        self._count += 1
        return f"{self._name}_whole_{self._count}"
