"""A scale for each channel of the maps in int8, in a graph that knows one scale per tensor.

Channels of one map differ in range by a factor of three and more: one scale for all wastes the digits of most. Where a
map enters int8 it is divided by its scales, where it leaves it is multiplied by them, and between two convolutions the
weights of the first have them divided out and those of the second multiplied in, which costs nothing. After Nagel et
al. 2019 (cross-layer equalisation) and Xiao et al. 2023 (SmoothQuant).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from export.observed import Observed
from export.wiring import makers, shape_of, shapes
from rtmatte.step import Array

ENDS = ("ReduceMin", "ReduceMax")  # of what a channel takes
TOP = 255  # codes are 0..255
LEAST = 0.02  # of a map's widest channel: no channel has a finer scale, so that a still one may wake up

# What makes a map of tokens. Its channels lie last, and QuantizeLinear takes 7 ns a number to round by them, not 0.14.
_OF_TOKENS = ("Reshape", "Transpose")

Scales = NDArray[np.float32]
Codes = NDArray[np.uint8]
Ranges = dict[str, tuple[Array, Array]]  # least and greatest [C] of a map's channels, by its name


class ChannelRanges:
    """The ranges of the maps that a graph's convolutions and Relus take and give, over all calls it is shown."""

    def __init__(self, graph: Path) -> None:
        model = onnx.load(graph)
        nodes = [node for node in model.graph.node if node.op_type in ("Conv", "Relu")]
        maps = dict.fromkeys(name for node in nodes for name in (node.input[0], *node.output))
        ranks = {value.name: len(shape_of(value)) for value in model.graph.value_info}
        model.graph.initializer.append(numpy_helper.from_array(np.array([0, 2, 3]), "range_axes"))
        self._ends = {f"{name}_{kind}": (name, kind) for name in maps if ranks.get(name, 4) == 4 for kind in ENDS}
        for result, (name, kind) in self._ends.items():
            model.graph.node.append(helper.make_node(kind, [name, "range_axes"], [result], result, keepdims=0))
        self._graph = Observed(model, self._ends)
        self.found: Ranges = {}

    def see(self, given: Mapping[str, Array]) -> None:
        """Widens the ranges by what one call makes of the maps."""
        ends = self._graph.see(given, self._ends)
        for name in dict.fromkeys(name for name, _ in self._ends.values()):
            low, high = (ends[f"{name}_{kind}"] for kind in ENDS)
            before = self.found.get(name, (low, high))
            self.found[name] = np.minimum(before[0], low), np.maximum(before[1], high)


def codes_of(low: Array, high: Array) -> tuple[Scales, int]:
    """Returns the scale of each channel [C] and the one zero point 0..255 with which codes reach both ends [C]."""
    low, high = np.minimum(low, 0).astype(np.float64), np.maximum(high, 0).astype(np.float64)
    width = float((high - low).sum())
    zero = round(TOP * float(-low.sum()) / width) if width else 0
    if low.any():
        zero = min(max(zero, 1), TOP - 1)
    scale = np.maximum(high / (TOP - zero), -low / max(zero, 1))
    return np.maximum(scale, LEAST * scale.max() + 1e-12).astype(np.float32), zero


def codes_of_each(low: Array, high: Array) -> tuple[Scales, Codes]:
    """Returns the scale of each channel [C] and the zero point of each [C] with which codes reach both of its ends.

    With one zero point for all, the channels that lie to one side of 0 waste the codes of the other: MatAnyone's
    branches have steps smaller by 0.7 with one each.
    """
    low, high = np.minimum(low, 0).astype(np.float64), np.maximum(high, 0).astype(np.float64)
    width = (high - low) / TOP
    scale = np.maximum(width, LEAST * width.max() + 1e-12)
    return scale.astype(np.float32), np.rint(-low / scale).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Scaling:
    """What convolutions in int8 have to make good: the scales [C] by which they find their inputs divided and have to
    divide their outputs, and the codes [C] by which they have to move those."""

    taken: dict[str, Scales] = field(default_factory=dict)
    given: dict[str, Scales] = field(default_factory=dict)
    moved: dict[str, Codes] = field(default_factory=dict)


def scale_channels(model: ModelProto, in_int8: Collection[str], ranges: Ranges) -> Scaling:
    """Gives every map in int8 scales per channel, and returns those that the weights of `in_int8` have to make good.

    All codes have a scale of 1 from then on. Nodes are added at the graph's end, out of order.
    """
    return _Scaler(model, frozenset(in_int8), ranges).run()


