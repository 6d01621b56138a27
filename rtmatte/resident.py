"""An engine whose state is resident on a device: what TensorRT plans and captured PyTorch modules have in common.

Per stream there are two sets of state that are swapped, and the work of each direction is captured into graphs once it
has run plainly. Per frame one block goes up (frame and gates; the mask only with a seed), and one alpha comes down, for
whoever judges it; who draws on the device may have both lent. Of a head and its tail, the head's alpha is waited for
and the tail is not: the state is updated while the caller draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtmatte.contract import ALPHA, FRAME, MASK, WRITE, Contract, Gates, TensorSpec, after
from rtmatte.cuda import Bytes, Device, Memory
from rtmatte.errors import ContractError, EngineError
from rtmatte.frame import OnDevice
from rtmatte.lending import Lending
from rtmatte.plan.api import PlanTensor
from rtmatte.step import Array, Inputs, State

ALIGNMENT = 256  # bytes; what TensorRT asks of every address


class Plan(Protocol):
    """A loaded plan: its tensors, their addresses, and a run of it. `plan.api.LoadedPlan` is one."""

    @property
    def tensors(self) -> Mapping[str, PlanTensor]:
        """Every tensor it takes or gives, by name."""
        ...

    def bind(self, name: str, address: int) -> None:
        """Makes the plan use `address` for the tensor `name` from the next run on."""
        ...

    def enqueue(self, stream: int) -> None:
        """Puts one run on the stream; EngineError when it cannot."""
        ...

    def capturable(self, stream: int) -> bool:
        """Whether a run may be captured into a graph."""
        ...

    def close(self) -> None:
        """Keeps what is worth keeping for the next time; it is not run again."""
        ...


class _Layout:
    """Where tensors lie in one block: aligned, one after the other, in the order they are given."""

    def __init__(self, sizes: Iterable[tuple[str, int]]) -> None:
        self.offsets: dict[str, int] = {}
        self.nbytes = 0
        for name, nbytes in sizes:
            self.offsets[name] = self.nbytes
            self.nbytes += -(-nbytes // ALIGNMENT) * ALIGNMENT

    def at(self, address: int) -> dict[str, int]:
        """Returns each tensor's address in a block that begins at `address`."""
        return {name: address + offset for name, offset in self.offsets.items()}


@dataclass(slots=True)
class _Turn:
    """One direction of a stream: from one set of states to the other.

    `addresses` holds each plan's tensors; `graphs` one captured graph a plan, once they are captured; `ran` whether
    the plans have run in this direction, which TensorRT wants before a capture.
    """

    addresses: tuple[dict[str, int], ...]
    alpha: Array
    alpha_bytes: Bytes
    graphs: tuple[Any, ...] = ()
    ran: bool = False


@dataclass(slots=True)
class _Stream:
    """A stream's device memory and its two turns; `now` is the one of the next step."""

    memory: Memory
    turns: tuple[_Turn, _Turn]
    now: int = 0


