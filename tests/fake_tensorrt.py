"""A recording TensorRT, in the shapes of versions 10 and 11 and of TensorRT for RTX."""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np

Severity = Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")
DataType = Enum("DataType", "FLOAT HALF UINT8")
LayerType = Enum("LayerType", "CONVOLUTION CAST")
TensorIOMode = Enum("TensorIOMode", "INPUT OUTPUT")
BuilderFlag = Enum("BuilderFlag", "FP16 TF32")


class Stronger(Enum):
    STRONGLY_TYPED = 1

    def __int__(self) -> int:
        return int(self.value)


class ComputeCapability(Enum):
    CURRENT = 0
    SM120 = 120
    SM86 = 86
    SM89 = 89


class Config:
    def __init__(self) -> None:
        self.cleared: list[Any] = []
        self.capabilities: dict[int, Any] = {}
        self.num_compute_capabilities = 0
        self.progress_monitor: Any = None

    def clear_flag(self, flag: Any) -> None:
        self.cleared.append(flag)

    def set_flag(self, flag: Any) -> None:
        raise AssertionError(f"no builder flag is ever set, {flag} was")

    def set_compute_capability(self, capability: Any, index: int) -> bool:
        self.capabilities[index] = capability
        return True


class Library:
    """What the recording library is told to do, and what was asked of it."""

    def __init__(self) -> None:
        self.parse_errors: list[str] = []
        self.parses = True
        self.plan: bytes | None = b"plan"
        self.engine: Any = None
        self.log: list[tuple[Severity, str]] = []
        self.network_flags: int | None = None
        self.config = Config()

    def module(self, *, strongly_typed_flag: bool, rtx: bool) -> Any:
        library = self

        class ILogger:
            pass

        class IProgressMonitor:
            pass

        class Builder:
            def __init__(self, logger: Any) -> None:
                self.logger = logger

            def create_network(self, flags: int) -> Any:
                library.network_flags = flags
                layers = [(LayerType.CONVOLUTION, DataType.HALF), (LayerType.CAST, DataType.FLOAT)]
                made = [
                    SimpleNamespace(type=kind, get_output=lambda _, d=dtype: SimpleNamespace(dtype=d))
                    for kind, dtype in layers
                ]
                return SimpleNamespace(num_layers=2, get_layer=made.__getitem__)

            def create_builder_config(self) -> Config:
                return library.config

            def build_serialized_network(self, network: Any, config: Config) -> bytes | None:
                for severity, text in library.log:
                    self.logger.log(severity, text)
                monitor = config.progress_monitor
                if monitor:
                    monitor.phase_start("Building", None, 2)
                    monitor.phase_start("Inner", "Building", 4)
                    assert monitor.step_complete("Inner", 1)
                    monitor.phase_finish("Inner")
                    assert monitor.step_complete("Building", 0)
                    monitor.phase_start("Inner", "Inner", 1)  # its own parent: no library should, none may hang us
                    monitor.phase_finish("Building")
                return library.plan

        class OnnxParser:
            def __init__(self, network: Any, logger: Any) -> None:
                self.num_errors = len(library.parse_errors)

            def parse_from_file(self, path: str) -> bool:
                return library.parses

            def get_error(self, index: int) -> Any:
                return SimpleNamespace(node_operator=lambda: "Odd", desc=lambda: library.parse_errors[index])

        class Runtime:
            def __init__(self, logger: Any) -> None:
                self.logger = logger

            def deserialize_cuda_engine(self, plan: bytes) -> Any:
                for severity, text in library.log:
                    self.logger.log(severity, text)
                return library.engine

        flags = Stronger if strongly_typed_flag else Enum("Flags", "OTHER")
        parts: dict[str, Any] = {"ComputeCapability": ComputeCapability} if rtx else {}
        return SimpleNamespace(
            __version__="11.0",
            ILogger=ILogger,
            IProgressMonitor=IProgressMonitor,
            Builder=Builder,
            OnnxParser=OnnxParser,
            Runtime=Runtime,
            NetworkDefinitionCreationFlag=flags,
            BuilderFlag=BuilderFlag,
            TensorIOMode=TensorIOMode,
            nptype=lambda dtype: {DataType.FLOAT: np.float32, DataType.HALF: np.float16, DataType.UINT8: np.uint8}[
                dtype
            ],
            **parts,
        )


class Context:
    def __init__(self, *, works: bool) -> None:
        self.works = works
        self.addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return self.works

    def execute_async_v3(self, stream: int) -> bool:
        return self.works


class Engine:
    num_io_tensors = 2
    shapes = (("frame", (1, 4, 4, 3), DataType.UINT8), ("alpha", (1, 1, 4, 4), DataType.HALF))

    def __init__(self, *, works: bool = True) -> None:
        self.context = Context(works=works)

    def create_execution_context(self, config: Any = None) -> Context:
        self.config = config
        return self.context

    def get_tensor_name(self, index: int) -> str:
        return self.shapes[index][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return {n: s for n, s, _ in self.shapes}[name]

    def get_tensor_dtype(self, name: str) -> Any:
        return {n: d for n, _, d in self.shapes}[name]

    def get_tensor_mode(self, name: str) -> Any:
        return TensorIOMode.INPUT if name == "frame" else TensorIOMode.OUTPUT


class RuntimeCache:
    """What TensorRT for RTX has compiled: what it was given, and one kernel more."""

    def __init__(self) -> None:
        self.content = b""

    def deserialize(self, content: bytes) -> bool:
        self.content = content
        return True

    def serialize(self) -> bytes:
        return self.content if self.content.endswith(b"kernel") else self.content + b"kernel"


class RuntimeConfig:
    cache: RuntimeCache | None = None

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache()

    def set_runtime_cache(self, cache: RuntimeCache) -> None:
        self.cache = cache


class CompilingEngine(Engine):
    """An engine of TensorRT for RTX, which compiles when it first runs."""

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig()