class _Scaler:
    def __init__(self, model: ModelProto, in_int8: frozenset[str], ranges: Ranges) -> None:
        self._graph, self._in_int8, self._ranges = model.graph, in_int8, ranges
        self._made = makers(model)
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._users: dict[str, list[tuple[NodeProto, int]]] = defaultdict(list)
        for node in model.graph.node:
            for index, name in enumerate(node.input):
                self._users[name].append((node, index))
        self._results = {value.name for value in model.graph.output}
        self._shapes = shapes(model)
        self._scaling = Scaling()

    def run(self) -> Scaling:
        self._constant("unit_scale", np.float32(1))
        for node in list(self._graph.node):
            if node.op_type == "QuantizeLinear":
                self._scale(node)
        return self._scaling

    def _scale(self, quantize: NodeProto) -> None:
        source = quantize.input[0]
        maker = maker_of(source, self._made)
        low, high = self._ranges[source.removesuffix("_QuantizeLinear_Input")]  # put to the name of a graph's output
        if not numpy_helper.to_array(self._tensors[quantize.input[2]]).any():
            low = np.zeros_like(low)  # a Relu became the rounding's lower end
        scale, zero = codes_of(low, high)
        zeros = np.full(len(scale), zero, np.uint8)
        dequantizers = [dequantize for dequantize, _ in self._users[quantize.output[0]]]
        made_here, leaves = maker.name in self._in_int8, not any(map(self._inside, dequantizers))
        if made_here and leaves and len(maker.input) == 3:  # it has a bias to move its codes by
            scale, zeros = codes_of_each(low, high)
            self._scaling.moved[maker.name], zero = zeros, 0
        pair = ["unit_scale", self._constant(f"{source}_zero", np.uint8(zero))]
        if made_here:
            self._scaling.given[maker.name] = scale
            quantize.input[1:] = pair
        elif maker.op_type in _OF_TOKENS:
            factors = self._constant(f"{source}_by", np.reciprocal(scale)[None, :, None, None])
            self._add("Mul", [source, factors], f"{source}_scaled")
            quantize.input[:] = [f"{source}_scaled", *pair]
        else:
            quantize.input[1:] = self._pair(f"{source}_each", scale, zeros)
            quantize.attribute.append(helper.make_attribute("axis", 1))
        for dequantize in dequantizers:
            dequantize.input[1:] = pair
            whole, inside = dequantize.output[0], self._inside(dequantize)
            if len(inside) < len(self._users[whole]) or whole in self._results:
                dequantize.output[0] = f"{whole}_divided"
                for user in inside:
                    user.input[0] = f"{whole}_divided"
                if not inside:
                    self._graph.node.remove(dequantize)
                self._leave(quantize.output[0], whole, self._pair(f"{whole}_each", scale, zeros), self._shapes[source])
            for user in inside:
                self._scaling.taken[user.name] = scale

    def _inside(self, dequantize: NodeProto) -> list[NodeProto]:
        """Returns the convolutions in int8 that take the map that `dequantize` gives."""
        users = self._users[dequantize.output[0]]
        return [user for user, index in users if user.name in self._in_int8 and index == 0]

    def _leave(self, codes: str, whole: str, pair: Sequence[str], shape: Sequence[int]) -> None:
        """Makes the map `whole` of its codes and the `pair` of scales and zero points by channel, for all but int8.

        The map is flat meanwhile. ONNX Runtime turns what leaves int8 from channels last to channels first, and moves
        the turn past all it can: four bytes a number were turned instead of one, and with the scales along the last
        axis undoing the rounding took 7 ns a number, not 0.4. A map without rows and columns is where that stops: 13 of
        209 ms for MatAnyone at 512x288.
        """
        self._add("Reshape", [codes, self._constant(f"{whole}_places", np.array([0, 0, -1]))], f"{whole}_codes")
        undone = self._add("DequantizeLinear", [f"{whole}_codes", *pair], f"{whole}_flat")
        undone.attribute.append(helper.make_attribute("axis", 1))
        self._add("Reshape", [f"{whole}_flat", self._constant(f"{whole}_shape", np.array(shape))], whole)

    def _add(self, kind: str, given: Sequence[str], result: str) -> NodeProto:
        node = helper.make_node(kind, given, [result], result)
        self._graph.node.append(node)
        self._made[result] = node
        return node

    def _pair(self, name: str, scales: Scales, zeros: Codes) -> list[str]:
        return [self._constant(f"{name}_scales", scales), self._constant(f"{name}_zeros", zeros)]

    def _constant(self, name: str, value: Array | np.generic) -> str:
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def maker_of(name: str, made: Mapping[str, NodeProto]) -> NodeProto:
    """Returns the node that makes a map, before its Relu; an empty one for an input. `made` is by what nodes give."""
    maker = made.get(name, NodeProto())
    return made.get(maker.input[0], maker) if maker.op_type == "Relu" else maker


def keep_blocked(model: ModelProto) -> None:
    """Puts a convolution by 1 before each upsampling that is added to a convolution in float32.

    Beside int8, ONNX Runtime would upsample channel by channel and add in a pass of its own; after a convolution it
    stays in its blocked layout, and the sum is made within the other convolution: 17 of 259 ms for MatAnyone's decoder
    at 512x288. The node is added at the graph's end, out of order.
    """
    widths = {name: shape[1] for name, shape in shapes(model).items() if len(shape) == 4}
    made = makers(model)
    sums = [node for node in model.graph.node if node.op_type == "Add"]
    for total in sums:
        ends = {made[name].op_type: made[name] for name in total.input if name in made}
        if ends.keys() != {"Resize", "Conv"}:
            continue
        resize = ends["Resize"]
        source, width = resize.input[0], widths.get(resize.input[0], 0)
        if width and made.get(source, NodeProto()).op_type != "Conv":
            weight, result = f"{resize.name}_ones", f"{resize.name}_blocked"
            ones = np.ones((width, 1, 1, 1), np.float32)
            model.graph.initializer.append(numpy_helper.from_array(ones, weight))
            node = helper.make_node("Conv", [source, weight], [result], result, group=width, kernel_shape=[1, 1])
            model.graph.node.append(node)
            resize.input[0] = result
