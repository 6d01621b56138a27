"""One step of a model: the Engine that runs it, the State it consumes, and the input arrays it is given.

Weights are shared, state is per stream. Which tensors there are is the contract's business, what a frame means is
the session's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rtmatte.contract import FRAME, MASK, SEED, SETTLE, WRITE, Contract, Gates, TensorSpec
from rtmatte.errors import InputError, StateConsumed
from rtmatte.frame import OnDevice

Array = NDArray[Any]


class State:
    """The recurrent state of the rows of one engine. It is consumed by use: a step gives a new one back.

    `buffers` belongs to the engine that made it; nobody else looks inside.
    """

    __slots__ = ("_buffers", "_live", "owner")

    def __init__(self, owner: object, buffers: Any) -> None:
        self.owner = owner
        self._buffers = buffers
        self._live = True

    def take(self, owner: object) -> Any:
        """Returns the buffers and ends this state's life; StateConsumed when it was used before or is foreign."""
        if self.owner is not owner:
            raise StateConsumed("this state was made by another engine; use new_state() of the engine that steps")
        if not self._live:
            raise StateConsumed("this state was already used by a step; go on with the state that step returned")
        self._live = False
        return self._buffers


class Engine(Protocol):
    """A loaded model. One worker calls it; several streams may share it, each with a state of its own."""

    contract: Contract
    backend: str  # what really runs, as shown to users: "onnxruntime cpu"

    def new_state(self) -> State:
        """Returns a zero state for `contract.batch` rows, which must be seeded before its alphas mean anything."""
        ...

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        """Runs one call and returns (alpha [B,1,H,W], next state).

        `frame` is [B,H,W,3] in the contract's dtype, `mask` [B,1,H,W] float32 or None where no row is seeded.
        The alpha is a lease: it is overwritten by the second next step of the same stream.
        Raises EngineError when the backend fails; the state is gone, so go on with `new_state()` and a seed.
        """
        ...

    def close(self) -> None:
        """Frees the model; using the engine afterwards is an error."""
        ...


@runtime_checkable
class Lender(Protocol):
    """An engine whose frames and alphas lie on a device and may be drawn there."""

    def lent(self) -> OnDevice | None:
        """Returns the frame of the last step and its alpha, row 0 of each, as they lie on the device.

        None the first time, which is how the engine learns that somebody asks, and when so many are held that there is
        no room for another. For the caller of `step`, before its next call.
        """
        ...


def check_call(contract: Contract, frame: Array, mask: NDArray[np.float32] | None, gates: Gates) -> None:
    """Raises InputError unless the arrays of a step are exactly what the contract takes.

    NumPy would otherwise broadcast one row over a batch, or cut floats down to bytes, without a word.
    """
    _expect(FRAME, frame, contract.input(FRAME).shape, contract.input(FRAME).dtype)
    if contract.takes(WRITE):
        _expect(WRITE, gates.write, contract.input(WRITE).shape, "float32")
    if not contract.takes(MASK):
        return
    if mask is not None:
        _expect(MASK, mask, contract.input(MASK).shape, "float32")
    elif gates.seed.any():
        raise InputError("a row is to be seeded, so a mask was expected and none was found; give the mask to step()")


class Inputs:
    """The arrays a backend reads, one for every input of the contract, made once and filled before each step.

    `make` is where an input's memory comes from, for backends that want it of a certain kind.
    """

    def __init__(self, contract: Contract, make: Callable[[TensorSpec], Array] = TensorSpec.zeros) -> None:
        self.arrays: dict[str, Array] = {spec.name: make(spec) for spec in contract.inputs}
        self._contract = contract

    def fill(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates) -> None:
        """Copies a call's arrays in, as far as the model takes them; InputError as `check_call` says."""
        check_call(self._contract, frame, mask, gates)
        self._copy(FRAME, frame)
        if mask is not None:
            self._copy(MASK, mask)
        self._copy(SEED, gates.seed)
        self._copy(SETTLE, gates.settle)
        self._copy(WRITE, gates.write)

    def _copy(self, name: str, values: Array) -> None:
        if name in self.arrays:
            np.copyto(self.arrays[name], values)


def _expect(name: str, array: Array, shape: tuple[int, ...], dtype: str) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise InputError(
            f"expected {name} {list(shape)} {dtype}, found {list(array.shape)} {array.dtype}; "
            "give step() arrays in the shapes of the engine's contract"
        )
