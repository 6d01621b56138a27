"""Weights rounded to int8 for the pictures they will see: the error of one is made good by those not yet rounded.

After Frantar et al. 2022 (GPTQ). Behind a ReLU a convolution's inputs are much alike, so that errors of weights rounded
each by itself add up: on untrained weights they were three quarters of the error of MatAnyone's decoder in int8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper

from export.observed import Observed
from rtmatte.step import Array

POSITIONS = 2048  # of a map and call, at most, drawn at random
DAMPING = 0.01  # of the mean square of an input: how far the correlations are believed
TOGETHER = 8  # convolutions whose inputs are held at a time
BLOCK = 128  # weights of a row between two updates of the rest of it

Floats = NDArray[np.float64]


def rounded(weight: Array, steps: Array, correlation: Floats) -> NDArray[np.int8]:
    """Returns `weight` [O,I,kh,kw] as whole numbers of `steps` [O] that change the outputs least, all within +-127.

    `correlation` [K,K], K = I*kh*kw, holds the mean products of the inputs, in the order of the weights.
    """
    rest = weight.reshape(len(weight), -1).astype(np.float64)
    count = rest.shape[1]
    damped = correlation + (DAMPING * np.trace(correlation) / count + 1e-12) * np.eye(count)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    found = np.empty_like(rest)
    for begin in range(0, count, BLOCK):
        end = min(begin + BLOCK, count)
        errors = np.empty((len(rest), end - begin))
        for index in range(begin, end):
            found[:, index] = np.clip(np.rint(rest[:, index] / steps), -127, 127)
            errors[:, index - begin] = (rest[:, index] - found[:, index] * steps) / upper[index, index]
            rest[:, index:end] -= np.outer(errors[:, index - begin], upper[index, index:end])
        rest[:, end:] -= errors @ upper[begin:end, end:]
    return found.reshape(weight.shape).astype(np.int8)


def correlations(
    graph: Path,
    convolutions: Sequence[NodeProto],
    shapes: Mapping[str, Sequence[int]],
    given: Sequence[dict[str, Array]],
) -> Iterator[tuple[NodeProto, Floats]]:
    """Yields each convolution with the mean products [K,K] of its inputs over what `given` makes of the float32 graph.

    `shapes` holds the weights' shapes by name; the convolutions are not grouped.
    """
    if not convolutions:
        return
    model = onnx.load(graph)
    taken = {value.name for value in model.graph.input}
    made = dict.fromkeys(node.input[0] for node in convolutions if node.input[0] not in taken)
    observed = Observed(model, made)
    for begin in range(0, len(convolutions), TOGETHER):
        nodes = convolutions[begin : begin + TOGETHER]
        inputs = [node.input[0] for node in nodes if node.input[0] in made]
        sums: list[Floats] = [np.zeros(()) for _ in nodes]
        for call in given:
            maps = call | observed.see(call, inputs)
            for index, node in enumerate(nodes):
                patches = _patches(node, maps[node.input[0]], shapes[node.input[1]])
                products = patches @ patches.T / (patches.shape[1] * len(given))
                sums[index] = sums[index] + products.astype(np.float64)
        yield from zip(nodes, sums, strict=True)


def _patches(node: NodeProto, picture: Array, shape: Sequence[int]) -> Array:
    """Returns what a convolution of weight `shape` [O,I,kh,kw] multiplies at some positions of its output: [K,n]."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    down, across = attributes.get("strides", (1, 1))
    far, wide = attributes.get("dilations", (1, 1))
    padded = np.pad(picture, ((0, 0), (0, 0), (top, bottom), (left, right)))
    kh, kw = shape[2:]
    rows = (padded.shape[2] - far * (kh - 1) - 1) // down + 1
    columns = (padded.shape[3] - wide * (kw - 1) - 1) // across + 1
    rng = np.random.default_rng(0)
    count = len(picture) * rows * columns
    chosen = rng.choice(count, min(count, POSITIONS), replace=False)
    batch, row, column = np.unravel_index(chosen, (len(picture), rows, columns))
    at = (
        row[:, None, None] * down + far * np.arange(kh)[:, None],
        column[:, None, None] * across + wide * np.arange(kw),
    )
    patches = padded[batch[:, None, None], :, *at]  # [n,kh,kw,I]
    return np.ascontiguousarray(patches.transpose(3, 1, 2, 0).reshape(-1, len(chosen)))
