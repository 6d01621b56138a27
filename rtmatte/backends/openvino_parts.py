"""Parts an OpenVINO graph in two: what a network's comparisons depend on, which needs its digits, and the rest."""

from __future__ import annotations

from typing import Any

import openvino

_PRODUCTS = frozenset({"Convolution", "GroupConvolution", "MatMul"})
_COMPARISONS = frozenset({"Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual"})


def deciding(graph: Any) -> set[str]:
    """Returns the names of comparisons of what products have made, of attention, and of all that these depend on.

    A value that bfloat16 puts on the other side of a threshold is no rounding error: in MatAnyone a token then turns
    from foreground to background, which moves the whole alpha, through the attention that it is hidden from.
    Empty for a graph that compares nothing but its inputs, and for one in int8: two parts of that took 222 ms a step
    where all of it in float32 took 212 (MatAnyone, 512x288, one thread of an AMD EPYC, at work), and were off by more.
    """
    if any(node.get_type_name() == "FakeQuantize" for node in graph.get_ops()):
        return set()
    weighed: set[str] = set()
    compared, attention = [], []
    for node in graph.get_ordered_ops():
        if node.get_type_name() in _PRODUCTS or any(source.get_name() in weighed for source in _sources(node)):
            weighed.add(node.get_name())
            if node.get_type_name() == "Softmax":
                attention.append(node)
            elif node.get_type_name() in _COMPARISONS:
                compared.append(node)
    found: set[str] = set()
    waiting = [*compared, *attention] if compared else []
    while waiting:
        node = waiting.pop()
        if node.get_name() not in found:
            found.add(node.get_name())
            waiting += _sources(node)
    return found


def split(graph: Any, first: set[str]) -> tuple[Any, Any]:
    """Returns the nodes named `first`, and the others, as two graphs; what the others read of those is their input.

    What depends on no input, as weights do, is in both. A mark on a node, by which OpenVINO is to keep its precision,
    would spare the second graph, but is lost where a matrix product is rewritten (2026.4.1).
    """
    given = {result.get_name(): result for result in graph.get_results()}
    inputs = graph.get_parameters()
    reached = {node.get_name() for node in inputs}
    outputs: list[Any] = []
    read: list[Any] = []
    for node in graph.get_ordered_ops():
        if not any(source.get_name() in reached for source in _sources(node)):
            continue
        reached.add(node.get_name())
        for port in node.outputs() if node.get_name() in first else ():
            readers = _readers(port, first)
            own = [given.pop(name) for name, reader in readers if name in given]
            others = [reader for name, reader in readers if reader.get_node().get_type_name() != "Result"]
            outputs += own
            if others:
                read.append(_input_instead(port, others, f"handed on {len(read)}"))
                outputs += [] if own else [openvino.op.Result(port)]
    taken = [node for node in inputs if node.get_name() in first]
    left = [node for node in inputs if _readers(node.output(0), first)]
    return openvino.Model(outputs, taken), openvino.Model([*given.values()], [*left, *read])


def _input_instead(port: Any, readers: list[Any], name: str) -> Any:
    """Returns a new input that the readers of a port read in its place, under its names; `name` for one without."""
    if not port.names:
        port.set_names({name})
    node = openvino.op.Parameter(port.element_type, port.partial_shape)
    node.output(0).set_names(port.names)
    for reader in readers:
        reader.replace_source_output(node.output(0))
    return node


def _readers(port: Any, first: set[str]) -> list[tuple[str, Any]]:
    """Returns the inputs that read a port, with the names of their nodes, but for those of the nodes `first`."""
    readers = [(reader.get_node().get_name(), reader) for reader in port.get_target_inputs()]
    return [(name, reader) for name, reader in readers if name not in first]


def _sources(node: Any) -> list[Any]:
    return [port.get_source_output().get_node() for port in node.inputs()]
