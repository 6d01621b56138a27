"""A model that takes everything for the person, so that what a camera shows can be read off the virtual camera."""

from __future__ import annotations

from pathlib import Path

from onnx import TensorProto, helper

from rtmatte.contract import ALPHA, FRAME, METADATA_KEY, Contract, TensorSpec


def save_passthrough(path: Path, *, width: int, height: int) -> None:
    """Writes the model for working frames of `width` x `height` to `path`: an alpha of 1 everywhere, and no seed."""
    contract = Contract(
        model="passthrough",
        role="step",
        inputs=(TensorSpec(FRAME, (1, height, width, 3)),),
        states=(),
        outputs=(TensorSpec(ALPHA, (1, 1, height, width)),),
    )
    constants = [
        helper.make_tensor("shape", TensorProto.INT64, [4], [1, 1, height, width]),
        helper.make_tensor("channel", TensorProto.INT64, [1], [3]),
        helper.make_tensor("least", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("most", TensorProto.FLOAT, [], [1.0]),
    ]
    nodes = [
        helper.make_node("ReduceMax", [FRAME, "channel"], ["light"]),
        helper.make_node("Clip", ["light", "least", "most"], ["ones"]),
        helper.make_node("Reshape", ["ones", "shape"], [ALPHA]),
    ]
    frame = helper.make_tensor_value_info(FRAME, TensorProto.FLOAT, [1, height, width, 3])
    alpha = helper.make_tensor_value_info(ALPHA, TensorProto.FLOAT, [1, 1, height, width])
    graph = helper.make_graph(nodes, "passthrough", [frame], [alpha], constants)
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])
    model.metadata_props.add(key=METADATA_KEY, value=contract.to_json())
    path.write_bytes(model.SerializeToString())
