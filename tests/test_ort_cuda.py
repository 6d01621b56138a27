"""ONNX Runtime on a GPU that only records: what it is opened with, bound to and told, and what a stream gets of it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from rtmatte.backends.ort_cuda import PLUGIN, open_ort_cuda, open_ort_rtx, resident, with_cuda, with_plugin
from rtmatte.contract import Contract, Gates
from rtmatte.errors import BackendError, BackendMissing, ContractError
from rtmatte.plan.api import PlanTensor
from tests.assertions import assert_equal_but_rounding
from tests.fake_cuda import FakeDevice, FakePlan
from tests.toy_model import ToyInNumpy, save_toy, set_gate, toy_contract, toy_inputs

KINDS = {"float32": "tensor(float)", "float16": "tensor(float16)", "uint8": "tensor(uint8)"}
TOLD = ("gpu_graph_id", "disable_synchronize_execution_providers")
SCHEDULE = ("seed", "settle", "frame", "write 1", "frame", "frame", "write 2", "frame", "seed", "frame")


class Node:
    """One input or output of a session."""

    def __init__(self, tensor: PlanTensor) -> None:
        self.name, self.shape, self.type = tensor.name, list(tensor.shape), KINDS[tensor.dtype]


class Binding:
    """What a session's tensors are bound to, by name."""

    def __init__(self) -> None:
        self.addresses: dict[str, int] = {}

    def bind_input(self, name: str, kind: str, device: int, dtype: Any, shape: tuple[int, ...], address: int) -> None:
        assert (kind, device) == ("cuda", 0)
        self.addresses[name] = address

    bind_output = bind_input


class Runtime:
    """ONNX Runtime with one session at a time; `settings` are those of every session that was asked for."""

    def __init__(self, contract: Contract, device: FakeDevice) -> None:
        self.plan = FakePlan(contract, device)
        self.device = device
        self.settings: list[dict[str, str]] = []
        self.refusals: list[str] = []  # the values of enable_cuda_graph that are refused
        self.fallen_back = False
        self.bindings: list[Binding] = []
        self.told: list[dict[str, str]] = []

    def session(self, path: str, options: Any, providers: list[tuple[str, dict[str, str]]]) -> Runtime:
        (_, settings), *_ = providers
        self.settings.append(settings)
        if settings["enable_cuda_graph"] in self.refusals:
            raise RuntimeError("CUDA failure 35: driver too old\nand a stack trace")
        return self

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider" if self.fallen_back else "CUDAExecutionProvider"]

    def disable_fallback(self) -> None: ...

    def get_inputs(self) -> list[Node]:
        return [Node(tensor) for tensor in self.plan.tensors.values() if tensor.taken]

    def get_outputs(self) -> list[Node]:
        return [Node(tensor) for tensor in self.plan.tensors.values() if not tensor.taken]

    def io_binding(self) -> Binding:
        self.bindings.append(Binding())
        return self.bindings[-1]

    def run_with_iobinding(self, binding: Binding, options: Any) -> None:
        told = {
            key: options.get_run_config_entry(key)
            for key in ("gpu_graph_id", "disable_synchronize_execution_providers")
        }
        self.told.append(told)
        for name, address in binding.addresses.items():
            self.plan.bind(name, address)
        self.plan.enqueue(self.device.stream)


