"""What int8 saves, and in which order blocks of convolutions are taken."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.choice import A_NUMBER, Block, blocks_of, by_cost


def test_a_convolution_saves_its_products_less_the_rounding_of_what_it_takes_and_gives() -> None:
    wide, narrow, picture = (1, 64, 6, 8), (1, 32, 6, 8), (1, 3, 6, 8)

    assert [block.saved for block in blocks_of(one_convolution((32, 64, 3, 3), wide, narrow))] == [
        32 * 64 * 9 * 48 - A_NUMBER * (64 + 32) * 48
    ]
    (thin,) = blocks_of(one_convolution((32, 64, 1, 1), wide, narrow))
    assert not thin.worth
    assert thin.products == 32 * 64 * 48
    (first,) = blocks_of(one_convolution((32, 3, 3, 3), picture, narrow))
    assert not first.worth


def one_convolution(weight: Sequence[int], taken: Sequence[int], given: Sequence[int]) -> onnx.ModelProto:
    """Returns the graph of a convolution of that weight, the size of its maps kept."""
    pads = [weight[2] // 2] * 4
    nodes = [helper.make_node("Conv", ["map", "net.layer.weight"], ["alpha"], "conv", pads=pads)]
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("map", taken), ("alpha", given))
    ]
    tensor = numpy_helper.from_array(np.zeros(weight, np.float32), "net.layer.weight")
    return helper.make_model(helper.make_graph(nodes, "graph", values[:1], values[1:], [tensor]))


def test_blocks_are_taken_by_what_they_cost_for_what_they_save() -> None:
    rows = {"dear": (100, 9e-3), "small": (1, 2e-3), "cheap": (100, 3e-3)}
    blocks = [Block(name, {name: saved}, saved, seen=True) for name, (saved, _) in rows.items()]

    ordered = by_cost(blocks, {name: error for name, (_, error) in rows.items()})

    assert [block.name for block in ordered] == ["cheap", "dear", "small"]
