"""The engine of plans on a GPU that records: which addresses, in which order, swapped and captured."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.backends.trt import open_trt
from rtmatte.contract import ALPHA, FRAME, MASK, WRITE, Contract, Gates, TensorSpec, after
from rtmatte.cuda import find_gpu
from rtmatte.errors import BackendMissing, ContractError, EngineError, InputError, StateConsumed
from rtmatte.plan.api import PlanTensor
from rtmatte.resident import ResidentEngine, whole
from tests.assertions import assert_equal_but_rounding
from tests.fake_cuda import LINK, FakeDevice, FakePlan
from tests.toy_model import BANK, LAST, ToyInNumpy, toy_contract

Floats = NDArray[np.float32]
SCHEDULE = ("seed", "settle", "frame", "write 1", "frame", "write 2", "frame", "write 1", "seed", "frame", "frame")


@pytest.fixture
def contract() -> Contract:
    return toy_contract()


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


def engine_of(contract: Contract, device: FakeDevice, *roles: str, capturable: bool = True) -> ResidentEngine:
    plans = [FakePlan(contract, device, role=role, capturable=capturable) for role in roles or ("step",)]
    return ResidentEngine(contract, plans, device, backend="recording")


def inputs(contract: Contract, seed: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    frame = rng.uniform(0, 255, contract.input(FRAME).shape).astype(np.float32)
    return frame, rng.uniform(0, 1, contract.input(MASK).shape).astype(np.float32)


def set_gate(gates: Gates, kind: str, row: int) -> None:
    if row == 0:
        gates.clear()
    if kind == "seed":
        gates.set_seed(row)
    elif kind == "settle":
        gates.set_settle(row)
    elif kind.startswith("write"):
        gates.set_write(int(kind.split()[1]), row)


@pytest.mark.parametrize("roles", [("step",), ("head", "tail")])
@pytest.mark.parametrize("capture", ["captured", "refused by the plan", "refused by the driver"])
@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_every_gate_gives_what_the_same_step_in_numpy_gives(roles: tuple[str, ...], capture: str, batch: int) -> None:
    contract = toy_contract(batch=batch)
    device = FakeDevice(capture_fails=capture == "refused by the driver")
    engine = engine_of(contract, device, *roles, capturable=capture != "refused by the plan")
    reference, state, gates = ToyInNumpy(contract), engine.new_state(), Gates.for_contract(contract)
    for number in range(len(SCHEDULE)):
        frame, mask = inputs(contract, number)
        for row in range(batch):
            set_gate(gates, "seed" if number == 0 else SCHEDULE[(number + row) % len(SCHEDULE)], row)

        alpha, state = engine.step(frame, mask if gates.seed.any() else None, gates, state)

        assert_equal_but_rounding(alpha, reference.step(frame, mask, gates))
    assert ("launch" in device.calls) == (capture == "captured")


def test_two_streams_of_one_engine_do_not_mix(contract: Contract, device: FakeDevice) -> None:
    engine, gates = engine_of(contract, device, "head", "tail"), Gates.for_contract(contract)
    references, states = [ToyInNumpy(contract), ToyInNumpy(contract)], [engine.new_state(), engine.new_state()]
    for number, kind in enumerate(SCHEDULE):
        set_gate(gates, kind, 0)
        for stream, reference in enumerate(references):
            frame, mask = inputs(contract, 100 * stream + number)

            alpha, states[stream] = engine.step(frame, mask, gates, states[stream])

            assert_equal_but_rounding(alpha, reference.step(frame, mask, gates))


def seeded(engine: ResidentEngine, steps: int) -> None:
    """Runs a seed and then ordinary frames, `steps` in all."""
    frame, mask = inputs(engine.contract, 0)
    gates, state = Gates.for_contract(engine.contract), engine.new_state()
    gates.set_seed()
    for number in range(steps):
        _, state = engine.step(frame, mask if number == 0 else None, gates, state)
        gates.clear()


def test_state_sets_alternate_and_never_alias(contract: Contract, device: FakeDevice) -> None:
    plan = FakePlan(contract, device, capturable=False)
    engine = ResidentEngine(contract, [plan], device, backend="recording")

    seeded(engine, 4)

    steps = [dict(plan.bound[i : i + len(plan.tensors)]) for i in range(0, len(plan.bound), len(plan.tensors))]
    assert len(steps) == 4
    for now, then in pairwise(steps):
        for state in (BANK, LAST):
            assert now[after(state)] == then[state]
            assert now[state] == then[after(state)]
        assert {now[n] for n in (BANK, LAST)}.isdisjoint(now[after(n)] for n in (BANK, LAST))
        assert now[FRAME] == then[FRAME]


def test_each_turn_runs_plainly_once_and_is_captured_once(contract: Contract, device: FakeDevice) -> None:
    engine = engine_of(contract, device)

    seeded(engine, 8)

    work = [call for call in device.calls if call in ("enqueue step", "capture", "launch")]
    plain, captured = ["enqueue step"], ["capture", "enqueue step", "launch"]
    assert work == plain + plain + captured + captured + ["launch"] * 4


def test_capture_that_fails_is_not_tried_again(contract: Contract) -> None:
    device = FakeDevice(capture_fails=True)

    seeded(engine_of(contract, device, "head", "tail"), 8)

    assert device.calls.count("capture") == 1
    assert "launch" not in device.calls


def test_alpha_of_a_head_is_waited_for_and_its_tail_is_not(contract: Contract, device: FakeDevice) -> None:
    engine = engine_of(contract, device, "head", "tail", capturable=False)
    frame, mask = inputs(contract, 0)
    gates, state = Gates.for_contract(contract), engine.new_state()
    gates.set_seed()
    device.calls.clear()

    engine.step(frame, mask, gates, state)

    assert [call.split()[0] for call in device.calls] == ["upload", "enqueue", "download", "mark", "enqueue", "wait"]
    assert device.calls[1] == "enqueue head"
    assert device.calls[4] == "enqueue tail"


def test_one_copy_goes_up_and_the_mask_only_with_a_seed(contract: Contract, device: FakeDevice) -> None:
    seeded(engine_of(contract, device), 6)

    first, *others = [int(call.split()[1]) for call in device.calls if call.startswith("upload")]
    assert len(others) == 5
    assert set(others) == {others[0]}
    assert first - others[0] >= contract.input(MASK).nbytes > 0
    assert device.calls.count("download") == 4, "two plain runs, and one for each capture"


def test_no_memory_is_made_per_frame(contract: Contract, device: FakeDevice) -> None:
    engine, gates = engine_of(contract, device, "head", "tail"), Gates.for_contract(contract)
    frame, mask = inputs(contract, 0)
    state = engine.new_state()
    made = device.allocations
    for _ in range(6):
        _, state = engine.step(frame, mask, gates, state)

    assert device.allocations == made


def test_an_alpha_lasts_until_the_second_next_step(contract: Contract, device: FakeDevice) -> None:
    engine, gates = engine_of(contract, device), Gates.for_contract(contract)
    state = engine.new_state()
    alphas, kept = [], []
    for number in range(3):
        frame, _ = inputs(contract, number)
        alpha, state = engine.step(frame, None, gates, state)
        alphas.append(alpha)
        kept.append(alpha.copy())
        if number:
            np.testing.assert_array_equal(alphas[number - 1], kept[number - 1])

    assert np.shares_memory(alphas[2], alphas[0])
    assert not np.shares_memory(alphas[1], alphas[0])


def test_state_holds_twice_its_bytes_and_goes_with_its_stream(contract: Contract, device: FakeDevice) -> None:
    engine = engine_of(contract, device)
    stream = engine.new_state().take(engine)
    memory = weakref.ref(stream.memory)

    nbytes = stream.memory.nbytes
    del stream
    gc.collect()

    assert nbytes >= 2 * contract.state_bytes
    assert memory() is None


def test_consumed_and_foreign_states_are_refused(contract: Contract, device: FakeDevice) -> None:
    engine, other = engine_of(contract, device), engine_of(contract, device)
    frame, mask = inputs(contract, 0)
    gates, state = Gates.for_contract(contract), engine.new_state()
    engine.step(frame, mask, gates, state)

    with pytest.raises(StateConsumed, match="already used"):
        engine.step(frame, mask, gates, state)
    with pytest.raises(StateConsumed, match="another engine"):
        other.step(frame, mask, gates, engine.new_state())


def test_wrong_arrays_are_refused_and_leave_the_state_usable(contract: Contract, device: FakeDevice) -> None:
    engine, gates = engine_of(contract, device), Gates.for_contract(contract)
    frame, mask = inputs(contract, 0)
    state = engine.new_state()

    with pytest.raises(InputError, match="expected frame"):
        engine.step(frame[:, :4], mask, gates, state)
    engine.step(frame, mask, gates, state)


def test_failing_run_is_an_engine_error_and_costs_the_state(contract: Contract, device: FakeDevice) -> None:
    plan = FakePlan(contract, device)
    plan.fail_at = 1
    engine = ResidentEngine(contract, [plan], device, backend="recording")
    frame, mask = inputs(contract, 0)
    gates, state = Gates.for_contract(contract), engine.new_state()

    with pytest.raises(EngineError, match=r"recording failed in a step \(told to fail\); start the stream over"):
        engine.step(frame, mask, gates, state)
    with pytest.raises(StateConsumed):
        engine.step(frame, mask, gates, state)


def test_closed_engine_refuses_and_closes_once(contract: Contract, device: FakeDevice) -> None:
    plan = FakePlan(contract, device)
    engine = ResidentEngine(contract, [plan], device, backend="recording")
    frame, mask = inputs(contract, 0)
    state = engine.new_state()
    engine.close()
    engine.close()

    assert device.calls.count("close") == 1
    assert plan.closed
    with pytest.raises(EngineError, match="closed"):
        engine.step(frame, mask, Gates.for_contract(contract), state)
    with pytest.raises(EngineError, match="closed"):
        engine.new_state()


def changed(plan: FakePlan, name: str, tensor: PlanTensor | None) -> FakePlan:
    """Returns the plan with the tensor `name` replaced, or without it."""
    del plan.tensors[name]
    if tensor:
        plan.tensors[tensor.name] = tensor
    return plan


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        (ALPHA, None, "gives no alpha"),
        (after(LAST), None, "gives no last_next"),
        (
            FRAME,
            PlanTensor(FRAME, (1, 8, 16, 3), "uint8", True),
            r"expected frame \[1, 8, 16, 3\] float32, found .* uint8",
        ),
        (
            BANK,
            PlanTensor(BANK, (1, 2, 8, 16), "float32", True),
            r"expected bank \[1, 3, 8, 16\] .*found \[1, 2, 8, 16\]",
        ),
        (BANK, PlanTensor("stranger", (1,), "float32", True), "takes stranger, which its contract does not name"),
    ],
)
def test_plan_that_is_not_the_contracts_is_refused(
    name: str, tensor: PlanTensor | None, reason: str, contract: Contract, device: FakeDevice
) -> None:
    plan = changed(FakePlan(contract, device), name, tensor)

    with pytest.raises(ContractError, match=reason):
        ResidentEngine(contract, [plan], device, backend="recording")


def test_tail_whose_link_no_head_gives_is_refused(contract: Contract, device: FakeDevice) -> None:
    head = changed(FakePlan(contract, device, role="head"), LINK, None)

    with pytest.raises(ContractError, match=f"takes {LINK}"):
        ResidentEngine(contract, [head, FakePlan(contract, device, role="tail")], device, backend="recording")


def test_tail_before_its_head_is_refused(contract: Contract, device: FakeDevice) -> None:
    plans = [FakePlan(contract, device, role=role) for role in ("tail", "head")]

    with pytest.raises(ContractError):
        ResidentEngine(contract, plans, device, backend="recording")


def test_contract_of_a_head_becomes_that_of_the_whole_step(contract: Contract) -> None:
    link = TensorSpec(LINK, contract.input(MASK).shape)
    head = replace(
        contract,
        role="head",
        inputs=tuple(spec for spec in contract.inputs if spec.name != WRITE),
        outputs=(*contract.outputs, link),
    )

    assert whole(head) == contract
    assert whole(contract) is contract


def test_without_a_gpu_the_error_says_what_to_install() -> None:
    try:
        find_gpu()
    except BackendMissing:
        with pytest.raises(BackendMissing, match=r"nvidia\.com/drivers|rtmatte\[rtx\]|nvidia-smi|macOS"):
            open_trt(Path("lite.onnx"), "rtx")
    else:
        pytest.skip("there is a GPU here")
