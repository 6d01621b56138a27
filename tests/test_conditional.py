"""Work for a closed gate left undone: the same results, and convolutions that only an open gate needs in a branch."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export.conditional import skip_unchosen
from rtmatte.step import Array

SHAPE = (2, 4, 5, 6)
RNG = np.random.default_rng(0)


def model_of(*nodes: NodeProto, results: tuple[str, ...] = ("y",)) -> ModelProto:
    """Returns a graph of `x` and a gate to `results`, with the weight of a 1x1 convolution."""
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE),
        helper.make_tensor_value_info("gate", TensorProto.FLOAT, (2, 1, 1, 1)),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in results]
    weights = [
        numpy_helper.from_array(RNG.normal(size=(4, 4, 1, 1)).astype(np.float32), "w"),
        numpy_helper.from_array(np.array(0.5, np.float32), "half"),
    ]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def node(kind: str, given: str, result: str) -> NodeProto:
    return helper.make_node(kind, given.split(), [result], result)


GATED = (
    node("Greater", "gate half", "open"),
    node("Relu", "x", "shared"),
    node("Conv", "shared w", "c"),
    node("Tanh", "c", "fresh"),
)
WHERE = node("Where", "open fresh shared", "y")


def answers(model: ModelProto, picture: Array, gate: tuple[float, float]) -> list[Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    given = {"x": picture, "gate": np.array(gate, np.float32).reshape(2, 1, 1, 1)}
    found: list[Array] = session.run(None, given)
    return found


@pytest.mark.parametrize("gate", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_results_are_the_same_whichever_rows_the_gate_is_open_for(gate: tuple[float, float]) -> None:
    plain, picture = model_of(*GATED, WHERE), RNG.normal(size=SHAPE).astype(np.float32)
    changed = ModelProto.FromString(plain.SerializeToString())

    skip_unchosen(changed)

    np.testing.assert_allclose(
        answers(changed, picture, gate)[0], answers(plain, picture, gate)[0], rtol=1e-5, atol=1e-6
    )


def test_only_what_nobody_else_needs_goes_into_the_branch() -> None:
    model = model_of(*GATED, WHERE)

    skip_unchosen(model)

    outside = {one.op_type for one in model.graph.node}
    assert not outside & {"Conv", "Tanh"}
    assert {"Relu", "Where", "If"} <= outside
    (branch,) = (one for one in model.graph.node if one.op_type == "If")
    then = next(a.g for a in branch.attribute if a.name == "then_branch")
    assert [one.op_type for one in then.node] == ["Conv", "Tanh"]


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model_of(*GATED, WHERE, node("Neg", "c", "z"), results=("y", "z")), id="needed elsewhere"),
        pytest.param(model_of(*GATED, WHERE, results=("y", "fresh")), id="a result"),
        pytest.param(model_of(*GATED, node("Where", "open shared fresh", "y")), id="the other side"),
        pytest.param(
            model_of(*GATED, node("Greater", "c half", "large"), node("Where", "large fresh shared", "y")),
            id="not an input's gate",
        ),
    ],
)
def test_what_is_needed_otherwise_stays_where_it_is(model: ModelProto) -> None:
    before = model.SerializeToString()

    skip_unchosen(model)

    assert model.SerializeToString() == before
