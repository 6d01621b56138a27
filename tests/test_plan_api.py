"""The adapter against a recording TensorRT, in the shapes of versions 10 and 11 and of TensorRT for RTX."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rtmatte.errors import BackendError, BackendMissing, EngineError, InputError
from rtmatte.plan.api import Api, LoadedPlan, check_installed

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


@pytest.fixture
def library() -> Library:
    return Library()


def tensorrt(library: Library) -> Api:
    return Api("tensorrt", library.module(strongly_typed_flag=True, rtx=False))


def rtx(library: Library) -> Api:
    return Api("rtx", library.module(strongly_typed_flag=False, rtx=True))


ONNX = Path("toy.onnx")


def test_strong_typing_is_asked_for_where_it_is_a_choice(library: Library) -> None:
    tensorrt(library).build(ONNX)
    assert library.network_flags == 1 << 1

    rtx(library).build(ONNX, targets=["sm89"])
    assert library.network_flags == 0


def test_targets_are_those_the_library_names_and_set_in_order(library: Library) -> None:
    api = rtx(library)

    api.build(ONNX, targets=["sm86", "sm120"])

    assert api.targets == ("sm86", "sm89", "sm120")
    assert tensorrt(library).targets == ()
    assert library.config.num_compute_capabilities == 2
    assert library.config.capabilities == {0: ComputeCapability.SM86, 1: ComputeCapability.SM120}
    with pytest.raises(InputError, match=r"sm86, sm89, sm120\), found sm90"):
        api.build(ONNX, targets=["sm90"])
    with pytest.raises(InputError, match="only the GPU of the machine it runs on"):
        tensorrt(library).build(ONNX, targets=["sm89"])


def test_tf32_is_cleared_on_request_and_nothing_is_ever_set(library: Library) -> None:
    api = tensorrt(library)

    api.build(ONNX)
    assert library.config.cleared == []
    api.build(ONNX, tf32=False)
    assert library.config.cleared == [BuilderFlag.TF32]


def test_layers_precisions_and_sizes_are_reported(library: Library) -> None:
    library.log = [
        (Severity.INFO, "Total Activation Memory: 9289216 bytes"),
        (Severity.INFO, "Total Weights Memory: 4474756 bytes"),
    ]

    built = rtx(library).build(ONNX, targets=["sm89"])

    assert built.plan == b"plan"
    assert built.layers == {"CONVOLUTION": 1, "CAST": 1}
    assert built.precisions == {"HALF": 1, "FLOAT": 1}
    assert (built.activation_bytes, built.weight_bytes) == (9289216, 4474756)


def test_progress_never_goes_back(library: Library) -> None:
    heard: list[tuple[str, float]] = []

    tensorrt(library).build(ONNX, progress=lambda phase, share: heard.append((phase, share)))

    shares = [share for _, share in heard]
    assert [phase for phase, _ in heard] == ["Building", "Inner", "Inner", "Building", "Inner"]
    assert shares == sorted(shares)
    assert shares[2] == pytest.approx(0.25)
    assert shares[-1] == pytest.approx(0.5)


def test_refused_graph_is_an_error_with_every_reason_even_when_half_of_it_parses(library: Library) -> None:
    library.parse_errors = ["no plugin for NonZero", "node 7 is odd"]

    with pytest.raises(BackendError, match=r"refuses toy\.onnx \(Odd: no plugin for NonZero; Odd: node 7 is odd\)"):
        rtx(library).build(ONNX, targets=["sm89"])


def test_failed_build_carries_the_first_error_of_the_log(library: Library) -> None:
    library.plan = None
    library.log = [(Severity.WARNING, "mind"), (Severity.ERROR, "out of\nmemory"), (Severity.ERROR, "and so on")]

    with pytest.raises(BackendError, match=r"TensorRT 11\.0 cannot build toy\.onnx: out of memory$"):
        tensorrt(library).build(ONNX)


def test_missing_driver_is_named_with_where_to_get_it(library: Library) -> None:
    library.log = [
        (Severity.ERROR, "Error Code 1: Cuda Runtime (In X (cudaError 35: CUDA driver version is insufficient for Y))")
    ]

    with pytest.raises(
        BackendError, match=r"cannot load the plan: cudaError 35: .*driver from https://www\.nvidia\.com"
    ):
        rtx(library).load(b"plan")


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


def loaded(library: Library, *, works: bool = True) -> LoadedPlan:
    library.engine = Engine(works=works)
    return tensorrt(library).load(b"plan")


def test_tensors_of_a_plan_are_known_by_name(library: Library) -> None:
    tensors = loaded(library).tensors

    assert [(t.name, t.shape, t.dtype, t.taken, t.nbytes) for t in tensors.values()] == [
        ("frame", (1, 4, 4, 3), "uint8", True, 48),
        ("alpha", (1, 1, 4, 4), "float16", False, 32),
    ]


def test_addresses_and_runs_reach_the_context_and_refusals_are_errors(library: Library) -> None:
    plan = loaded(library)
    plan.bind("frame", 512)
    plan.enqueue(7)
    assert library.engine.context.addresses == {"frame": 512}

    broken = loaded(library, works=False)
    with pytest.raises(EngineError, match="refuses the address of frame"):
        broken.bind("frame", 513)
    with pytest.raises(EngineError, match="cannot run the plan"):
        broken.enqueue(7)


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


def test_what_was_compiled_is_kept_beside_the_plan_and_used_again(library: Library, tmp_path: Path) -> None:
    kernels = tmp_path / "toy.plan.kernels"
    for expected in (b"", b"kernel"):
        library.engine = CompilingEngine()

        plan = rtx(library).load(b"plan", kernels=kernels)

        assert library.engine.config.cache.content == expected
        plan.close()
        assert kernels.read_bytes() == b"kernel"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="file modes are POSIX's")
def test_kernels_that_others_could_have_written_are_not_used(library: Library, tmp_path: Path) -> None:
    kernels = tmp_path / "toy.plan.kernels"
    kernels.write_bytes(b"evil")
    kernels.chmod(0o666)
    library.engine = CompilingEngine()

    rtx(library).load(b"plan", kernels=kernels).close()

    assert library.engine.config.cache.content == b""
    assert kernels.read_bytes() == b"kernel"


def test_a_library_that_compiles_nothing_at_load_keeps_nothing(library: Library, tmp_path: Path) -> None:
    library.engine = Engine()

    tensorrt(library).load(b"plan", kernels=tmp_path / "toy.plan.kernels").close()

    assert list(tmp_path.iterdir()) == []


def test_capture_is_tried_where_the_library_cannot_tell(library: Library) -> None:
    plan = loaded(library)
    assert plan.capturable(7)

    library.engine.context.is_stream_capturable = lambda stream: False
    assert not plan.capturable(7)


def test_library_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtmatte.plan.api.find_spec", lambda name: None)
    monkeypatch.setattr("rtmatte.plan.api.sys.modules", {})

    with pytest.raises(BackendMissing, match=r"tensorrt is not installed; pip install 'rtmatte\[tensorrt\]'"):
        check_installed("tensorrt")
    with pytest.raises(BackendMissing, match=r"tensorrt_rtx is not installed; pip install 'rtmatte\[rtx\]'"):
        check_installed("rtx")
