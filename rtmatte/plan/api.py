"""One adapter over the Python APIs of `tensorrt` (10 and 11) and `tensorrt_rtx` (1), told apart by what they have.

Networks are strongly typed: a plan computes in what its graph says, and no precision flag is ever set. Tensors are
known by name. What the library logs as an error becomes the reason in ours.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from rtmatte.cuda import DRIVER_PAGE
from rtmatte.errors import BackendError, BackendMissing, EngineError, InputError
from rtmatte.plan.kernels import Kernels

Runtime = Literal["tensorrt", "rtx"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
Progress = Callable[[str, float], None]  # what is being done, and how much of the whole is, 0..1

_MODULES: dict[Runtime, str] = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}
_SIZES = re.compile(r"Total (Activation|Weights) Memory: (\d+) bytes")


@dataclass(frozen=True, slots=True)
class Built:
    """A serialised plan and what is known of it without a GPU.

    `layers` counts the parsed network's layers by kind, `precisions` by the dtype of their first output. The bytes
    are what TensorRT reports for one context's activations and for the weights; 0 where it says nothing.
    """

    plan: bytes
    layers: dict[str, int]
    precisions: dict[str, int]
    activation_bytes: int
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class PlanTensor:
    """One tensor a plan takes or gives."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    taken: bool

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


class Api:
    """A TensorRT library: builds plans and loads them. `runtime` and `version` are what a plan is tied to."""

    def __init__(self, runtime: Runtime, trt: Any) -> None:
        self.runtime: Runtime = runtime
        self.version: str = trt.__version__
        self._trt = trt
        self._log = _Log()
        self._logger = _logger(trt, self._log)

    @property
    def targets(self) -> tuple[str, ...]:
        """The compute capabilities it can build for without such a GPU, as "sm89"; empty where it needs the GPU."""
        if not hasattr(self._trt, "ComputeCapability"):
            return ()
        found = [re.fullmatch(r"SM(\d+)", name) for name in dir(self._trt.ComputeCapability)]
        return tuple(f"sm{number}" for number in sorted(int(match[1]) for match in found if match))

    def build(
        self, onnx: Path, *, targets: Sequence[str] = (), tf32: bool = True, progress: Progress | None = None
    ) -> Built:
        """Returns the plan of the ONNX file for `targets`, or for the GPU that is here where there are none.

        `tf32` False keeps float32 exact where TensorRT would round the inputs of matrix products to 10 bits.
        Raises InputError for a target it does not know, BackendError when it refuses the graph or cannot build it.
        """
        trt = self._trt
        self._log.clear()
        builder = self._made(trt.Builder, self._logger)
        network = builder.create_network(_network_flags(trt))
        self._parse(network, onnx)
        config = builder.create_builder_config()
        if not tf32 and hasattr(trt.BuilderFlag, "TF32"):
            config.clear_flag(trt.BuilderFlag.TF32)
        self._aim(config, targets)
        if progress is not None and hasattr(config, "progress_monitor"):
            config.progress_monitor = _monitor(trt, progress)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise BackendError(self._reason(f"{self} cannot build {onnx.name}"))
        layers = [network.get_layer(index) for index in range(network.num_layers)]
        return Built(
            bytes(plan),
            dict(Counter(layer.type.name for layer in layers)),
            dict(Counter(layer.get_output(0).dtype.name for layer in layers)),
            self._log.sizes.get("Activation", 0),
            self._log.sizes.get("Weights", 0),
        )

    def load(self, plan: bytes, *, kernels: Path | None = None) -> LoadedPlan:
        """Returns the plan, ready to run on the GPU that is here. Only bytes that passed `sidecar.read_plan` may come.

        `kernels` is the file of what was compiled for it, where the library compiles at load; it need not exist.
        BackendError when the driver, the GPU or the library does not take it.
        """
        self._log.clear()
        engine = self._made(self._trt.Runtime, self._logger).deserialize_cuda_engine(plan)
        config = engine.create_runtime_config() if engine and hasattr(engine, "create_runtime_config") else None
        compiled = Kernels(kernels, config) if kernels and hasattr(config, "create_runtime_cache") else None
        context = engine and engine.create_execution_context(*filter(None, [config]))
        if not context:
            raise BackendError(self._reason(f"{self} cannot load the plan"))
        return LoadedPlan(self._trt, engine, context, self._log, compiled)

    def __str__(self) -> str:
        name = "TensorRT for RTX" if self.runtime == "rtx" else "TensorRT"
        return f"{name} {self.version}"

    def _made(self, kind: Callable[[Any], Any], logger: Any) -> Any:
        try:
            made = kind(logger)
        except Exception as error:  # pybind raises TypeError where the constructor returns null
            raise BackendError(self._reason(f"{self} does not start ({error})")) from error
        if made is None:
            raise BackendError(self._reason(f"{self} does not start"))
        return made

    def _parse(self, network: Any, onnx: Path) -> None:
        parser = self._trt.OnnxParser(network, self._logger)
        parsed = parser.parse_from_file(str(onnx))
        if parsed and not parser.num_errors:
            return
        errors = map(parser.get_error, range(parser.num_errors))
        reasons = (
            "; ".join(f"{error.node_operator()}: {error.desc().strip()}" for error in errors)
            or self._log.first_error
            or "no reason given"
        )
        raise BackendError(f"{self} refuses {onnx.name} ({reasons}); export it again with `python -m export`")

    def _aim(self, config: Any, targets: Sequence[str]) -> None:
        unknown = sorted(set(targets) - set(self.targets))
        if unknown:
            known = ", ".join(self.targets) or "only the GPU of the machine it runs on"
            raise InputError(f"expected targets {self} can build for ({known}), found {', '.join(unknown)}")
        if targets:
            config.num_compute_capabilities = len(targets)
            for index, target in enumerate(targets):
                config.set_compute_capability(getattr(self._trt.ComputeCapability, target.upper()), index)

    def _reason(self, sentence: str) -> str:
        if self._log.driver_fault:
            return f"{sentence}: {self._log.driver_fault}; install or update the NVIDIA driver from {DRIVER_PAGE}"
        return f"{sentence}: {self._log.first_error or 'it gives no reason'}"


