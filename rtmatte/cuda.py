"""The first NVIDIA GPU: what it is, its memory, one stream of work in order, and captured graphs of that work.

Through cuda-bindings rather than PyTorch: a few MB that bring their own CUDA runtime and need only the driver, where
a CUDA build of PyTorch is several GB, and who runs plans needs no other part of it.
"""

from __future__ import annotations

import ctypes
import platform
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import BackendMissing, EngineError

Bytes = NDArray[np.uint8]

# One capture at a time in the process: to begin one PyTorch waits for the whole device, which no stream survives that
# is captured meanwhile, and network and drawing have a thread each.
CAPTURING = Lock()

DRIVER_PAGE = "https://www.nvidia.com/drivers"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU's name, its compute capability, and the newest CUDA version its driver knows, as in 13000 for 13.0."""

    name: str
    capability: tuple[int, int]
    driver: int

    @property
    def target(self) -> str:
        """Its compute capability as plans name it, "sm89"."""
        return "sm{}{}".format(*self.capability)


class Memory:
    """A block of device memory at `address`, freed with the object."""

    __slots__ = ("__weakref__", "address", "nbytes")

    def __init__(self, address: int, nbytes: int) -> None:
        self.address = address
        self.nbytes = nbytes


class Device(Protocol):
    """One stream of work on a GPU. All but `wait` return at once; the work is done in the order it was given."""

    stream: int  # the stream's handle, as libraries take it

    def allocate(self, nbytes: int) -> Memory:
        """Returns new device memory, all zero."""
        ...

    def pinned(self, nbytes: int) -> Bytes:
        """Returns new page-locked host memory: copies to and from it need no stop. Freed with its last view."""
        ...

    def upload(self, source: Bytes, address: int) -> None:
        """Copies pinned memory to the device."""
        ...

    def download(self, address: int, target: Bytes) -> None:
        """Copies from the device to pinned memory."""
        ...

    def copy(self, source: int, target: int, nbytes: int) -> None:
        """Copies from one place on the device to another."""
        ...

    def mark(self) -> None:
        """Marks this point of the stream."""
        ...

    def wait(self) -> None:
        """Returns when all work before the last mark is done; EngineError when that work failed."""
        ...

    def capture(self, work: Callable[[], None]) -> Any | None:
        """Returns what `work` would have put on the stream, as a graph to launch; None where it cannot be captured."""
        ...

    def launch(self, graph: Any) -> None:
        """Puts a captured graph on the stream."""
        ...

    def close(self) -> None:
        """Waits for the stream and ends it. Memory lives as long as its objects do."""
        ...


def find_gpu() -> Gpu:
    """Returns the first GPU; BackendMissing, with what to install, where there is none that works."""
    cuda = _bindings()
    _, driver = cuda.cudaDriverGetVersion()
    error, count = cuda.cudaGetDeviceCount()
    if int(error) or not count:
        raise BackendMissing(_no_device(cuda, error, int(driver)))
    properties = _checked(cuda, cuda.cudaGetDeviceProperties(0))
    name = bytes(properties.name).partition(b"\0")[0].decode()
    return Gpu(name, (int(properties.major), int(properties.minor)), int(driver))


def _no_device(cuda: ModuleType, error: Any, driver: int) -> str:
    if not driver:
        return f"expected an NVIDIA GPU and its driver, found no driver; install one from {DRIVER_PAGE}"
    if error == cuda.cudaError_t.cudaErrorInsufficientDriver:
        known, wanted = driver // 1000, int(cuda.cudaRuntimeGetVersion()[1]) // 1000
        return (
            f"expected a driver for CUDA {wanted}, found one for CUDA {known}; install a newer one from {DRIVER_PAGE}"
        )
    return f"expected an NVIDIA GPU, the driver finds none ({_text(cuda, error)}); see nvidia-smi"


