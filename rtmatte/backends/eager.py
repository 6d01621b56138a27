"""PyTorch, op by op, on the CPU: the reference the other backends are compared with. Not for live use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtmatte.contract import Contract, Gates
from rtmatte.errors import BackendMissing, EngineError, first_line
from rtmatte.step import Array, Inputs, State

try:
    import torch
except ImportError as error:
    raise BackendMissing(f"PyTorch is not installed ({error}); pip install 'rtmatte[export]'") from error


class EagerEngine:
    """A network's `step` module behind the Engine protocol.

    `module` takes the inputs and then the states of `contract`, in its order, and returns the alpha and the next
    states. `threads` is PyTorch's setting for the whole process.
    """

    backend = "torch cpu"

    def __init__(self, module: torch.nn.Module, contract: Contract, *, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.contract = contract
        self._module: torch.nn.Module | None = module.eval()
        self._inputs = Inputs(contract)
        self._tensors = [torch.from_numpy(array) for array in self._inputs.arrays.values()]

    def new_state(self) -> State:
        """Returns a zero state of `contract.state_bytes`."""
        return State(self, tuple(torch.from_numpy(spec.zeros()) for spec in self.contract.states))

    def opened(self, state: State) -> tuple[dict[str, Array], State]:
        """Returns what `state` holds, by name, and the state to go on with: looking uses the old one up."""
        tensors = state.take(self)
        names = (spec.name for spec in self.contract.states)
        return {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}, State(self, tensors)

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        """Runs one call, as the Engine protocol says; the alpha is a new array each time."""
        if self._module is None:
            raise EngineError("the engine is closed; open it again")
        self._inputs.fill(frame, mask, gates)
        try:
            with torch.inference_mode():
                alpha, *states = self._module(*self._tensors, *state.take(self))
        except RuntimeError as error:
            raise EngineError(
                f"{self.backend} failed in a step ({first_line(error)}); start the stream over"
            ) from error
        return alpha.contiguous().numpy(), State(self, tuple(states))

    def close(self) -> None:
        """Frees the network."""
        self._module = None
