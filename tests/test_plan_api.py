"""The adapter of both TensorRTs against a recording one: what it asks for, what it reports, what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmatte.errors import BackendError, BackendMissing, EngineError, InputError
from rtmatte.plan.api import Api, LoadedPlan, check_installed
from tests.fake_tensorrt import BuilderFlag, CompilingEngine, ComputeCapability, Engine, Library, Severity
from tests.plans import posix


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


def test_what_was_compiled_is_kept_beside_the_plan_and_used_again(library: Library, tmp_path: Path) -> None:
    kernels = tmp_path / "toy.plan.kernels"
    for expected in (b"", b"kernel"):
        library.engine = CompilingEngine()

        plan = rtx(library).load(b"plan", kernels=kernels)

        assert library.engine.config.cache.content == expected
        plan.close()
        assert kernels.read_bytes() == b"kernel"


@posix
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
