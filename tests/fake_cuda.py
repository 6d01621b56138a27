"""A GPU that only records: memory is arrays, work waits on its stream until somebody waits for it, and a plan is the
toy step in NumPy. What is read too early is found, because it has not been computed yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtmatte.contract import ALPHA, FRAME, MASK, SEED, SETTLE, WRITE, Contract, TensorSpec, after
from rtmatte.cuda import Memory
from rtmatte.errors import EngineError
from rtmatte.plan.api import PlanTensor
from rtmatte.resident import ResidentEngine
from tests.toy_model import BANK, LAST

Bytes = NDArray[np.uint8]
Work = Callable[[], None]
POISON = 0xA5  # what fresh host memory holds, so that an alpha nobody downloaded is not mistaken for one

LINK = "alpha_link"  # what the toy's head hands to its tail


@dataclass
class FakeDevice:
    """A Device; `calls` is what was asked of it, in order, and `capture_fails` what it says to a capture."""

    capture_fails: bool = False
    stream: int = 7
    calls: list[str] = field(default_factory=list)
    blocks: dict[int, Bytes] = field(default_factory=dict)  # device memory by address, however long ago it was freed
    allocations: int = 0
    _queue: list[Work] = field(default_factory=list)
    _marked: int = 0
    _captured: list[Work] | None = None

    def allocate(self, nbytes: int) -> Memory:
        self.calls.append("allocate")
        self.allocations += 1
        address = (1 << 20) * (len(self.blocks) + 1)
        self.blocks[address] = np.zeros(nbytes, np.uint8)
        return Memory(address, nbytes)

    def pinned(self, nbytes: int) -> Bytes:
        self.allocations += 1
        return np.full(nbytes, POISON, np.uint8)

    def upload(self, source: Bytes, address: int) -> None:
        self.calls.append(f"upload {source.nbytes}")
        self.put(lambda: np.copyto(self.at(address, source.nbytes), source))

    def download(self, address: int, target: Bytes) -> None:
        self.calls.append("download")
        self.put(lambda: np.copyto(target, self.at(address, target.nbytes)))

    def copy(self, source: int, target: int, nbytes: int) -> None:
        self.calls.append(f"copy {nbytes}")
        self.put(lambda: np.copyto(self.at(target, nbytes), self.at(source, nbytes)))

    def mark(self) -> None:
        self.calls.append("mark")
        self._marked = len(self._queue)

    def wait(self) -> None:
        self.calls.append("wait")
        self._do(self._marked)
        self._marked = 0

    def capture(self, work: Work) -> list[Work] | None:
        self.calls.append("capture")
        self._captured = []
        work()
        graph, self._captured = self._captured, None
        return None if self.capture_fails else graph

    def launch(self, graph: Any) -> None:
        self.calls.append("launch")
        self._queue.extend(graph)

    def close(self) -> None:
        self.calls.append("close")
        self._do(len(self._queue))

    def put(self, work: Work) -> None:
        """Puts work on the stream, or into the graph that is being captured."""
        (self._queue if self._captured is None else self._captured).append(work)

    def at(self, address: int, nbytes: int) -> Bytes:
        """Returns the device memory at `address`; it has to lie inside one block."""
        start = max(begin for begin in self.blocks if begin <= address)
        block = self.blocks[start][address - start : address - start + nbytes]
        assert block.nbytes == nbytes, "an address beyond its block"
        return block

    def _do(self, count: int) -> None:
        for work in self._queue[:count]:
            work()
        del self._queue[:count]


class FakePlan:
    """A Plan of the toy: the whole step, its head or its tail. `bound` is what was bound, in order."""

    def __init__(self, contract: Contract, device: FakeDevice, *, role: str = "step", capturable: bool = True) -> None:
        self.tensors = {tensor.name: tensor for tensor in _tensors(contract, role)}
        self.bound: list[tuple[str, int]] = []
        self.fail_at: int | None = None
        self._device = device
        self._role = role
        self._capturable = capturable
        self._addresses: dict[str, int] = {}
        self._runs = 0
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def bind(self, name: str, address: int) -> None:
        assert address % 256 == 0, "TensorRT asks for aligned addresses"
        self.bound.append((name, address))
        self._addresses[name] = address

    def enqueue(self, stream: int) -> None:
        assert stream == self._device.stream
        assert set(self._addresses) == set(self.tensors), "every tensor has an address before the first run"
        self._device.calls.append(f"enqueue {self._role}")
        self._runs += 1
        if self._runs == self.fail_at:
            raise EngineError("told to fail")
        addresses = dict(self._addresses)
        self._device.put(lambda: self._compute(addresses))

    def capturable(self, stream: int) -> bool:
        return self._capturable

    def _compute(self, addresses: dict[str, int]) -> None:
        value = {name: self._array(tensor, addresses[name]) for name, tensor in self.tensors.items()}
        taken = {name: array.copy() for name, array in value.items() if self.tensors[name].taken}
        for name in value:  # an input that is also written would be an aliased buffer
            if not self.tensors[name].taken:
                assert addresses[name] not in {addresses[other] for other in taken}, f"{name} is written over an input"
        results = _toy(taken, self._role)
        for name, array in value.items():
            if not self.tensors[name].taken:
                np.copyto(array, results[name])

    def _array(self, tensor: PlanTensor, address: int) -> NDArray[Any]:
        return self._device.at(address, tensor.nbytes).view(tensor.dtype).reshape(tensor.shape)


def engine_of(contract: Contract, device: FakeDevice, *roles: str, capturable: bool = True) -> ResidentEngine:
    """Returns an engine of the toy: of its whole step, or of the plans of those roles."""
    plans = [FakePlan(contract, device, role=role, capturable=capturable) for role in roles or ("step",)]
    return ResidentEngine(contract, plans, device, backend="recording")


def _tensors(contract: Contract, role: str) -> Iterable[PlanTensor]:
    plane = contract.input(MASK).shape
    names = {
        "step": ([FRAME, MASK, SEED, SETTLE, WRITE, BANK, LAST], [ALPHA, after(BANK), after(LAST)]),
        "head": ([FRAME, MASK, SEED, BANK, LAST], [ALPHA, LINK]),
        "tail": ([SEED, SETTLE, WRITE, LINK, BANK], [after(BANK), after(LAST)]),
    }
    specs = {spec.name: spec for spec in (*contract.inputs, *contract.states, *contract.outputs)}
    specs |= {after(spec.name): spec for spec in contract.states} | {LINK: TensorSpec(LINK, plane)}
    for side, taken in zip(names[role], (True, False), strict=True):
        for name in side:
            yield PlanTensor(name, specs[name].shape, specs[name].dtype, taken)


def _toy(value: dict[str, NDArray[Any]], role: str) -> dict[str, NDArray[Any]]:
    """Returns what `tests.toy_model` describes, for all rows at once."""
    seeding = value[SEED][:, :, None, None] > 0.5
    bank = np.where(seeding, 0, value[BANK])
    if role == "tail":
        alpha = value[LINK]
    else:
        light = value[FRAME].mean(axis=3)[:, None] / 255
        last = np.where(seeding, 0, value[LAST])
        alpha = np.where(seeding, value[MASK], last / 2 + light / 4 + bank.max(axis=1, keepdims=True) / 4)
    if role == "head":
        return {ALPHA: alpha, LINK: alpha}
    starting = seeding | (value[SETTLE][:, :, None, None] > 0.5)
    first = np.zeros_like(bank)
    first[:, :1] = alpha
    kept = np.where(value[WRITE][:, :, None, None] > 0.5, alpha, bank)
    return {ALPHA: alpha, after(BANK): np.where(starting, first, kept), after(LAST): alpha}
