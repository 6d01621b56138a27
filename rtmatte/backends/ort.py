"""ONNX Runtime on the CPU: one session of weights, and per stream two sets of buffers that are swapped.

Every tensor is bound once, so a step copies its inputs in, runs, and swaps; nothing is allocated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtmatte.backends import default_threads
from rtmatte.contract import ALPHA, Contract, Gates, after
from rtmatte.errors import BackendMissing, EngineError, ModelError, first_line
from rtmatte.graph import alpha_of, check_graph, read_step_contract
from rtmatte.step import Array, Inputs, State

try:
    import onnxruntime
except ImportError as error:
    raise BackendMissing(f"ONNX Runtime is not installed ({error}); pip install 'rtmatte[cpu]'") from error

# Between two operators a thread waits 0.5 ms awake before it sleeps, and never between two steps. lite at 512x288 on
# two idle cores, p50: 11.8 ms so, 14.4 asleep at once, 12.1 awake for ever; beside two busy processes 21.7, 22.4, 29.2.
_SPINNING = {
    "session.intra_op.allow_spinning": "1",
    "session.intra_op.spin_duration_us": "500",
    "session.force_spinning_stop": "1",
}

# Up to here one block for all of a step's tensors is planned in the first step and taken beside what that step used:
# faster, but twice the memory. MatAnyone at 1920x1080 takes 4.1 GB so.
_PLANNED_PIXELS = 1280 * 720

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


@dataclass(slots=True)
class _Stream:
    """One stream's bindings and alphas, one of each per parity; `now` is the parity of the next step.

    Binding 0 reads the first set of states and writes the second, binding 1 the other way round. The sets are held
    because ONNX Runtime leaves it to the caller to keep bound memory alive (1.32 keeps it too, unasked).
    """

    bindings: tuple[Any, Any]
    sets: tuple[Mapping[str, Any], Mapping[str, Any]]
    alphas: tuple[Array, Array]
    now: int = 0


class OrtEngine:
    """A `step` graph in ONNX Runtime; any number of streams, one caller at a time."""

    backend = "onnxruntime cpu"

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Loads `path`; ContractError or ModelError for a file that cannot be used."""
        self.contract = read_step_contract(path)
        self._session: Any = _open_session(path, _options(threads, self.contract))
        _check_tensors(path, self.contract, self._session)
        self._inputs = Inputs(self.contract)
        self._input_values = {name: _value(array) for name, array in self._inputs.arrays.items()}

    def new_state(self) -> State:
        """Returns a zero state: two sets of buffers and their bindings, of `2 * contract.state_bytes` in all."""
        return State(self, self._new_stream())

    def state_of(self, values: Mapping[str, Array]) -> State:
        """Returns a state that holds copies of `values`, by state name, rounded to the contract's dtypes."""
        stream = self._new_stream()
        for spec in self.contract.states:
            stream.sets[0][spec.name].update_inplace(np.ascontiguousarray(values[spec.name], spec.dtype))
        return State(self, stream)

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        """Runs one call, as the Engine protocol says."""
        if self._session is None:
            raise EngineError("the engine is closed; open it again")
        self._inputs.fill(frame, mask, gates)
        stream: _Stream = state.take(self)
        try:
            self._session.run_with_iobinding(stream.bindings[stream.now])
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise EngineError(
                f"{self.backend} failed in a step ({first_line(error)}); start the stream over"
            ) from error
        alpha = stream.alphas[stream.now]
        stream.now = 1 - stream.now
        return alpha, State(self, stream)

    def close(self) -> None:
        """Frees the session; the memory goes when the last state does."""
        self._session = None

    def _new_stream(self) -> _Stream:
        if self._session is None:
            raise EngineError("the engine is closed; open it again")
        alpha = alpha_of(self.contract)
        alphas = (alpha.zeros(), alpha.zeros())
        first, second = self._state_set(), self._state_set()
        bindings = (self._bind(first, second, alphas[0]), self._bind(second, first, alphas[1]))
        return _Stream(bindings, (first, second), alphas)

    def _state_set(self) -> dict[str, Any]:
        return {spec.name: _value(spec.zeros()) for spec in self.contract.states}

    def _bind(self, present: Mapping[str, Any], future: Mapping[str, Any], alpha: Array) -> Any:
        binding = self._session.io_binding()
        for name, value in (*self._input_values.items(), *present.items()):
            binding.bind_ortvalue_input(name, value)
        for name, value in future.items():
            binding.bind_ortvalue_output(after(name), value)
        binding.bind_ortvalue_output(ALPHA, _value(alpha))
        return binding


def _value(array: Array) -> Any:
    """Returns an OrtValue of the very same memory as `array`."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(array, "cpu", 0)


def _options(threads: int | None, contract: Contract) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads or default_threads()
    options.inter_op_num_threads = 1
    width, height = contract.size
    options.enable_mem_pattern = width * height <= _PLANNED_PIXELS
    for key, value in _SPINNING.items():
        options.add_session_config_entry(key, value)
    options.log_severity_level = 4  # its errors are raised as well, and one report is enough
    return options


def _open_session(path: Path, options: Any) -> Any:
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise ModelError(f"ONNX Runtime cannot load {path} ({first_line(error)}); export it again") from error


def _check_tensors(path: Path, contract: Contract, session: Any) -> None:
    taken, given = (
        {node.name: f"{node.shape} {_DTYPES.get(node.type, node.type)}" for node in nodes}
        for nodes in (session.get_inputs(), session.get_outputs())
    )
    check_graph(path, contract, taken, given)
