"""Gives other people's ONNX files our contract, so that they run and are scored exactly as our models are.

python -m benchmarks.peers rvm_mobilenetv3_fp32.onnx --size 512x288 --out peers/rvm-512x288.onnx
python -m benchmarks.peers modnet_photographic.onnx --size 512x288 --out peers/modnet-512x288.onnx

Known are RVM (four recurrent states, no mask) and MODNet (no state, no mask), by the tensors that their own exports
have. The files are the user's; nothing of them is part of this project. What a host would do to a picture before the
network is put into the graph, RVM's states become `x` and `x_next`, and every shape becomes static.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import onnxruntime
import typer
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from benchmarks import report
from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import ALPHA, FRAME, METADATA_KEY, Contract, TensorSpec, after
from rtmatte.engine import self_test
from rtmatte.errors import ModelError
from rtmatte.imaging import Size, parse_size
from rtmatte.modelfile import seal, sha256_of

RVM_STATES = ("r1", "r2", "r3", "r4")
RVM_INPUTS = {"src", "downsample_ratio", *(f"{state}i" for state in RVM_STATES)}
RVM_LARGER_SIDE = 512  # RVM works on a picture whose larger side is about this
MODNET_STRIDE = 32
OLDEST_OPSET = 11


def add_contract(source: Path, target: Path, size: Size) -> Contract:
    """Writes the peer in `source` with a contract for frames of `size` to `target`, sealed; returns the contract.

    Raises ModelError for a file that is neither an RVM nor a MODNet.
    """
    try:
        model = onnx.load(str(source))
    except Exception as error:  # protobuf's own, and what onnx makes of a missing file
        raise ModelError(f"expected an ONNX file at {source}, found none that can be read: {error}") from error
    opset = max(entry.version for entry in model.opset_import if not entry.domain)
    if opset < OLDEST_OPSET:
        raise ModelError(f"{source} uses ONNX opset {opset}, {OLDEST_OPSET} is the least; export the peer again")
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name for value in model.graph.input} - weights
    if inputs == RVM_INPUTS:
        contract = _rvm(model, source, size)
    elif len(inputs) == 1 and len(model.graph.output) == 1:
        contract = _modnet(model, inputs.pop(), size)
    else:
        raise ModelError(f"expected RVM's or MODNet's inputs in {source}, found {', '.join(sorted(inputs))}")
    contract = replace(contract, weights_sha256=sha256_of(source))
    _write(model, contract, target)
    engine = OrtEngine(target)
    contract = replace(contract, self_test=self_test(engine))
    engine.close()
    _write(model, contract, target)
    return contract


def _rvm(model: ModelProto, source: Path, size: Size) -> Contract:
    ratio = np.array([min(1.0, RVM_LARGER_SIDE / max(size))], np.float32)
    shapes = _rvm_state_shapes(source, size, ratio)
    contract = _contract("rvm", size, tuple(TensorSpec(state, shapes[state]) for state in RVM_STATES))
    graph = model.graph
    names = {f"{state}i": state for state in RVM_STATES} | {f"{state}o": after(state) for state in RVM_STATES}
    _rename(graph, names | {"pha": ALPHA})
    graph.initializer.append(numpy_helper.from_array(ratio, "downsample_ratio"))
    _before(graph, "src", scale=1 / 255, shift=0.0, resized=None)
    _declare(graph, contract)
    return contract


def _rvm_state_shapes(source: Path, size: Size, ratio: NDArray[np.float32]) -> dict[str, tuple[int, ...]]:
    """The shapes that the states have after a first frame, which RVM starts from single zeros."""
    width, height = size
    empty = np.zeros((1, 1, 1, 1), np.float32)
    feeds = {"src": np.zeros((1, 3, height, width), np.float32), "downsample_ratio": ratio}
    feeds |= {f"{state}i": empty for state in RVM_STATES}
    try:
        session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
        states = session.run([f"{state}o" for state in RVM_STATES], feeds)
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise ModelError(f"expected an RVM that runs at {width}x{height}, found {source} fails: {error}") from error
    return {name: tuple(state.shape) for name, state in zip(RVM_STATES, states, strict=True)}


def _modnet(model: ModelProto, picture: str, size: Size) -> Contract:
    """MODNet wants -1..1 and sides that are multiples of 32; its matte is brought back to the frame's size."""
    graph = model.graph
    rounded = tuple(max(1, round(side / MODNET_STRIDE)) * MODNET_STRIDE for side in size)
    resized = None if rounded == size else (rounded[1], rounded[0])
    matte = graph.output[0].name
    _before(graph, picture, scale=2 / 255, shift=-1.0, resized=resized)
    if resized is None:
        _rename(graph, {matte: ALPHA})
    else:
        _resize(graph, matte, ALPHA, (1, 1, size[1], size[0]))
    contract = _contract("modnet", size, ())
    _declare(graph, contract)
    return contract


