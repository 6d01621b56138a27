"""Work for a closed gate left undone: what a gate chooses, and nothing else needs, in a branch of its own.

A graph without branches computes what the gates do not choose, too. On a GPU that costs less than a branch; on a
processor, MatAnyone's update of the sensory state for remembered frames, one in five, is 9 of 310 ms in int8.
"""

from __future__ import annotations

from onnx import ModelProto, NodeProto, TensorProto, helper

from export.wiring import nodes_before, shapes, takers


def skip_unchosen(model: ModelProto) -> None:
    """Puts the convolutions that only a Where's chosen side needs into an If, open when any row chooses it.

    The Where stays, for the rows. Its condition has to be the inputs' alone, such as a gate's. `model` is in order, its
    shapes are static and its maps float32; it stays in order.
    """
    known = shapes(model)
    convolutions = {node.name for node in model.graph.node if node.op_type == "Conv"}
    for where in [node for node in model.graph.node if node.op_type == "Where"]:
        condition, chosen, other = where.input
        alike = len(known.get(chosen, ())) > 0 and known[chosen] == known.get(other)
        if not alike or convolutions & nodes_before(model, condition):
            continue
        idle = _only_for(model, where, chosen)
        if convolutions & {node.name for node in idle}:
            _branch(model, where, idle, known[chosen])


def _only_for(model: ModelProto, where: NodeProto, chosen: str) -> list[NodeProto]:
    """Returns the nodes, in order, whose results `where` alone needs, as its chosen side."""
    taken_by = takers(model)
    results = {value.name for value in model.graph.output}
    found: dict[str, NodeProto] = {}  # by name
    needed = {chosen}
    for node in reversed(model.graph.node):
        given = [(taker.name, name) for name in node.output for taker in taken_by[name]]
        if (
            needed.intersection(node.output)
            and results.isdisjoint(node.output)
            and all(taker in found or (taker, name) == (where.name, chosen) for taker, name in given)
        ):
            found[node.name] = node
            needed.update(node.input)
    return [*found.values()][::-1]


def _branch(model: ModelProto, where: NodeProto, idle: list[NodeProto], shape: tuple[int, ...]) -> None:
    condition, chosen, other = where.input
    kept = f"{chosen}_kept"
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (chosen, kept)]
    done = helper.make_graph(idle, f"{chosen}_done", [], results[:1])
    undone = helper.make_graph(
        [helper.make_node("Identity", [other], [kept], kept)], f"{chosen}_undone", [], results[1:]
    )
    rows, most, any_row = (f"{chosen}_{name}" for name in ("rows", "most", "any"))
    asked = [
        helper.make_node("Cast", [condition], [rows], rows, to=TensorProto.INT32),
        helper.make_node("ReduceMax", [rows], [most], most, keepdims=0),
        helper.make_node("Cast", [most], [any_row], any_row, to=TensorProto.BOOL),
        helper.make_node("If", [any_row], [chosen], f"{chosen}_if", then_branch=done, else_branch=undone),
    ]
    names = {node.name for node in idle}
    order: list[NodeProto] = []
    for node in model.graph.node:
        if node.name == where.name:
            order += asked
        if node.name not in names:
            order.append(node)
    del model.graph.node[:]
    model.graph.node.extend(order)
