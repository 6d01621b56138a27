"""An Engine runs a model's `step`; a State is one stream's memory in it. Weights are shared, state is not.

`open_engine` is the one door: it checks the file and picks a backend. Which tensors there are is the contract's
business, what a frame means is the session's.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtmatte.contract import Contract, Gates
from rtmatte.state import State

__all__ = ["Array", "Engine", "State", "sha256_of"]

Array = NDArray[Any]


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


def sha256_of(path: Path) -> str:
    """Returns the hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
