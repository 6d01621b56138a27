"""Writes a step as one ONNX file: static shapes, opset 18, the contract inside, sealed.

What it deliberately does not do: choose precision. A graph computes in what its PyTorch module computes in.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

from rtmatte.contract import METADATA_KEY, Contract
from rtmatte.errors import ModelError
from rtmatte.modelfile import seal

OPSET = 18
_REFUSED = {"If", "Loop", "Scan", "NonZero"}  # they stop a GPU graph from being captured, or sync with the host
_SMALL = 256  # elements below which an initialiser is not worth halving


def round_to_half(step: nn.Module) -> None:
    """Rounds every larger weight to a float16 value in place, so that storing them as float16 changes nothing."""
    for tensor in (*step.parameters(), *step.buffers()):
        if tensor.is_floating_point() and tensor.numel() >= _SMALL:
            tensor.data = tensor.data.half().float()


def export_step(step: nn.Module, contract: Contract, path: Path, *, half_weights: bool) -> None:
    """Writes `step`, or the head or tail of one, to `path`, complete or not at all.

    With `half_weights` the weights, already rounded by `round_to_half`, are stored as float16 and cast when loaded.
    Raises ModelError when the graph holds an operator that TensorRT refuses.
    """
    inputs = (*contract.inputs, *contract.states)
    example = tuple(torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations are not ours to mend
        program = torch.onnx.export(
            step,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.name for spec in inputs],
            output_names=[spec.name for spec in contract.results],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    refused = sorted({node.op_type for node in model.graph.node} & _REFUSED)
    if refused:
        raise ModelError(f"expected a graph without {', '.join(sorted(_REFUSED))}; found {', '.join(refused)}")
    if half_weights:
        _store_as_half(model)
    _strip(model)
    helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, str(part))
    seal(part)
    part.replace(path)


def _store_as_half(model: ModelProto) -> None:
    """Replaces larger float32 initialisers by float16 ones and a Cast, which runtimes fold away when they load."""
    graph = model.graph
    casts = []
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _SMALL:
            continue
        name = f"{tensor.name}.half"
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name)
        casts.append(helper.make_node("Cast", [name], [tensor.name], name=f"{tensor.name}.cast", to=TensorProto.FLOAT))
        graph.initializer[index].CopyFrom(half)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _strip(model: ModelProto) -> None:
    """Takes out what the exporter notes for debugging: source paths and stack traces do not belong in a release."""
    model.doc_string = ""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del model.graph.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
