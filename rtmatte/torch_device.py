"""A GPU as PyTorch has it: memory, one stream of work, and captured graphs, for whatever computes with PyTorch.

Its memory lies in the same space as everybody's on that GPU, so an address may be handed to it and taken from it.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from rtmatte.cuda import CAPTURING, Bytes, Memory
from rtmatte.errors import BackendMissing, EngineError, first_line

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise BackendMissing(f"PyTorch is not installed ({error}); pip install 'rtmatte[export]'") from error


class TorchDevice:
    """The Device of PyTorch's current GPU, or of its CPU, where nothing waits and nothing can be captured."""

    def __init__(self, kind: str = "cuda") -> None:
        self.torch = torch.device(kind)
        self._gpu = self.torch.type == "cuda"
        self.captures = self._gpu  # whether work is captured at all
        cuda: Any = torch.cuda  # not annotated throughout
        self._work = cuda.Stream() if self._gpu else None
        self._event = cuda.Event() if self._gpu else None
        self._pool = torch.cuda.graph_pool_handle() if self._gpu else None  # graphs never run at the same time
        self._blocks: dict[int, Tensor] = {}
        self.stream = int(self._work.cuda_stream) if self._work else 0

    @property
    def name(self) -> str:
        """What it is."""
        return str(torch.cuda.get_device_name(self.torch)) if self._gpu else "CPU"

    def allocate(self, nbytes: int) -> Memory:
        """Returns new device memory, all zero."""
        with self.working(), failures_as_ours():
            block = torch.zeros(nbytes, dtype=torch.uint8, device=self.torch)
        memory = Memory(block.data_ptr(), nbytes)
        self._blocks[memory.address] = block
        weakref.finalize(memory, self._blocks.pop, memory.address, None).atexit = False
        return memory

    def pinned(self, nbytes: int) -> Bytes:
        """Returns new page-locked host memory."""
        with failures_as_ours():
            array: Bytes = torch.zeros(nbytes, dtype=torch.uint8, pin_memory=self._gpu).numpy()
        return array

    def tensor(self, address: int, shape: tuple[int, ...], dtype: str) -> Tensor:
        """Returns the tensor that lies at `address` of a block."""
        start = max(begin for begin in self._blocks if begin <= address)
        kind: torch.dtype = getattr(torch, dtype)
        nbytes = kind.itemsize * math.prod(shape)
        return self._blocks[start][address - start : address - start + nbytes].view(kind).view(shape)

    def upload(self, source: Bytes, address: int) -> None:
        """Copies pinned memory to the device."""
        with self.working(), failures_as_ours():
            self._bytes(address, source.nbytes).copy_(torch.from_numpy(source), non_blocking=True)

    def download(self, address: int, target: Bytes) -> None:
        """Copies from the device to pinned memory."""
        with self.working(), failures_as_ours():
            torch.from_numpy(target).copy_(self._bytes(address, target.nbytes), non_blocking=True)

    def copy(self, source: int, target: int, nbytes: int) -> None:
        """Copies between two places on the device; `source` may be anybody's memory, `target` lies in a block."""
        with self.working(), failures_as_ours():
            self._bytes(target, nbytes).copy_(self._foreign(source, nbytes), non_blocking=True)

    def mark(self) -> None:
        """Marks this point of the stream."""
        if self._event:
            self._event.record(self._work)

    def wait(self) -> None:
        """Returns when all work before the last mark is done."""
        if self._event:
            with failures_as_ours():
                self._event.synchronize()

    def capture(self, work: Callable[[], None]) -> Any | None:
        """Returns a graph of what `work` puts on the stream; None where some of it cannot be captured."""
        graph = torch.cuda.CUDAGraph()
        try:
            with (
                CAPTURING,
                torch.cuda.graph(graph, pool=self._pool, stream=self._work, capture_error_mode="thread_local"),
            ):
                work()
        except (RuntimeError, EngineError):
            return None
        return graph

    def launch(self, graph: Any) -> None:
        """Puts a captured graph on the stream."""
        with self.working(), failures_as_ours():
            graph.replay()

    def moved(self, module: nn.Module) -> nn.Module:
        """Returns the module on this device, for inference, its weights in the layout that convolutions like best."""
        with failures_as_ours():
            frozen = module.eval().requires_grad_(False).to(self.torch)
            return frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def working(self) -> AbstractContextManager[Any]:
        """Returns the context in which PyTorch's work goes on this stream."""
        return torch.cuda.stream(self._work) if self._work else nullcontext()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """While inside, PyTorch computes on this stream, without gradients, and fails with our errors."""
        with self.working(), torch.inference_mode(), failures_as_ours():
            yield

    def close(self) -> None:
        """Waits for the stream."""
        if self._work:
            self._work.synchronize()

    def _foreign(self, address: int, nbytes: int) -> Tensor:
        """Returns the bytes at an address that need not be PyTorch's own."""
        if not self._gpu:
            return torch.frombuffer((ctypes.c_uint8 * nbytes).from_address(address), dtype=torch.uint8)
        return torch.as_tensor(_Foreign(address, nbytes), device=self.torch)

    def _bytes(self, address: int, nbytes: int) -> Tensor:
        return self.tensor(address, (nbytes,), "uint8")


class _Foreign:
    """Memory of a GPU by its address, in the words in which libraries tell each other of it."""

    def __init__(self, address: int, nbytes: int) -> None:
        self.__cuda_array_interface__ = {"shape": (nbytes,), "typestr": "|u1", "data": (address, False), "version": 3}


def check_gpu() -> None:
    """Raises BackendMissing unless PyTorch has a GPU to use."""
    if not torch.cuda.is_available():
        raise BackendMissing("PyTorch finds no NVIDIA GPU that it can use; see nvidia-smi, or run on the CPU")


@contextmanager
def failures_as_ours() -> Iterator[None]:
    """While inside, PyTorch's errors become ours."""
    try:
        yield
    except RuntimeError as error:
        raise EngineError(f"PyTorch says: {first_line(error)}") from error