@pytest.fixture
def runtime(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """Puts a recording ONNX Runtime in the place of the real one."""
    fake = Runtime(contract, FakeDevice())
    monkeypatch.setattr(onnxruntime, "InferenceSession", fake.session)
    return fake


@pytest.fixture
def toy(contract: Contract, tmp_path: Path) -> Path:
    return save_toy(tmp_path / "toy.onnx", contract)


def test_every_gate_gives_what_the_same_step_in_numpy_gives(contract: Contract, runtime: Runtime, toy: Path) -> None:
    engine = resident((toy,), runtime.device, with_cuda, backend="recording")
    reference, state, gates = ToyInNumpy(contract), engine.new_state(), Gates.for_contract(contract)

    for number, kind in enumerate(SCHEDULE):
        frame, mask = toy_inputs(contract, number)
        gates.clear()
        set_gate(gates, kind, 0)
        alpha, state = engine.step(frame, mask if kind == "seed" else None, gates, state)
        assert_equal_but_rounding(alpha, reference.step(frame, mask, gates))


def test_work_goes_on_our_stream_and_graphs_are_captured_where_they_can_be(runtime: Runtime, toy: Path) -> None:
    resident((toy,), runtime.device, with_cuda, backend="recording")
    assert [each["enable_cuda_graph"] for each in runtime.settings] == ["1"]

    runtime.refusals = ["1"]
    resident((toy,), runtime.device, with_cuda, backend="recording")

    assert [each["enable_cuda_graph"] for each in runtime.settings] == ["1", "1", "0"]
    assert {each["user_compute_stream"] for each in runtime.settings} == {str(runtime.device.stream)}


def test_each_set_of_addresses_is_bound_once_and_has_a_graph_of_its_own(
    contract: Contract, runtime: Runtime, toy: Path
) -> None:
    engine = resident((toy,), runtime.device, with_cuda, backend="recording")
    gates = Gates.for_contract(contract)
    gates.set_seed()
    for _ in range(2):  # two streams
        state = engine.new_state()
        for number in range(4):
            frame, mask = toy_inputs(contract, number)
            _, state = engine.step(frame, mask, gates, state)

    assert len(runtime.bindings) == 4  # two directions each
    assert [each["gpu_graph_id"] for each in runtime.told] == ["1", "2", "1", "2", "3", "4", "3", "4"]
    assert {each["disable_synchronize_execution_providers"] for each in runtime.told} == {"1"}


@pytest.mark.parametrize(
    ("refusals", "fallen_back", "sentence"),
    [(["1", "0"], False, r"on cuda \(CUDA failure 35: .* old\)$"), ([], True, "no usable CUDA device")],
)
def test_gpu_that_does_not_work_is_an_error_and_no_silent_cpu_run(
    refusals: list[str], fallen_back: bool, sentence: str, runtime: Runtime, toy: Path
) -> None:
    runtime.refusals, runtime.fallen_back = refusals, fallen_back

    with pytest.raises(BackendError, match=sentence):
        resident((toy,), runtime.device, with_cuda, backend="recording")


def test_a_graph_that_is_not_its_contracts_is_refused(runtime: Runtime, tmp_path: Path) -> None:
    other = save_toy(tmp_path / "other.onnx", toy_contract(32, 16))

    with pytest.raises(ContractError, match="the plan: expected"):
        resident((other,), runtime.device, with_cuda, backend="recording")


def test_runtime_without_cuda_is_named_with_what_to_install(toy: Path) -> None:
    with pytest.raises(BackendMissing, match=r"CUDAExecutionProvider.*rtmatte\[gpu\]"):
        open_ort_cuda(toy)


class Plugin:
    """NVIDIA's provider plugin, as far as it is called; `registered` are the libraries ONNX Runtime was given."""

    def __init__(self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, *, gpus: int) -> None:
        self.registered: list[str] = []
        self.given: list[dict[str, str]] = []
        self._gpus = gpus
        monkeypatch.setattr(onnxruntime, "register_execution_provider_library", lambda _, path: self._register(path))
        monkeypatch.setattr(onnxruntime, "get_ep_devices", self._devices)
        monkeypatch.setattr(onnxruntime, "SessionOptions", lambda: SimpleNamespace(add_provider_for_devices=self._add))
        monkeypatch.setattr(onnxruntime, "InferenceSession", lambda path, options: runtime)

    def get_ep_name(self) -> str:
        return "RTX"

    def get_library_path(self) -> str:
        return "librtx.so"

    def _register(self, path: str) -> None:
        self.registered.append(path)

    def _devices(self) -> list[SimpleNamespace]:
        found = [SimpleNamespace(ep_name="RTX")] * (self._gpus if self.registered else 0)
        return [SimpleNamespace(ep_name="CPUExecutionProvider"), *found]

    def _add(self, devices: list[SimpleNamespace], settings: dict[str, str]) -> None:
        assert [device.ep_name for device in devices] == ["RTX"]
        self.given.append(settings)


def test_the_plugin_is_registered_once_and_runs_on_our_stream(
    contract: Contract, runtime: Runtime, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = Plugin(runtime, monkeypatch, gpus=2)
    for _ in range(2):
        engine = resident((toy,), runtime.device, with_plugin(plugin), backend="recording")
    gates = Gates.for_contract(contract)
    gates.set_seed()
    frame, mask = toy_inputs(contract, 0)

    alpha, _ = engine.step(frame, mask, gates, engine.new_state())

    assert_equal_but_rounding(alpha, ToyInNumpy(contract).step(frame, mask, gates))
    assert plugin.registered == ["librtx.so"]
    stream = {"has_user_compute_stream": "1", "user_compute_stream": str(runtime.device.stream)}
    assert plugin.given == [stream | {"enable_cuda_graph": "0"}] * 2


def test_a_plugin_that_finds_no_gpu_is_an_error(runtime: Runtime, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = Plugin(runtime, monkeypatch, gpus=0)

    with pytest.raises(BackendError, match="RTX finds no GPU"):
        resident((toy,), runtime.device, with_plugin(plugin), backend="recording")


def test_a_plugin_that_is_not_installed_is_named_with_what_to_install(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, PLUGIN, None)

    with pytest.raises(BackendMissing, match="pip install onnxruntime-ep-nv-tensorrt-rtx-cu13"):
        open_ort_rtx(toy)
