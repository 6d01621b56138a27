"""How a graph's nodes hang together: who makes a tensor, who takes it, what it depends on, and its shape."""

from __future__ import annotations

from collections import defaultdict

import onnx
from onnx import ModelProto, NodeProto, ValueInfoProto


def makers(model: ModelProto) -> dict[str, NodeProto]:
    """Returns the node that makes a tensor, by the tensor's name; none for inputs and constants."""
    return {output: node for node in model.graph.node for output in node.output}


def takers(model: ModelProto) -> defaultdict[str, list[NodeProto]]:
    """Returns the nodes that take a tensor, in order, by its name; one that takes it twice is there twice."""
    found: defaultdict[str, list[NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            found[name].append(node)
    return found


def shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a graph's inputs, outputs and what its nodes make, by name, as far as they can be told."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {value.name: shape_of(value) for value in (*graph.value_info, *graph.input, *graph.output)}


def shape_of(value: ValueInfoProto) -> tuple[int, ...]:
    """Returns the shape of a tensor of a graph, 0 where it is not known."""
    return tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)


def nodes_before(model: ModelProto, result: str) -> set[str]:
    """Returns the names of the nodes that a result depends on."""
    made = makers(model)
    waiting, found = [result], set()
    while waiting:
        node = made.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting.extend(node.input)
    return found
