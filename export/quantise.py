"""An int8 graph from a float32 one, for processors: as many of its convolutions in int8 as a tolerance allows.

Weights and activations are scaled per channel, activations by the range they take while a clip of the user's own is
played (`scaling`). Ranges taken anew in each step, dynamic quantisation, would make convolutions slower than float32.
Which convolutions stay in float32 is for `choice` to find.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.conditional import skip_unchosen
from export.products import in_int8, multiply_out, spare_sums
from export.rehearsal import Recorded
from export.rounding import correlations, rounded
from export.scaling import ChannelRanges, Ranges, Scales, Scaling, keep_blocked, maker_of, scale_channels
from export.wiring import makers, nodes_before
from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import ALPHA, METADATA_KEY
from rtmatte.engine import self_test
from rtmatte.errors import BackendMissing, ModelError
from rtmatte.graph import DOMAINS, read_step_contract
from rtmatte.modelfile import seal
from rtmatte.step import Array

# A convolution's own Relu goes with it: the output's range then has no negative half to waste its steps on.
QUANTISED = ("Conv", "Relu")

WATCHED_EVERY = 3  # calls, of which ranges are taken
SAMPLED_EVERY = 2  # of those, which weights are rounded for: from all of the clip, and of what follows it


@dataclass(frozen=True, slots=True)
class Weights:
    """A convolution's weights in int8 for inputs divided by their scales, and what a step of each row is worth [O]."""

    codes: NDArray[np.int8]
    steps: NDArray[np.float64]


