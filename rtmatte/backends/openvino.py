"""OpenVINO on the CPU: a network of one part or two, and per stream a request of each and two sets of states to swap.

A request reads and writes our own memory, so a step copies its inputs in, runs, and swaps; nothing is allocated.
OpenVINO's reader believes what it reads: a node without the inputs it must have ends the process (2026.4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rtmatte.backends import default_threads
from rtmatte.contract import ALPHA, Contract, Gates, after
from rtmatte.errors import BackendMissing, EngineError, ModelError
from rtmatte.graph import alpha_of, check_graph, read_step_contract
from rtmatte.step import Array, Inputs, State

try:
    import openvino
except ImportError as error:
    raise BackendMissing(f"OpenVINO is not installed ({error}); pip install 'rtmatte[openvino]'") from error

Precision = Literal["f32", "bf16"]

_DTYPES = {"f32": "float32", "f16": "float16", "u8": "uint8"}
_PRODUCTS = frozenset({"Convolution", "GroupConvolution", "MatMul"})
_COMPARISONS = frozenset({"Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual"})


@dataclass(frozen=True, slots=True)
class _Part:
    """A compiled network that is all of a step or, run in turn with another, a part of it."""

    network: Any
    names: frozenset[str]  # of the tensors that it takes and gives

    def bind(self, request: Any, tensors: Mapping[str, Any]) -> None:
        """Sets those of `tensors` that are this part's."""
        for name in self.names & tensors.keys():
            request.set_tensor(name, tensors[name])


@dataclass(slots=True)
class _Stream:
    """One stream's requests, one a part, and what they are bound to, by parity; `now` is the parity of the next step.

    Binding 0 reads the first set of states and writes the second, binding 1 the other way round.
    """

    requests: tuple[Any, ...]
    bindings: tuple[Mapping[str, Any], Mapping[str, Any]]
    alphas: tuple[Array, Array]
    now: int = 0


class OpenVinoEngine:
    """A `step` graph in OpenVINO on the CPU; any number of streams, one caller at a time.

    `precision` is what a float32 graph is computed in: as it says, or in bfloat16, which needs a processor that has it
    and moves alphas by thousandths. Where a network compares what it has computed, bfloat16 begins after that, unless
    the file holds convolutions in int8; those run in int8 with either.
    """

    def __init__(self, path: Path, *, precision: Precision = "f32", threads: int | None = None) -> None:
        """Loads `path`; ContractError or ModelError for a file that cannot be used."""
        self.contract = read_step_contract(path)
        self.backend = f"openvino cpu {precision}"
        self._parts = _compile(path, self.contract, precision, threads or default_threads())
        self._inputs = Inputs(self.contract)
        self._tensors = {name: _shared(array) for name, array in self._inputs.arrays.items()}
        self._tensors |= _handed_on(self._parts, self.contract)

    def new_state(self) -> State:
        """Returns a zero state: a request, and two sets of states of `2 * contract.state_bytes` in all."""
        return State(self, self._new_stream())

    def state_of(self, values: Mapping[str, Array]) -> State:
        """Returns a state that holds copies of `values`, by state name, rounded to the contract's dtypes."""
        stream = self._new_stream()
        for spec in self.contract.states:
            np.copyto(stream.bindings[0][spec.name].data, values[spec.name], casting="same_kind")
        return State(self, stream)

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        """Runs one call, as the Engine protocol says."""
        if not self._parts:
            raise EngineError("the engine is closed; open it again")
        self._inputs.fill(frame, mask, gates)
        stream: _Stream = state.take(self)
        try:
            for part, request in zip(self._parts, stream.requests, strict=True):
                part.bind(request, stream.bindings[stream.now])
                request.start_async()  # unlike `infer` it makes no copies of the outputs
                request.wait()
        except RuntimeError as error:
            raise EngineError(f"{self.backend} failed in a step ({_line(error)}); start the stream over") from error
        alpha = stream.alphas[stream.now]
        stream.now = 1 - stream.now
        return alpha, State(self, stream)

    def close(self) -> None:
        """Frees the network; the memory goes when the last state does."""
        self._parts = ()

    def _new_stream(self) -> _Stream:
        if not self._parts:
            raise EngineError("the engine is closed; open it again")
        requests = tuple(part.network.create_infer_request() for part in self._parts)
        for part, request in zip(self._parts, requests, strict=True):
            part.bind(request, self._tensors)
        alpha = alpha_of(self.contract)
        alphas = (alpha.zeros(), alpha.zeros())
        first, second = self._state_set(), self._state_set()
        bindings = (_binding(first, second, alphas[0]), _binding(second, first, alphas[1]))
        return _Stream(requests, bindings, alphas)

    def _state_set(self) -> dict[str, Any]:
        return {spec.name: _shared(spec.zeros()) for spec in self.contract.states}


def _binding(present: Mapping[str, Any], future: Mapping[str, Any], alpha: Array) -> dict[str, Any]:
    return {**present, **{after(name): tensor for name, tensor in future.items()}, ALPHA: _shared(alpha)}


def _shared(array: Array) -> Any:
    """Returns a tensor that is the very memory of `array`, and keeps it alive."""
    return openvino.Tensor(array, shared_memory=True)


