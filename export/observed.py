"""A graph that gives tensors of its middle, for whoever looks at what its nodes make of recorded calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnxruntime
from onnx import ModelProto, helper

from rtmatte.step import Array


class Observed:
    """A float32 or int8 graph in ONNX Runtime whose results are the tensors of the names it is asked for."""

    def __init__(self, model: ModelProto, names: Iterable[str]) -> None:
        """Leaves `model` as it is; expects one name at least, and none of an input."""
        watched = ModelProto()
        watched.CopyFrom(model)
        del watched.graph.output[:]
        watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
        self._session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
        self._taken = {value.name for value in self._session.get_inputs()}

    def see(self, given: Mapping[str, Array], names: Iterable[str]) -> dict[str, Array]:
        """Returns some of the tensors, by name, for what a call was given; more than the graph takes may be given."""
        asked = list(dict.fromkeys(names))
        if not asked:
            return {}
        taken = {name: array for name, array in given.items() if name in self._taken}
        return dict(zip(asked, self._session.run(asked, taken), strict=True))