class Quantiser:
    """A float32 graph with the ranges of its tensors, ready to be written in int8 as often as one likes.

    A context: what it works with lies in a folder that goes when it ends.
    """

    def __init__(self, graph: Path, calls: Iterable[Recorded]) -> None:
        """Keeps `calls` for the first writing to calibrate on; ModelError for a graph in half precision.

        Raises BackendMissing where ONNX Runtime is too old to keep the ranges.
        """
        self.contract = read_step_contract(graph)
        if any(spec.dtype == "float16" for spec in self.contract.states):
            raise ModelError(f"{graph} is in half precision; make the int8 graph from one in float32")
        if "calibration_cache_path" not in signature(quantize_static).parameters:
            raise BackendMissing("int8 graphs are made with ONNX Runtime 1.32 or newer; pip install -U onnxruntime")
        self._folder = tempfile.TemporaryDirectory()
        self._plain, self._cache = Path(self._folder.name, "plain.onnx"), Path(self._folder.name, "ranges.json")
        quant_pre_process(graph, self._plain, skip_symbolic_shape=True)  # weights become constants, shapes are noted
        self._weights: dict[str, Weights] = {}  # by the names of their convolutions
        self.plain = onnx.load(self._plain)
        self._seen = nodes_before(self.plain, ALPHA)
        self._calls, self._samples, self._ranges = calls, list[dict[str, Array]](), Ranges()

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
        if not self._ranges:
            self._calibrate()
        self._quantise(path, floating)
        model = onnx.load(path)
        whole = spare_sums(model, self._seen)
        _spare_floats(model)
        made = makers(model)
        convolutions = [node for node in model.graph.node if in_int8(node, made)]
        scaling = scale_channels(model, [node.name for node in convolutions], self._ranges)
        self._round(convolutions, scaling)
        self._place(model, convolutions, scaling)
        multiply_out(model, whole)
        keep_blocked(model)
        ordered = ONNXModel(model)
        ordered.topological_sort()
        ordered.clean_initializers()
        skip_unchosen(model)
        foreign = [entry for entry in model.opset_import if entry.domain not in DOMAINS]
        for entry in foreign:  # the optimiser lists every domain it knows; no node is of one
            model.opset_import.remove(entry)
        contract = replace(self.contract, variant=f"{self.contract.variant}-int8".lstrip("-"), self_test=())
        helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
        onnx.save_model(model, str(path))
        return path

    def _calibrate(self) -> None:
        """Takes the ranges of the maps over some of the calls, and keeps what some of those were given."""
        ranges = ChannelRanges(self._plain)
        for number, call in enumerate(islice(self._calls, 0, None, WATCHED_EVERY)):
            ranges.see(call.given)
            if number % SAMPLED_EVERY == 0:
                self._samples.append(call.given)
        self._ranges = ranges.found

    def _quantise(self, path: Path, floating: Collection[str]) -> None:
        """Writes ONNX Runtime's own int8 graph to `path`: one scale a map, weights rounded each by itself.

        What a draft keeps of it is where maps enter int8 and leave it.
        """
        excluded = set(floating)
        excluded |= {
            node.name for node in self.plain.graph.node if node.op_type == "Relu" and not self._wanted(node, floating)
        }
        quantize_static(
            self._plain,
            path,
            _Reader(self._samples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(excluded),
            calibration_cache_path=self._cache,
        )

    def _round(self, convolutions: Iterable[NodeProto], scaling: Scaling) -> None:
        """Finds the weights of convolutions that have none yet: those of a row are rounded together, for the inputs
        they meet, and only those of grouped convolutions each by itself."""
        names = {node.name for node in convolutions} - self._weights.keys()
        plain = {tensor.name: tensor for tensor in self.plain.graph.initializer}
        shapes = {name: tuple(tensor.dims) for name, tensor in plain.items()}
        new = [node for node in self.plain.graph.node if node.name in names]
        whole = [node for node in new if _groups(node) == 1]
        for node in (node for node in new if _groups(node) > 1):
            weight, steps = _scaled(node, numpy_helper.to_array(plain[node.input[1]]), scaling.taken[node.name])
            codes = np.rint(weight / steps[:, None, None, None]).astype(np.int8)
            self._weights[node.name] = Weights(codes, steps)
        for node, correlation in correlations(self._plain, whole, shapes, self._samples):
            scale = scaling.taken[node.name]
            weight, steps = _scaled(node, numpy_helper.to_array(plain[node.input[1]]), scale)
            each = np.repeat(scale.astype(np.float64), weight[0, 0].size)
            self._weights[node.name] = Weights(rounded(weight, steps, correlation / np.outer(each, each)), steps)

    def _place(self, model: ModelProto, convolutions: Iterable[NodeProto], scaling: Scaling) -> None:
        """Puts weights and biases in the place of `model`'s, with its outputs divided by their scales and moved."""
        made = makers(model)
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        plain = {tensor.name: tensor for tensor in self.plain.graph.initializer}
        floats = {node.name: node for node in self.plain.graph.node}
        for node in convolutions:
            found = self._weights[node.name]
            values = [found.codes]
            given = scaling.given.get(node.name, 1)
            if len(node.input) == 3:
                bias = numpy_helper.to_array(plain[floats[node.name].input[2]])
                bias = bias + given * scaling.moved.get(node.name, 0)
                values.append(np.rint(bias / found.steps).clip(-(2**31), 2**31 - 1).astype(np.int32))
            steps = (found.steps / given).astype(np.float32)
            for name, value in zip(node.input[1:], values, strict=True):
                kept, scale, *_ = made[name].input
                tensors[kept].CopyFrom(numpy_helper.from_array(value, kept))
                tensors[scale].CopyFrom(numpy_helper.from_array(steps, scale))

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
    made = makers(model)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") or in_int8(node, made):
            continue
        for index, name in enumerate(node.input):
            node.input[index] = _before_rounding(name, made)


def _before_rounding(name: str, made: Mapping[str, NodeProto]) -> str:
    """Returns the float32 tensor that `name` is the int8 rounding of; `name` where int8 is what its maker gives."""
    coarse = made.get(name)
    fine = made.get(coarse.input[0]) if coarse is not None and coarse.op_type == "DequantizeLinear" else None
    if fine is None or fine.op_type != "QuantizeLinear":
        return name
    return name if in_int8(maker_of(fine.input[0], made), made) else fine.input[0]


def _scaled(node: NodeProto, weight: Array, scale: Scales) -> tuple[Array, NDArray[np.float64]]:
    """Returns weights [O,I,kh,kw] for inputs that are divided by `scale` [C], and the step [O] of each row in int8."""
    groups = _groups(node)
    each = np.repeat(scale.reshape(groups, -1), len(weight) // groups, axis=0)
    scaled = weight * each[:, :, None, None]
    return scaled, np.maximum(np.abs(scaled).max(axis=(1, 2, 3)).astype(np.float64) / 127, 1e-12)


def _groups(convolution: NodeProto) -> int:
    return next((int(a.i) for a in convolution.attribute if a.name == "group"), 1)


class _Reader:
    """Hands calls to ONNX Runtime's calibration, which sees from them where a Relu leaves no negative half."""

    def __init__(self, given: Iterable[dict[str, Array]]) -> None:
        self._given = iter(given)

    def get_next(self) -> dict[str, Array] | None:
        """Returns what the next call was given, None after the last."""
        return next(self._given, None)