def _handed_on(parts: tuple[_Part, ...], contract: Contract) -> dict[str, Any]:
    """Returns a tensor for each that one part leaves to the next and that is no state's or alpha's."""
    given = {spec.name for spec in contract.outputs} | {after(spec.name) for spec in contract.states}
    ports = [port for part in parts[:-1] for port in part.network.outputs if not port.names & given]
    return {port.any_name: openvino.Tensor(port.element_type, port.shape) for port in ports}


def _compile(path: Path, contract: Contract, precision: Precision, threads: int) -> tuple[_Part, ...]:
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # decoding and compositing want cores too
    }

    def compiled(graph: Any, precision: Precision) -> _Part:
        # The hint, left alone, is bfloat16 wherever the processor has it.
        network = core.compile_model(graph, "CPU", options | {"INFERENCE_PRECISION_HINT": precision})
        return _Part(network, frozenset(name for port in (*network.inputs, *network.outputs) for name in port.names))

    try:
        core = openvino.Core()
        graph = core.read_model(path)
        check_graph(path, contract, _tensors(graph.inputs), _tensors(graph.outputs))
        deciding = _deciding(graph) if precision == "bf16" else set()
        if not deciding:
            return (compiled(graph, precision),)
        first, second = _split(graph, deciding)
        return compiled(first, "f32"), compiled(second, precision)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot load {path} ({_line(error)}); export it again") from error


def _deciding(graph: Any) -> set[str]:
    """Returns the names of comparisons of what products have made, of attention, and of all that these depend on.

    A value that bfloat16 puts on the other side of a threshold is no rounding error: in MatAnyone a token then turns
    from foreground to background, which moves the whole alpha, through the attention that it is hidden from.
    Empty for a graph that compares nothing but its inputs, and for one in int8: two parts of that took 222 ms a step
    where all of it in float32 took 212 (MatAnyone, 512x288, one thread of an AMD EPYC, at work), and were off by more.
    """
    if any(node.get_type_name() == "FakeQuantize" for node in graph.get_ops()):
        return set()
    weighed: set[str] = set()
    compared, attention = [], []
    for node in graph.get_ordered_ops():
        if node.get_type_name() in _PRODUCTS or any(source.get_name() in weighed for source in _sources(node)):
            weighed.add(node.get_name())
            if node.get_type_name() == "Softmax":
                attention.append(node)
            elif node.get_type_name() in _COMPARISONS:
                compared.append(node)
    found: set[str] = set()
    waiting = [*compared, *attention] if compared else []
    while waiting:
        node = waiting.pop()
        if node.get_name() not in found:
            found.add(node.get_name())
            waiting += _sources(node)
    return found


def _split(graph: Any, first: set[str]) -> tuple[Any, Any]:
    """Returns the nodes named `first`, and the others, as two graphs; what the others read of those is their input.

    What depends on no input, as weights do, is in both. A mark on a node, by which OpenVINO is to keep its precision,
    would spare the second graph, but is lost where a matrix product is rewritten (2026.4.1).
    """
    given = {result.get_name(): result for result in graph.get_results()}
    inputs = graph.get_parameters()
    reached = {node.get_name() for node in inputs}
    outputs: list[Any] = []
    read: list[Any] = []
    for node in graph.get_ordered_ops():
        if not any(source.get_name() in reached for source in _sources(node)):
            continue
        reached.add(node.get_name())
        for port in node.outputs() if node.get_name() in first else ():
            readers = _readers(port, first)
            own = [given.pop(name) for name, reader in readers if name in given]
            others = [reader for name, reader in readers if reader.get_node().get_type_name() != "Result"]
            outputs += own
            if others:
                read.append(_input_instead(port, others, f"handed on {len(read)}"))
                outputs += [] if own else [openvino.op.Result(port)]
    taken = [node for node in inputs if node.get_name() in first]
    left = [node for node in inputs if _readers(node.output(0), first)]
    return openvino.Model(outputs, taken), openvino.Model([*given.values()], [*left, *read])


def _input_instead(port: Any, readers: list[Any], name: str) -> Any:
    """Returns a new input that the readers of a port read in its place, under its names; `name` for one without."""
    if not port.names:
        port.set_names({name})
    node = openvino.op.Parameter(port.element_type, port.partial_shape)
    node.output(0).set_names(port.names)
    for reader in readers:
        reader.replace_source_output(node.output(0))
    return node


def _readers(port: Any, first: set[str]) -> list[tuple[str, Any]]:
    """Returns the inputs that read a port, with the names of their nodes, but for those of the nodes `first`."""
    readers = [(reader.get_node().get_name(), reader) for reader in port.get_target_inputs()]
    return [(name, reader) for name, reader in readers if name not in first]


def _sources(node: Any) -> list[Any]:
    return [port.get_source_output().get_node() for port in node.inputs()]


def _tensors(ports: Any) -> dict[str, str]:
    """Returns shape and dtype of each tensor as text; a tensor may have several names."""
    found: dict[str, str] = {}
    for port in ports:
        kind, shape = port.element_type.get_type_name(), port.partial_shape.to_string().replace(",", ", ")
        found |= dict.fromkeys(port.names, f"{shape} {_DTYPES.get(kind, kind)}")
    return found


def _line(error: Exception) -> str:
    """Returns the last line of an error's text: the ones before it say where in OpenVINO's source it arose."""
    return str(error).strip().rpartition("\n")[2] or type(error).__name__