class LoadedPlan:
    """A plan that can run: its tensors by name, their addresses, and the call that puts it on a stream."""

    def __init__(self, trt: Any, engine: Any, context: Any, log: _Log, kernels: Kernels | None = None) -> None:
        self._trt = trt
        self._engine = engine  # a context does not keep its engine alive everywhere
        self._context = context
        self._log = log
        self._kernels = kernels
        self.tensors: Mapping[str, PlanTensor] = {
            name: PlanTensor(
                name,
                tuple(engine.get_tensor_shape(name)),
                np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name,
                engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
            )
            for name in map(engine.get_tensor_name, range(engine.num_io_tensors))
        }

    def bind(self, name: str, address: int) -> None:
        """Makes the plan read or write the tensor `name` at `address` from the next run on."""
        if not self._context.set_tensor_address(name, address):
            raise EngineError(f"TensorRT refuses the address of {name} ({self._log.first_error or 'no reason given'})")

    def enqueue(self, stream: int) -> None:
        """Puts one run on the stream; EngineError when TensorRT refuses."""
        if not self._context.execute_async_v3(stream):
            raise EngineError(f"TensorRT cannot run the plan ({self._log.first_error or 'no reason given'})")

    def capturable(self, stream: int) -> bool:
        """Whether a run may be captured into a CUDA graph, as far as the library can tell beforehand."""
        asked = getattr(self._context, "is_stream_capturable", None)
        return asked is None or bool(asked(stream))

    def close(self) -> None:
        """Saves what the library compiled for this GPU; the plan itself goes with the object."""
        if self._kernels is not None:
            self._kernels.save()

    def describe(self) -> str:
        """Returns the library's own account of the layers it made of the network, as JSON text."""
        inspector = self._engine.create_engine_inspector()
        return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))


def check_installed(runtime: Runtime) -> None:
    """Raises BackendMissing, with the extra to install, where the library of that name is not there; loads nothing."""
    if sys.modules.get(_MODULES[runtime]) is None and find_spec(_MODULES[runtime]) is None:
        raise BackendMissing(f"{_MODULES[runtime]} is not installed; pip install 'rtmatte[{runtime}]'")


def open_api(runtime: Runtime) -> Api:
    """Returns the library of that name; BackendMissing where it is not installed or does not load."""
    check_installed(runtime)
    try:
        return Api(runtime, importlib.import_module(_MODULES[runtime]))
    except (ImportError, OSError) as error:  # a library it is linked against may be missing
        raise BackendMissing(
            f"{_MODULES[runtime]} does not load ({error}); pip install --force-reinstall 'rtmatte[{runtime}]'"
        ) from error


@dataclass(slots=True)
class _Log:
    """What matters of all that TensorRT writes: the first error, and the sizes it reports."""

    first_error: str = ""
    driver_fault: str = ""
    sizes: dict[str, int] = field(default_factory=dict)

    def clear(self) -> None:
        self.first_error = self.driver_fault = ""
        self.sizes.clear()

    def take(self, severity: str, text: str) -> None:
        if severity in ("ERROR", "INTERNAL_ERROR"):
            self.first_error = self.first_error or " ".join(text.split())
            if fault := re.search(r"cudaError 35: [^)]*", text):
                self.driver_fault = fault[0]
        elif size := _SIZES.search(text):
            self.sizes[size[1]] = int(size[2])


def _logger(trt: Any, log: _Log) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind asks for this very call

        def log(self, severity: Any, message: str) -> None:
            log.take(severity.name, message)

    return Logger()


def _network_flags(trt: Any) -> int:
    """Strongly typed where that is a choice; where it is not any more, there is no flag to set."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


class _Phases:
    """The phases of a build that are under way, each a part of another, and how far the whole has come."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[str | None, int, int]] = {}  # name: parent, steps, steps done
        self._furthest = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        self._running[name] = (parent, max(1, steps), 0)

    def step(self, name: str, step: int) -> None:
        if name in self._running:
            parent, steps, _ = self._running[name]
            self._running[name] = (parent, steps, step + 1)

    def finish(self, name: str) -> None:
        self._running.pop(name, None)

    def share(self, name: str) -> float:
        """Returns 0..1 of the whole, never less than before: phases come again under the same name."""
        inner, phase = 0.0, self._running.get(name)
        for _ in self._running:  # not longer: a name may stand for its own ancestor
            if phase is None:
                break
            parent, steps, done = phase
            inner, phase = min(1.0, (done + inner) / steps), self._running.get(parent or "")
        self._furthest = max(self._furthest, inner if phase is None else 0.0)
        return self._furthest


def _monitor(trt: Any, progress: Progress) -> Any:
    phases = _Phases()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)
            progress(phase_name, phases.share(phase_name))

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            progress(phase_name, phases.share(phase_name))
            return True  # False would cancel the build

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()
