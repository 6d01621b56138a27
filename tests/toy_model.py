"""A tiny recurrent step as an ONNX file, with every gate of the contract, and the same step in NumPy.

light = mean of the frame's channels / 255            read = highest value stored in the bank
alpha = mask on a seed, else last / 2 + light / 4 + read / 4
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from rtmatte.contract import (
    ALPHA,
    FRAME,
    MASK,
    METADATA_KEY,
    SEED,
    SETTLE,
    WRITE,
    Contract,
    Gates,
    TensorSpec,
    after,
)

BANK, LAST = "bank", "last"


def toy_contract(width: int = 16, height: int = 8, *, batch: int = 1, slots: int = 3) -> Contract:
    """Returns the contract of the toy for float32 frames."""
    plane = (batch, 1, height, width)
    return Contract(
        model="toy",
        role="step",
        inputs=(
            TensorSpec(FRAME, (batch, height, width, 3)),
            TensorSpec(MASK, plane),
            TensorSpec(SEED, (batch, 1)),
            TensorSpec(SETTLE, (batch, 1)),
            TensorSpec(WRITE, (batch, slots)),
        ),
        states=(TensorSpec(BANK, (batch, slots, height, width)), TensorSpec(LAST, plane)),
        outputs=(TensorSpec(ALPHA, plane),),
        slots=slots,
    )


def save_toy(path: Path, contract: Contract, *, graph_of: Contract | None = None, metadata: str | None = None) -> Path:
    """Returns `path`, written as the graph of `graph_of` (else of `contract`) that carries `contract`.

    `metadata` replaces the contract's text; empty leaves the entry out.
    """
    model = _model(graph_of or contract)
    text = contract.to_json() if metadata is None else metadata
    if text:
        model.metadata_props.add(key=METADATA_KEY, value=text)
    path.write_bytes(model.SerializeToString())
    return path


def _model(contract: Contract) -> Any:
    floats = {"zero": 0.0, "half": 0.5, "quarter": 0.25, "scale": 0.25 / 255}
    constants = [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in floats.items()]
    ints = {"seed_shape": [-1, 1, 1, 1], "slot_shape": [-1, contract.slots, 1, 1], "channel": [3], "slot": [1]}
    constants += [helper.make_tensor(name, TensorProto.INT64, [len(v)], v) for name, v in ints.items()]
    first = np.arange(contract.slots).reshape(1, -1, 1, 1) == 0
    constants.append(helper.make_tensor("first", TensorProto.BOOL, first.shape, first.ravel().tolist()))
    nodes = [
        _node("Greater", ["seed", "half"], "seeding_flat"),
        _node("Reshape", ["seeding_flat", "seed_shape"], "seeding"),
        _node("Max", ["seed", "settle"], "start"),
        _node("Greater", ["start", "half"], "starting_flat"),
        _node("Reshape", ["starting_flat", "seed_shape"], "starting"),
        _node("Greater", ["write", "half"], "writing_flat"),
        _node("Reshape", ["writing_flat", "slot_shape"], "writing"),
        _node("Where", ["seeding", "zero", BANK], "bank_clear"),
        _node("Where", ["seeding", "zero", LAST], "last_clear"),
        _node("ReduceMean", [FRAME, "channel"], "light_BHW", keepdims=0),
        _node("Unsqueeze", ["light_BHW", "slot"], "light"),
        _node("Mul", ["light", "scale"], "light_part"),
        _node("ReduceMax", ["bank_clear", "slot"], "read", keepdims=1),
        _node("Mul", ["read", "quarter"], "read_part"),
        _node("Mul", ["last_clear", "half"], "last_part"),
        _node("Add", ["last_part", "light_part"], "partial"),
        _node("Add", ["partial", "read_part"], "decoded"),
        _node("Where", ["seeding", MASK, "decoded"], ALPHA),
        _node("Identity", [ALPHA], after(LAST)),
        _node("Where", ["first", ALPHA, "zero"], "begun"),
        _node("Where", ["writing", ALPHA, "bank_clear"], "kept"),
        _node("Where", ["starting", "begun", "kept"], after(BANK)),
    ]
    taken = [_value(spec) for spec in (*contract.inputs, *contract.states)]
    given = [_value(s) for s in (*contract.outputs, *(replace(s, name=after(s.name)) for s in contract.states))]
    graph = helper.make_graph(nodes, "toy", taken, given, constants)
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])


def _node(kind: str, inputs: list[str], output: str, keepdims: int | None = None) -> Any:
    return helper.make_node(kind, inputs, [output], keepdims=keepdims)


def _value(spec: TensorSpec) -> Any:
    kind = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}[spec.dtype]
    return helper.make_tensor_value_info(spec.name, kind, list(spec.shape))


def toy_inputs(contract: Contract, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns a random frame 0..255 and mask 0..1 of the contract's shapes."""
    rng = np.random.default_rng(seed)
    frame = rng.uniform(0, 255, contract.input(FRAME).shape).astype(np.float32)
    return frame, rng.uniform(0, 1, contract.input(MASK).shape).astype(np.float32)


def gates_of(contract: Contract, kind: str, row: int = 0) -> Gates:
    """Returns gates that make `row` what `kind` says: "seed", "settle", "write N" or "frame"."""
    gates = Gates.for_contract(contract)
    set_gate(gates, kind, row)
    return gates


def set_gate(gates: Gates, kind: str, row: int) -> None:
    """Makes `row` what `kind` says, as in `gates_of`."""
    if kind == "seed":
        gates.set_seed(row)
    elif kind == "settle":
        gates.set_settle(row)
    elif kind.startswith("write"):
        gates.set_write(int(kind.split()[1]), row)


class ToyInNumpy:
    """The reference: one stream of the toy, all rows; `step` returns a new alpha."""

    def __init__(self, contract: Contract) -> None:
        self.bank, self.last = (spec.zeros() for spec in contract.states)

    def step(self, frame: NDArray[np.float32], mask: NDArray[np.float32] | None, gates: Gates) -> NDArray[np.float32]:
        alpha = np.empty_like(self.last)
        for row in range(len(frame)):
            if gates.seed[row, 0]:
                self.bank[row], self.last[row] = 0.0, 0.0
            light = frame[row].mean(axis=2) / 255
            decoded = self.last[row, 0] / 2 + light / 4 + self.bank[row].max(axis=0) / 4
            alpha[row, 0] = mask[row, 0] if gates.seed[row, 0] and mask is not None else decoded
            if gates.seed[row, 0] or gates.settle[row, 0]:
                self.bank[row] = 0.0
                self.bank[row, 0] = alpha[row, 0]
            elif gates.write[row].any():
                self.bank[row, gates.write[row].argmax()] = alpha[row, 0]
            self.last[row] = alpha[row]
        return alpha
