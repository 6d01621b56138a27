"""An int8 graph from a float32 one, for processors: as many of its convolutions in int8 as a tolerance allows.

Weights are scaled per channel, activations by the range they take while a clip of the user's own is played. Ranges
taken anew in each step, dynamic quantisation, would make convolutions slower than float32. Which convolutions stay in
float32 is for `choice` to find.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.rehearsal import Call
from export.rounding import correlations, rounded
from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import METADATA_KEY
from rtmatte.engine import self_test
from rtmatte.errors import BackendMissing, ModelError
from rtmatte.graph import DOMAINS, read_step_contract
from rtmatte.modelfile import seal
from rtmatte.step import Array

# A convolution's own Relu goes with it: the output's range then has no negative half to waste its steps on.
QUANTISED = ("Conv", "Relu")

KEPT, KEPT_EVERY = 6, 3  # calls that weights are rounded for


class Quantiser:
    """A float32 graph with the ranges of its tensors, ready to be written in int8 as often as one likes.

    A context: what it works with lies in a folder that goes when it ends.
    """

    def __init__(self, graph: Path, calls: Iterable[Call]) -> None:
        """Keeps `calls` for the first writing to calibrate on; ModelError for a graph in half precision.

        Raises BackendMissing where ONNX Runtime is too old to keep the ranges.
        """
        self.contract = read_step_contract(graph)
        if any(spec.dtype == "float16" for spec in self.contract.states):
            raise ModelError(f"{graph} is in half precision; make the int8 graph from one in float32")
        if "calibration_cache_path" not in signature(quantize_static).parameters:
            raise BackendMissing("int8 graphs are made with ONNX Runtime 1.32 or newer; pip install -U onnxruntime")
        self._folder = tempfile.TemporaryDirectory()
        self._plain, self._ranges = Path(self._folder.name, "plain.onnx"), Path(self._folder.name, "ranges.json")
        quant_pre_process(graph, self._plain, skip_symbolic_shape=True)  # weights become constants, shapes are noted
        self._reader = _Reader(iter(calls))
        self._rounded: dict[str, NDArray[np.int8]] = {}  # weights by the names of their convolutions
        self.plain = onnx.load(self._plain)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def write(self, path: Path, *, floating: Collection[str] = ()) -> None:
        """Writes the int8 graph to `path`, complete or not at all; sealed.

        Convolutions of the names in `floating` stay in float32. The contract is the float32 graph's but for the
        variant and the self-test, which is its own.
        """
        made = self.draft(floating=floating)
        model, contract = onnx.load(made), read_step_contract(made)
        helper.set_model_props(model, {METADATA_KEY: replace(contract, self_test=self_test(OrtEngine(made))).to_json()})
        onnx.save_model(model, str(made))
        seal(made)
        part = path.with_suffix(".part")
        part.write_bytes(made.read_bytes())
        part.replace(path)

    def draft(self, *, floating: Collection[str] = ()) -> Path:
        """Returns where it wrote the same without self-test and seal, for trying; the next draft is written there."""
        path = Path(self._folder.name, "draft.onnx")
        kept = {node.name for node in self.plain.graph.node if node.name in floating}
        kept |= {node.name for node in self.plain.graph.node if node.op_type == "Relu" and not self._wanted(node, kept)}
        quantize_static(
            self._plain,
            path,
            self._reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(kept),
            calibration_cache_path=self._ranges,
        )
        model = onnx.load(path)
        self._round(model)
        _spare_floats(model)
        foreign = [entry for entry in model.opset_import if entry.domain not in DOMAINS]
        for entry in foreign:  # the optimiser lists every domain it knows; no node is of one
            model.opset_import.remove(entry)
        contract = replace(self.contract, variant=f"{self.contract.variant}-int8".lstrip("-"), self_test=())
        helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
        onnx.save_model(model, str(path))
        return path

    def _round(self, model: ModelProto) -> None:
        """Puts weights in the place of `model`'s that are rounded together, not each by itself."""
        made = {output: node for node in model.graph.node for output in node.output}
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        plain = {tensor.name: tensor for tensor in self.plain.graph.initializer}
        scales = {node.name: made[node.input[1]].input for node in model.graph.node if _in_int8(node, made)}
        new = [
            node
            for node in self.plain.graph.node
            if node.name in scales and node.name not in self._rounded and _groups(node) == 1
        ]
        shapes = {name: tuple(tensor.dims) for name, tensor in plain.items()}
        for node, correlation in correlations(self._plain, new, shapes, self._reader.kept):
            weight = numpy_helper.to_array(plain[node.input[1]])
            scale = numpy_helper.to_array(tensors[scales[node.name][1]])
            self._rounded[node.name] = rounded(weight, scale, correlation)
        for name, (kept, *_) in scales.items():
            if name in self._rounded:
                tensors[kept].CopyFrom(numpy_helper.from_array(self._rounded[name], kept))

    def _wanted(self, relu: NodeProto, floating: Collection[str]) -> bool:
        """Returns whether a convolution in int8 makes what a Relu is given, or takes what it gives."""
        return any(
            node.op_type == "Conv"
            and node.name not in floating
            and (relu.input[0] in node.output or relu.output[0] in node.input)
            for node in self.plain.graph.node
        )


def _spare_floats(model: ModelProto) -> None:
    """Gives all but convolutions in int8 what came before a rounding that only those need: sums of residuals, say."""
    made = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") or _in_int8(node, made):
            continue
        for index, name in enumerate(node.input):
            node.input[index] = _before_rounding(name, made)


def _before_rounding(name: str, made: Mapping[str, NodeProto]) -> str:
    """Returns the float32 tensor that `name` is the int8 rounding of; `name` where int8 is what its maker gives."""
    coarse = made.get(name)
    fine = made.get(coarse.input[0]) if coarse is not None and coarse.op_type == "DequantizeLinear" else None
    if fine is None or fine.op_type != "QuantizeLinear":
        return name
    maker = made.get(fine.input[0])
    if maker is not None and maker.op_type == "Relu":
        maker = made.get(maker.input[0], maker)
    return name if maker is not None and _in_int8(maker, made) else fine.input[0]


def _groups(convolution: NodeProto) -> int:
    return next((int(a.i) for a in convolution.attribute if a.name == "group"), 1)


def _in_int8(node: NodeProto, made: Mapping[str, NodeProto]) -> bool:
    """Returns whether a node is a convolution in int8: its weight is kept so."""
    return node.op_type == "Conv" and node.input[1] in made and made[node.input[1]].op_type == "DequantizeLinear"


class _Reader:
    """Hands the tensors of each call to ONNX Runtime's calibration, and keeps some of them."""

    def __init__(self, calls: Iterator[Call]) -> None:
        self._calls, self._count = calls, 0
        self.kept: list[dict[str, Array]] = []

    def get_next(self) -> dict[str, Array] | None:
        """Returns what the next call was given, None after the last."""
        call = next(self._calls, None)
        if call is None:
            return None
        if self._count % KEPT_EVERY == 0 and len(self.kept) < KEPT:
            self.kept.append(call.given)
        self._count += 1
        return call.given