class CudaDevice:
    """The Device of the first GPU; called by one thread."""

    def __init__(self) -> None:
        self._cuda = cuda = _bindings()
        self._call(cuda.cudaSetDevice(0))
        self._stream = self._call(cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))
        self._mark = self._call(cuda.cudaEventCreateWithFlags(cuda.cudaEventDisableTiming))
        self.stream = int(self._stream)

    def allocate(self, nbytes: int) -> Memory:
        """Returns new device memory, all zero; EngineError when there is not enough."""
        address = self._call(self._cuda.cudaMalloc(nbytes))
        memory = Memory(int(address), nbytes)
        weakref.finalize(memory, self._cuda.cudaFree, address).atexit = False
        self._call(self._cuda.cudaMemsetAsync(address, 0, nbytes, self._stream))
        return memory

    def pinned(self, nbytes: int) -> Bytes:
        """Returns new page-locked host memory, all zero."""
        address = self._call(self._cuda.cudaHostAlloc(nbytes, self._cuda.cudaHostAllocDefault))
        owner = (ctypes.c_uint8 * nbytes).from_address(int(address))
        weakref.finalize(owner, self._cuda.cudaFreeHost, address).atexit = False
        array: Bytes = np.ctypeslib.as_array(owner)
        array.fill(0)
        return array

    def upload(self, source: Bytes, address: int) -> None:
        """Copies pinned memory to the device."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(self._cuda.cudaMemcpyAsync(address, source.ctypes.data, source.nbytes, kind, self._stream))

    def download(self, address: int, target: Bytes) -> None:
        """Copies from the device to pinned memory."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(self._cuda.cudaMemcpyAsync(target.ctypes.data, address, target.nbytes, kind, self._stream))

    def copy(self, source: int, target: int, nbytes: int) -> None:
        """Copies from one place on the device to another."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._call(self._cuda.cudaMemcpyAsync(target, source, nbytes, kind, self._stream))

    def mark(self) -> None:
        """Marks this point of the stream."""
        self._call(self._cuda.cudaEventRecord(self._mark, self._stream))

    def wait(self) -> None:
        """Returns when all work before the last mark is done."""
        self._call(self._cuda.cudaEventSynchronize(self._mark))

    def capture(self, work: Callable[[], None]) -> Any | None:
        """Returns a graph of what `work` puts on the stream; None where some of it cannot be captured."""
        with CAPTURING:
            return self._captured(work)

    def launch(self, graph: Any) -> None:
        """Puts a captured graph on the stream."""
        self._call(self._cuda.cudaGraphLaunch(graph.handle, self._stream))

    def close(self) -> None:
        """Waits for the stream and ends it."""
        self._cuda.cudaStreamSynchronize(self._stream)
        self._cuda.cudaEventDestroy(self._mark)
        self._cuda.cudaStreamDestroy(self._stream)

    def _captured(self, work: Callable[[], None]) -> Any | None:
        cuda = self._cuda
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(cuda.cudaStreamBeginCapture(self._stream, mode))
        try:
            work()
        except EngineError:
            cuda.cudaStreamEndCapture(self._stream)
            cuda.cudaGetLastError()  # or the next call would report this one's error
            return None
        error, graph = cuda.cudaStreamEndCapture(self._stream)
        if int(error):
            cuda.cudaGetLastError()
            return None
        ready = self._call(cuda.cudaGraphInstantiate(graph, 0))
        self._call(cuda.cudaGraphDestroy(graph))
        return _Graph(cuda, ready)

    def _call(self, answer: tuple[Any, ...]) -> Any:
        return _checked(self._cuda, answer)


class _Graph:
    """A captured graph, ready to launch; freed with the object."""

    __slots__ = ("__weakref__", "handle")

    def __init__(self, cuda: ModuleType, handle: Any) -> None:
        self.handle = handle
        weakref.finalize(self, cuda.cudaGraphExecDestroy, handle).atexit = False


def _bindings() -> Any:
    if platform.system() == "Darwin":
        raise BackendMissing("expected an NVIDIA GPU; macOS has no driver for any")
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise BackendMissing(f"cuda-bindings is not installed ({error}); pip install 'rtmatte[rtx]'") from error
    return runtime


def _checked(cuda: Any, answer: tuple[Any, ...]) -> Any:
    """Returns the result of a CUDA call, which answers (error, result) or (error,)."""
    error, *results = answer
    if int(error):
        raise EngineError(f"CUDA says: {_text(cuda, error)}")
    return results[0] if results else None


def _text(cuda: Any, error: Any) -> str:
    return bytes(cuda.cudaGetErrorString(error)[1]).decode()
