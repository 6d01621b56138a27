"""How many comparisons of a step rounding is expected to decide the other way.

MatAnyone's object transformer gives every token to the foreground or to the background, by comparing. One that changes
sides moves the whole alpha; but few do, in few calls, so that a mean of errors over some dozens of calls is a matter of
luck. How far rounding moves what is compared shows in every call, and how close to the limit it lies is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, numpy_helper

from export.observed import Observed
from export.rehearsal import Recorded
from export.wiring import nodes_before
from rtmatte.step import Array

COMPARING = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
NEAREST = 0.25  # of what is compared: how far rounding moves those is how far it moves what may change sides
SPREAD = 1.4826  # standard deviations a median deviation, of what is distributed normally


class Comparisons:
    """What a float32 graph compares with a constant, on some calls, held against graphs that round."""

    def __init__(self, plain: ModelProto, calls: Sequence[Recorded]) -> None:
        """Comparisons of inputs alone, such as gates, are not among them: no convolution makes what they compare."""
        self._limits = _limits(plain)
        self._calls = calls
        self._exact = self._compared(plain)

    def turned(self, draft: Path) -> float:
        """Returns how many comparisons a step of the graph in `draft` is expected to decide the other way.

        What one that turned has brought about in later ones is not counted: how far rounding moves what is compared is
        the median of the calls.
        """
        rounded = self._compared(onnx.load(draft))
        expected = 0.0
        for name, limit in self._limits.items():
            room = [np.abs(exact[name] - limit).ravel() for exact in self._exact]
            moved = [
                np.abs(values[name] - exact[name]).ravel() for values, exact in zip(rounded, self._exact, strict=True)
            ]
            near = [one <= np.quantile(one, NEAREST) for one in room]
            spread = SPREAD * np.median([np.median(far[close]) for far, close in zip(moved, near, strict=True)])
            if spread > 0:
                expected += float(torch.special.ndtr(torch.from_numpy(-np.concatenate(room) / spread)).sum())
        return expected / len(self._calls)

    def _compared(self, model: ModelProto) -> list[dict[str, Array]]:
        """Returns what a graph compares in each of the calls, by name."""
        if not self._limits:
            return []
        graph = Observed(model, self._limits)
        return [graph.see(call.given, self._limits) for call in self._calls]


def _limits(model: ModelProto) -> dict[str, float]:
    """Returns the tensors that a graph's convolutions make and that it compares, and with what."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    convolutions = {node.name for node in model.graph.node if node.op_type == "Conv"}
    return {
        node.input[0]: float(numpy_helper.to_array(constants[node.input[1]]))
        for node in model.graph.node
        if node.op_type in COMPARING and node.input[1] in constants
        if not convolutions.isdisjoint(nodes_before(model, node.input[0]))
    }
