"""PyTorch on an NVIDIA GPU: the modules of a checkpoint, in channels-last layout, captured into CUDA graphs.

The backend of GPUs that no TensorRT serves. Modules compute in the precision they were made in: which variant of a
network runs is decided where the checkpoint is opened.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from rtmatte.contract import Contract
from rtmatte.cuda import Bytes, Memory
from rtmatte.errors import BackendMissing, EngineError
from rtmatte.plan.api import PlanTensor
from rtmatte.resident import ResidentEngine, whole

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise BackendMissing(f"PyTorch is not installed ({error}); pip install 'rtmatte[export]'") from error


class TorchDevice:
    """The Device of PyTorch's current GPU, or of its CPU, where nothing waits and nothing can be captured."""

    def __init__(self, kind: str = "cuda") -> None:
        self._device = torch.device(kind)
        self._gpu = self._device.type == "cuda"
        self.captures = self._gpu  # whether work is captured at all
        cuda: Any = torch.cuda  # not annotated throughout
        self._work = cuda.Stream() if self._gpu else None
        self._event = cuda.Event() if self._gpu else None
        self._pool = torch.cuda.graph_pool_handle() if self._gpu else None  # graphs never run at the same time
        self._blocks: dict[int, Tensor] = {}
        self.stream = int(self._work.cuda_stream) if self._work else 0

    def allocate(self, nbytes: int) -> Memory:
        """Returns new device memory, all zero."""
        with self.working():
            block = torch.zeros(nbytes, dtype=torch.uint8, device=self._device)
        memory = Memory(block.data_ptr(), nbytes)
        self._blocks[memory.address] = block
        weakref.finalize(memory, self._blocks.pop, memory.address, None).atexit = False
        return memory

    def pinned(self, nbytes: int) -> Bytes:
        """Returns new page-locked host memory."""
        array: Bytes = torch.zeros(nbytes, dtype=torch.uint8, pin_memory=self._gpu).numpy()
        return array

    def tensor(self, address: int, spec: PlanTensor) -> Tensor:
        """Returns the tensor that lies at `address` of a block."""
        start = max(begin for begin in self._blocks if begin <= address)
        content = self._blocks[start][address - start : address - start + spec.nbytes]
        return content.view(getattr(torch, spec.dtype)).view(spec.shape)

    def upload(self, source: Bytes, address: int) -> None:
        """Copies pinned memory to the device."""
        with self.working():
            self._bytes(address, source.nbytes).copy_(torch.from_numpy(source), non_blocking=True)

    def download(self, address: int, target: Bytes) -> None:
        """Copies from the device to pinned memory."""
        with self.working():
            torch.from_numpy(target).copy_(self._bytes(address, target.nbytes), non_blocking=True)

    def mark(self) -> None:
        """Marks this point of the stream."""
        if self._event:
            self._event.record(self._work)

    def wait(self) -> None:
        """Returns when all work before the last mark is done."""
        if self._event:
            with _failures_as_ours():
                self._event.synchronize()

    def capture(self, work: Callable[[], None]) -> Any | None:
        """Returns a graph of what `work` puts on the stream; None where some of it cannot be captured."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._work, capture_error_mode="thread_local"):
                work()
        except (RuntimeError, EngineError):
            return None
        return graph

    def launch(self, graph: Any) -> None:
        """Puts a captured graph on the stream."""
        with self.working(), _failures_as_ours():
            graph.replay()

    def moved(self, module: nn.Module) -> nn.Module:
        """Returns the module on this device, for inference, its weights in the layout that convolutions like best."""
        frozen = module.eval().requires_grad_(False).to(self._device)
        return frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def working(self) -> AbstractContextManager[Any]:
        """Returns the context in which PyTorch's work goes on this stream."""
        return torch.cuda.stream(self._work) if self._work else nullcontext()

    def close(self) -> None:
        """Waits for the stream."""
        if self._work:
            self._work.synchronize()

    def _bytes(self, address: int, nbytes: int) -> Tensor:
        return self.tensor(address, PlanTensor("", (nbytes,), "uint8", taken=True))


class TorchPlan:
    """A module behind the Plan protocol: it takes the inputs, then the states of `contract`, and gives its results."""

    def __init__(self, module: nn.Module, contract: Contract, device: TorchDevice) -> None:
        self._module = module
        self._device = device
        self._taken = [spec.name for spec in (*contract.inputs, *contract.states)]
        self._given = [spec.name for spec in contract.results]
        self._bound: dict[str, Tensor] = {}
        taken = [PlanTensor(spec.name, spec.shape, spec.dtype, True) for spec in (*contract.inputs, *contract.states)]
        given = [PlanTensor(spec.name, spec.shape, spec.dtype, False) for spec in contract.results]
        self.tensors = {tensor.name: tensor for tensor in (*taken, *given)}

    def bind(self, name: str, address: int) -> None:
        """Makes the module read or write the tensor `name` at `address` from the next run on."""
        self._bound[name] = self._device.tensor(address, self.tensors[name])

    def enqueue(self, stream: int) -> None:
        """Puts one run on the device's stream; EngineError when PyTorch refuses."""
        with self._device.working(), torch.inference_mode(), _failures_as_ours():
            results = self._module(*(self._bound[name] for name in self._taken))
            for name, result in zip(self._given, results, strict=True):
                self._bound[name].copy_(result)

    def capturable(self, stream: int) -> bool:
        """Whether a run may be captured: on a GPU, always; what cannot be shows when it is tried."""
        return self._device.captures

    def close(self) -> None:
        """Nothing to keep."""


def check_gpu() -> None:
    """Raises BackendMissing unless PyTorch has a GPU to use."""
    if not torch.cuda.is_available():
        raise BackendMissing("PyTorch finds no NVIDIA GPU that it can use; see nvidia-smi, or run on the CPU")


def open_eager_cuda(parts: Sequence[tuple[nn.Module, Contract]]) -> ResidentEngine:
    """Returns the engine of a step, or of a head and its tail, on PyTorch's current GPU."""
    device = TorchDevice()
    backend = f"torch on {torch.cuda.get_device_name()}"
    return resident(parts, device, backend=backend)


def resident(parts: Sequence[tuple[nn.Module, Contract]], device: TorchDevice, *, backend: str) -> ResidentEngine:
    """Returns the engine of modules that are moved to `device`."""
    plans = [TorchPlan(device.moved(module), contract, device) for module, contract in parts]
    return ResidentEngine(whole(parts[0][1]), plans, device, backend=backend)


@contextmanager
def _failures_as_ours() -> Iterator[None]:
    """While inside, PyTorch's errors become ours."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise EngineError(f"PyTorch says: {reason}") from error
