"""A head and its tail as one engine: what the cut after the alpha is checked with. Not for live use: it copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from rtmatte.contract import ALPHA, WRITE, Contract, Gates
from rtmatte.graph import alpha_of
from rtmatte.step import Array, Inputs, State

Run = Callable[[Mapping[str, Array]], Sequence[Array]]  # inputs and states by name in, results in the contract's order


def in_pytorch(module: nn.Module, contract: Contract) -> Run:
    """Returns a head or a tail, run op by op."""
    names = [spec.name for spec in (*contract.inputs, *contract.states)]

    def run(given: Mapping[str, Array]) -> list[Array]:
        with torch.inference_mode():
            return [result.numpy() for result in module(*(torch.from_numpy(given[name]) for name in names))]

    return run


def in_onnxruntime(path: Path, contract: Contract) -> Run:
    """Returns a head or a tail, run by ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    taken, given_back = [node.name for node in session.get_inputs()], [spec.name for spec in contract.results]

    def run(given: Mapping[str, Array]) -> list[Array]:
        results: list[Array] = session.run(given_back, {name: given[name] for name in taken})
        return results

    return run


class SplitEngine:
    """Two runs behind the Engine protocol; its contract is the whole step's."""

    backend = "head and tail"

    def __init__(self, head: Run, tail: Run, head_contract: Contract, tail_contract: Contract) -> None:
        alpha = alpha_of(head_contract)
        inputs = (*head_contract.inputs, *(spec for spec in tail_contract.inputs if spec.name == WRITE))
        self.contract = replace(head_contract, role="step", inputs=inputs, outputs=(alpha,))
        self._head, self._tail = head, tail
        self._results = [spec.name for spec in head_contract.results]
        self._inputs = Inputs(self.contract)

    def new_state(self) -> State:
        """Returns a zero state."""
        return State(self, {spec.name: spec.zeros() for spec in self.contract.states})

    def state_of(self, values: Mapping[str, Array]) -> State:
        """Returns a state that holds copies of `values`, by state name, rounded to the contract's dtypes."""
        return State(self, {spec.name: values[spec.name].astype(spec.dtype) for spec in self.contract.states})

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        """Runs the head, then the tail, as the Engine protocol says; the alpha is a new array each time."""
        self._inputs.fill(frame, mask, gates)
        given = self._inputs.arrays | state.take(self)
        given |= dict(zip(self._results, self._head(given), strict=True))
        following = dict(zip((spec.name for spec in self.contract.states), self._tail(given), strict=True))
        return given[ALPHA], State(self, following)

    def close(self) -> None:
        """Nothing to free."""