def _contract(model: str, size: Size, states: tuple[TensorSpec, ...]) -> Contract:
    width, height = size
    return Contract(
        model=model,
        role="step",
        inputs=(TensorSpec(FRAME, (1, height, width, 3), "uint8"),),
        states=states,
        outputs=(TensorSpec(ALPHA, (1, 1, height, width)),),
        warmup=0,
        licence="the peer's own; see where the file came from",
    )


def _before(graph: GraphProto, picture: str, *, scale: float, shift: float, resized: tuple[int, int] | None) -> None:
    """Puts Cast, Transpose, scaling and, where it is needed, a resize of our frame before the peer's `picture`."""
    for name, value in (("peer.scale", scale), ("peer.shift", shift)):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    scaled = picture if resized is None else "peer.frame"
    first = [
        helper.make_node("Cast", [FRAME], ["peer.float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["peer.float"], ["peer.planar"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["peer.planar", "peer.scale"], ["peer.scaled"]),
        helper.make_node("Add", ["peer.scaled", "peer.shift"], [scaled]),
    ]
    nodes = [*first, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    if resized is not None:
        _resize(graph, scaled, picture, (1, 3, *resized), place=len(first))


def _resize(graph: GraphProto, source: str, target: str, shape: tuple[int, ...], *, place: int | None = None) -> None:
    """A linear resize of `source` to `shape`, at `place` among the nodes or after them all."""
    sizes, unused = f"{target}.sizes", f"{target}.unused"  # older opsets want region and scales, if only empty ones
    graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), sizes))
    graph.initializer.append(numpy_helper.from_array(np.zeros(0, np.float32), unused))
    node = helper.make_node("Resize", [source, unused, unused, sizes], [target], mode="linear")
    graph.node.insert(len(graph.node) if place is None else place, node)


def _declare(graph: GraphProto, contract: Contract) -> None:
    """Makes the graph's inputs and outputs those of the contract; what they were and led to is dropped."""
    taken = (*contract.inputs, *contract.states)
    given = (*contract.outputs, *(replace(spec, name=after(spec.name)) for spec in contract.states))
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.extend(_value(spec) for spec in taken)
    graph.output.extend(_value(spec) for spec in given)


def _value(spec: TensorSpec) -> onnx.ValueInfoProto:
    kind = TensorProto.UINT8 if spec.dtype == "uint8" else TensorProto.FLOAT
    return helper.make_tensor_value_info(spec.name, kind, list(spec.shape))


def _rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Renames tensors, in the branches of the graph's nodes too."""
    for node in graph.node:
        for tensors in (node.input, node.output):
            renamed = [names.get(name, name) for name in tensors]
            del tensors[:]
            tensors.extend(renamed)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _rename(attribute.g, names)


def _write(model: ModelProto, contract: Contract, path: Path) -> None:
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, str(part))
    seal(part)
    part.replace(path)


def main(
    peer: Annotated[Path, typer.Argument(help="The peer's own ONNX file.")],
    size: Annotated[str, typer.Option(help="Frame size, such as 512x288.")],
    out: Annotated[Path, typer.Option(help="The ONNX file to write.")],
) -> None:
    """Writes a peer with our contract, ready for `python -m benchmarks.quality --model OUT` and every other command."""
    contract = add_contract(peer, out, parse_size(size))
    states = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in contract.states) or "no state"
    typer.echo(f"wrote {out}: {contract.model}, {size}, {states}")


if __name__ == "__main__":
    report.run(main)
