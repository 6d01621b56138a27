"""What can run a model: the table of backends, in the order `auto` tries them. None is imported before it is opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rtmatte.errors import BackendError, InputError, ModelError
from rtmatte.step import Engine

AUTO = "auto"
MAX_THREADS = 4  # more gain little on so small a network, and decoding and compositing want cores too
CHECKPOINT_SIZE = (512, 288)  # frame size of a checkpoint, which has none of its own, where nobody says another


@dataclass(frozen=True, slots=True)
class Options:
    """What a backend may be told: the frame size (width, height) of a checkpoint, and the number of CPU threads."""

    size: tuple[int, int] | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise InputError(f"expected at least 1 thread, found {self.threads}")


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to run the model files that end in one of `suffixes`; users ask for it by `name`.

    `auto` says that it is tried where nobody asks for one: not where it computes in less precision than the file, nor
    what its makers call an alpha.
    """

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[Path, Options], Engine]
    auto: bool = True


def default_threads() -> int:
    """Returns the number of threads of a CPU backend where nobody says another."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_THREADS, cores)


def _tensorrt(path: Path, options: Options) -> Engine:
    from rtmatte.backends.trt import open_trt

    return open_trt(path, "tensorrt")


def _tensorrt_rtx(path: Path, options: Options) -> Engine:
    from rtmatte.backends.trt import open_trt

    return open_trt(path, "rtx")


def _ort_cuda(path: Path, options: Options) -> Engine:
    from rtmatte.backends.ort_cuda import open_ort_cuda

    return open_ort_cuda(path)


def _ort_rtx(path: Path, options: Options) -> Engine:
    from rtmatte.backends.ort_cuda import open_ort_rtx

    return open_ort_rtx(path)


def _openvino(path: Path, options: Options) -> Engine:
    from rtmatte.backends.openvino import OpenVinoEngine

    return OpenVinoEngine(path, threads=options.threads)


def _openvino_bf16(path: Path, options: Options) -> Engine:
    from rtmatte.backends.openvino import OpenVinoEngine

    return OpenVinoEngine(path, precision="bf16", threads=options.threads)


def _ort_cpu(path: Path, options: Options) -> Engine:
    from rtmatte.backends.ort import OrtEngine

    return OrtEngine(path, threads=options.threads)


def _torch_cuda(path: Path, options: Options) -> Engine:
    from rtmatte.backends.eager_cuda import open_eager_cuda
    from rtmatte.network.checkpoint import HALF, open_step
    from rtmatte.torch_device import check_gpu

    check_gpu()
    width, height = options.size or CHECKPOINT_SIZE
    whole = partial(open_step, path, width=width, height=height)
    try:
        parts = [whole(variant=HALF, part="head"), whole(variant=HALF, part="tail")]
    except InputError:  # lite has no variants and is not cut
        parts = [whole()]
    return open_eager_cuda(parts)


def _torch_cpu(path: Path, options: Options) -> Engine:
    from rtmatte.backends.eager import EagerEngine
    from rtmatte.network.checkpoint import open_step

    width, height = options.size or CHECKPOINT_SIZE
    module, contract = open_step(path, width=width, height=height)
    return EagerEngine(module, contract, threads=options.threads)


ONNX = (".onnx",)
CHECKPOINT = (".pth", ".pt", ".safetensors")
PLAN = (".plan",)
BACKENDS = (
    Backend("tensorrt", ONNX + PLAN, _tensorrt),
    Backend("rtx", ONNX + PLAN, _tensorrt_rtx),
    Backend("cuda", ONNX, _ort_cuda),
    Backend("ort-rtx", ONNX, _ort_rtx, auto=False),
    Backend("cpu", ONNX, _ort_cpu),
    # Behind ONNX Runtime: in float32 it is no faster, and a malformed graph ends the process instead of an error.
    Backend("openvino", ONNX, _openvino),
    Backend("openvino-bf16", ONNX, _openvino_bf16, auto=False),
    Backend("cuda", CHECKPOINT, _torch_cuda),
    Backend("cpu", CHECKPOINT, _torch_cpu),
)


def candidates(path: Path, asked: str = AUTO) -> tuple[Backend, ...]:
    """Returns the backends to try for `path`, best first: all that `auto` tries, or the one that was asked for.

    ModelError for a file of no known kind; BackendError for a backend that does not exist or cannot run such a file.
    """
    able = tuple(backend for backend in BACKENDS if path.suffix.lower() in backend.suffixes)
    if not able:
        raise ModelError(f"expected a model in {', '.join((*ONNX, *CHECKPOINT, *PLAN))}, found {path.name}")
    if asked == AUTO:
        return tuple(backend for backend in able if backend.auto)
    chosen = tuple(backend for backend in able if backend.name == asked)
    if not chosen:
        names = ", ".join((AUTO, *(backend.name for backend in able)))
        raise BackendError(f"expected a backend of {names} for {path.name}, found {asked!r}")
    return chosen