class ResidentEngine:
    """Plans behind the Engine protocol; any number of streams, one caller at a time."""

    def __init__(self, contract: Contract, plans: Sequence[Plan], device: Device, *, backend: str) -> None:
        """`contract` is the whole step's; `plans` run in turn, and what one gives that the step does not know, a later
        one takes. ContractError when their tensors do not fit it."""
        self.contract = contract
        self.backend = backend
        links = check_plans(contract, plans)
        self._plans: tuple[Plan, ...] = tuple(plans)
        self._device = device
        self._capturable = all(plan.capturable(device.stream) for plan in plans)
        # The mask lies last: frame and gates go up in one copy, it only when a row is seeded.
        ordered = sorted(contract.inputs, key=lambda spec: spec.name == MASK)
        self._layout = _Layout((spec.name, spec.nbytes) for spec in ordered)
        self._pinned = device.pinned(self._layout.nbytes)
        self._inputs = Inputs(contract, lambda spec: self._view(spec.name, spec.shape, spec.dtype))
        self._every_frame = self._layout.offsets.get(MASK, self._layout.nbytes)
        alpha = contract.output(ALPHA)
        shared = _Layout((*self._layout_sizes(), (ALPHA, alpha.nbytes), *((t.name, t.nbytes) for t in links)))
        self._shared = device.allocate(shared.nbytes)
        self._shared_at = shared.at(self._shared.address)
        self._lending: Lending | None = None
        self._states = _Layout((spec.name, spec.nbytes) for spec in contract.states)

    def new_state(self) -> State:
        """Returns a zero state: `2 * contract.state_bytes` on the device, and two alphas in pinned memory."""
        return State(self, self._new_stream())

    def state_of(self, values: Mapping[str, Array]) -> State:
        """Returns a state that holds copies of `values`, by state name, rounded to the contract's dtypes."""
        stream = self._new_stream()
        block = self._device.pinned(max(ALIGNMENT, self._states.nbytes))
        for spec in self.contract.states:
            start = self._states.offsets[spec.name]
            np.copyto(block[start : start + spec.nbytes].view(spec.dtype).reshape(spec.shape), values[spec.name])
        self._device.upload(block, stream.memory.address)
        self._device.mark()
        self._device.wait()  # or the block would go while it is read
        return State(self, stream)

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        """Runs one call, as the Engine protocol says."""
        self._check_open()
        self._inputs.fill(frame, mask, gates)
        stream: _Stream = state.take(self)
        turn = stream.turns[stream.now]
        try:
            self._upload(seeded=mask is not None and MASK in self._layout.offsets)
            self._run(turn)
            self._device.wait()
        except EngineError as error:
            raise EngineError(f"{self.backend} failed in a step ({error}); start the stream over") from error
        stream.now = 1 - stream.now
        return turn.alpha, State(self, stream)

    def lent(self) -> OnDevice | None:
        """Returns the last step's frame and alpha on the device, as the Lender protocol says."""
        self._check_open()
        if self._lending is not None:
            return self._lending.lend()
        if Lending.fits(self.contract):
            self._lending = Lending(self.contract, self._device)
        return None

    def close(self) -> None:
        """Frees the plans and the stream of work; a state's memory goes with the state."""
        if self._plans:
            self._device.close()
            for plan in self._plans:
                plan.close()
            self._plans = ()

    def _new_stream(self) -> _Stream:
        self._check_open()
        memory = self._device.allocate(2 * max(ALIGNMENT, self._states.nbytes))
        first = self._states.at(memory.address)
        second = self._states.at(memory.address + memory.nbytes // 2)
        return _Stream(memory, (self._turn(first, second), self._turn(second, first)))

    def _upload(self, *, seeded: bool) -> None:
        end = self._layout.nbytes if seeded else self._every_frame
        self._device.upload(self._pinned[:end], self._shared.address)

    def _run(self, turn: _Turn) -> None:
        """Puts every plan's work on the stream, and the mark behind the first one's, which gives the alpha."""
        if turn.ran and self._capturable and not turn.graphs:
            self._capture(turn)
        for index in range(len(self._plans)):
            if turn.graphs:
                self._device.launch(turn.graphs[index])
            else:
                self._enqueue(turn, index)
            if index == 0:
                if self._lending is not None:
                    self._lending.keep(self._shared_at[FRAME], self._shared_at[ALPHA])
                self._device.mark()
        turn.ran = True

    def _enqueue(self, turn: _Turn, index: int) -> None:
        plan = self._plans[index]
        for name, address in turn.addresses[index].items():
            plan.bind(name, address)
        plan.enqueue(self._device.stream)
        if index == 0:
            self._device.download(self._shared_at[ALPHA], turn.alpha_bytes)

    def _capture(self, turn: _Turn) -> None:
        graphs = []
        for index in range(len(self._plans)):
            graph = self._device.capture(partial(self._enqueue, turn, index))
            if graph is None:
                self._capturable = False  # and it will not be tried again
                return
            graphs.append(graph)
        turn.graphs = tuple(graphs)

    def _turn(self, present: dict[str, int], future: dict[str, int]) -> _Turn:
        known = self._shared_at | present | {after(name): address for name, address in future.items()}
        addresses = tuple({name: known[name] for name in plan.tensors} for plan in self._plans)
        alpha = self.contract.output(ALPHA)
        content = self._device.pinned(alpha.nbytes)
        return _Turn(addresses, content.view(alpha.dtype).reshape(alpha.shape), content)

    def _layout_sizes(self) -> list[tuple[str, int]]:
        """Returns the inputs' sizes in the order of their block, so that the device has the same block."""
        return [(name, self.contract.input(name).nbytes) for name in self._layout.offsets]

    def _view(self, name: str, shape: tuple[int, ...], dtype: str) -> Array:
        start = self._layout.offsets[name]
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self._pinned[start : start + nbytes].view(dtype).reshape(shape)

    def _check_open(self) -> None:
        if not self._plans:
            raise EngineError("the engine is closed; open it again")


def check_plans(contract: Contract, plans: Sequence[Plan]) -> tuple[PlanTensor, ...]:
    """Returns the links between the plans: what one gives and a later one takes, and the step does not know.

    ContractError unless each tensor has the contract's shape and dtype, nothing is taken that nobody gives, and the
    alpha comes from the first plan.
    """
    taken = {spec.name: spec for spec in (*contract.inputs, *contract.states)}
    given = {after(spec.name): spec for spec in contract.states} | {ALPHA: contract.output(ALPHA)}
    links: dict[str, PlanTensor] = {}
    missing = set(given)
    for plan in plans:
        for tensor in plan.tensors.values():
            expected = (taken if tensor.taken else given).get(tensor.name) or links.get(tensor.name)
            if expected is None and tensor.taken:
                raise ContractError(f"the plan takes {tensor.name}, which its contract does not name; build it again")
            if expected is None:
                links[tensor.name] = tensor
            elif (tensor.shape, tensor.dtype) != (expected.shape, expected.dtype):
                raise ContractError(
                    f"the plan: expected {tensor.name} {list(expected.shape)} {expected.dtype}, "
                    f"found {list(tensor.shape)} {tensor.dtype}; build it again"
                )
        missing -= {tensor.name for tensor in plan.tensors.values() if not tensor.taken}
        if ALPHA in missing:
            break
    if missing:
        raise ContractError(f"the plan gives no {', '.join(sorted(missing))}; build it again")
    return tuple(links.values())


def whole(contract: Contract) -> Contract:
    """Returns the contract of the step that a head begins and its tail ends; a step's own is that already."""
    if contract.role == "step":
        return contract
    if contract.role != "head":
        raise ContractError("a tail cannot run alone; give its head, and keep both in one folder")
    write = TensorSpec(WRITE, (contract.batch, contract.slots))
    inputs = contract.inputs if contract.takes(WRITE) or not contract.slots else (*contract.inputs, write)
    return replace(contract, role="step", inputs=inputs, outputs=(contract.output(ALPHA),))
