"""The device on a CUDA runtime that records: real memory behind its addresses, calls in order, and what it refuses."""

# ruff: noqa: N815  (the names are CUDA's)

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte import cuda
from rtmatte.cuda import CAPTURING, CudaDevice, Gpu, find_gpu
from rtmatte.errors import BackendMissing, EngineError


class Error(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorStreamCaptureUnsupported = 900


class Runtime:
    """`cuda.bindings.runtime`, as far as the device uses it. `refuse` names calls that fail, and how."""

    cudaError_t = Error
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaStreamNonBlocking = 1
    cudaEventDisableTiming = 2
    cudaHostAllocDefault = 0

    def __init__(self, *, driver: int = 13000, devices: int = 1) -> None:
        self.driver, self.devices = driver, devices
        self.calls: list[str] = []
        self.refuse: dict[str, Error] = {}
        self.freed: list[int] = []
        self.copies: list[tuple[int, int]] = []  # kind and bytes
        self.blocks: dict[int, NDArray[np.uint8]] = {}

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*given: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            error = self.refuse.get(name, Error.cudaSuccess)
            if error:
                return (error, None)
            return (error, *self._answer(name, given))

        return call

    def _answer(self, name: str, given: tuple[Any, ...]) -> tuple[Any, ...]:
        match name:
            case "cudaMalloc" | "cudaHostAlloc":
                block = np.full(given[0], 0xA5, np.uint8)
                self.blocks[block.ctypes.data] = block
                return (block.ctypes.data,)
            case "cudaFree" | "cudaFreeHost":
                self.freed.append(int(given[0]))
            case "cudaMemsetAsync":
                ctypes.memset(given[0], given[1], given[2])
            case "cudaMemcpyAsync":
                target, source, nbytes, kind, stream = given
                assert stream == 11
                ctypes.memmove(target, source, nbytes)
                self.copies.append((kind, nbytes))
            case "cudaStreamCreateWithFlags":
                return (11,)
            case "cudaEventCreateWithFlags" | "cudaStreamEndCapture" | "cudaGraphInstantiate":
                return (name,)
            case "cudaDriverGetVersion":
                return (self.driver,)
            case "cudaRuntimeGetVersion":
                return (13020,)
            case "cudaGetDeviceCount":
                return (self.devices,)
            case "cudaGetDeviceProperties":
                return (SimpleNamespace(name=b"NVIDIA H200\0\0", major=9, minor=0),)
            case "cudaGetErrorString":
                return (given[0].name.encode(),)
        return ()


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made = Runtime()
    monkeypatch.setattr(cuda, "_bindings", lambda: made)
    return made


def test_the_gpu_is_named_with_its_capability(runtime: Runtime) -> None:
    assert find_gpu() == Gpu("NVIDIA H200", (9, 0), 13000)
    assert find_gpu().target == "sm90"


@pytest.mark.parametrize(
    ("driver", "error", "sentence"),
    [
        (0, Error.cudaErrorNoDevice, r"found no driver; install one from https://www\.nvidia\.com/drivers"),
        (12040, Error.cudaErrorInsufficientDriver, "expected a driver for CUDA 13, found one for CUDA 12; install a"),
        (13000, Error.cudaErrorNoDevice, r"the driver finds none \(cudaErrorNoDevice\); see nvidia-smi"),
    ],
)
def test_a_driver_that_is_missing_or_old_is_named_with_what_to_do(
    runtime: Runtime, driver: int, error: Error, sentence: str
) -> None:
    runtime.driver, runtime.refuse = driver, {"cudaGetDeviceCount": error}

    with pytest.raises(BackendMissing, match=sentence):
        find_gpu()


def test_bytes_go_up_across_and_down_on_one_stream(runtime: Runtime) -> None:
    device = CudaDevice()
    first, second = device.allocate(256), device.allocate(256)
    up, down = device.pinned(256), device.pinned(256)
    up[:] = np.arange(256)
    runtime.calls.clear()

    device.upload(up, first.address)
    device.copy(first.address, second.address + 16, 64)
    device.download(second.address, down)
    device.mark()
    device.wait()

    assert runtime.copies == [(1, 256), (3, 64), (2, 256)]
    np.testing.assert_array_equal(down, [*[0] * 16, *range(64), *[0] * 176])  # new memory is all zero
    assert runtime.calls == ["cudaMemcpyAsync"] * 3 + ["cudaEventRecord", "cudaEventSynchronize"]


def test_memory_is_freed_with_its_last_holder(runtime: Runtime) -> None:
    device = CudaDevice()
    memory, pinned = device.allocate(64), device.pinned(64)
    addresses, view = [memory.address, pinned.ctypes.data], pinned[8:]
    del memory, pinned
    gc.collect()
    assert runtime.freed == addresses[:1]  # a view of the other one is left

    del view
    gc.collect()
    assert runtime.freed == addresses


def test_a_refused_call_is_an_error_of_ours_in_the_runtimes_words(runtime: Runtime) -> None:
    device = CudaDevice()
    runtime.refuse = {"cudaMalloc": Error.cudaErrorMemoryAllocation}

    with pytest.raises(EngineError, match="CUDA says: cudaErrorMemoryAllocation"):
        device.allocate(1 << 40)


def test_work_is_captured_once_nobody_else_captures_and_launched(runtime: Runtime) -> None:
    device, held = CudaDevice(), []
    runtime.calls.clear()

    graph = device.capture(lambda: held.append(CAPTURING.locked()))
    device.launch(graph)

    assert held == [True]
    assert not CAPTURING.locked()
    begin, *_, launch = runtime.calls
    assert (begin, launch) == ("cudaStreamBeginCapture", "cudaGraphLaunch")
    del graph
    gc.collect()
    assert runtime.calls[-1] == "cudaGraphExecDestroy"


@pytest.mark.parametrize("refused", ["the work", "cudaStreamEndCapture"])
def test_what_cannot_be_captured_is_none_and_leaves_no_error_behind(runtime: Runtime, refused: str) -> None:
    device = CudaDevice()

    def work() -> None:
        if refused == "the work":
            raise EngineError("not in a capture")

    runtime.refuse = {refused: Error.cudaErrorStreamCaptureUnsupported}

    assert device.capture(work) is None
    assert runtime.calls[-2:] == ["cudaStreamEndCapture", "cudaGetLastError"]
    assert not CAPTURING.locked()


def test_closing_waits_for_the_stream_before_it_ends(runtime: Runtime) -> None:
    device = CudaDevice()
    runtime.calls.clear()

    device.close()

    assert runtime.calls == ["cudaStreamSynchronize", "cudaEventDestroy", "cudaStreamDestroy"]


def test_every_call_is_one_that_the_real_bindings_have(runtime: Runtime) -> None:
    real = pytest.importorskip("cuda.bindings.runtime")
    device = CudaDevice()
    find_gpu()
    memory = device.allocate(8)
    pinned = device.pinned(8)
    device.upload(pinned, memory.address)
    device.launch(device.capture(lambda: None))
    runtime.refuse = {"cudaStreamEndCapture": Error.cudaErrorStreamCaptureUnsupported}
    device.capture(lambda: None)
    del memory, pinned
    gc.collect()
    device.close()

    names = {*runtime.calls, *(name for name in vars(Runtime) if name.startswith("cuda") and name != "cudaError_t")}
    assert [name for name in sorted(names) if not hasattr(real, name)] == []
    kinds, modes = real.cudaMemcpyKind, real.cudaStreamCaptureMode
    for name, value in vars(Runtime.cudaMemcpyKind).items():
        assert int(getattr(kinds, name)) == value
    assert hasattr(modes, "cudaStreamCaptureModeThreadLocal")
    for error in Error:
        assert int(getattr(real.cudaError_t, error.name)) == error.value
