"""What the engine of a device refuses: states, arrays and plans that are not its own, and what a failure costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtmatte.contract import ALPHA, FRAME, MASK, WRITE, Contract, Gates, TensorSpec, after
from rtmatte.errors import ContractError, EngineError, InputError, StateConsumed
from rtmatte.plan.api import PlanTensor
from rtmatte.resident import ResidentEngine, whole
from tests.fake_cuda import LINK, FakeDevice, FakePlan, engine_of
from tests.toy_model import BANK, LAST, toy_inputs


def test_consumed_and_foreign_states_are_refused(contract: Contract, device: FakeDevice) -> None:
    engine, other = engine_of(contract, device), engine_of(contract, device)
    frame, mask = toy_inputs(contract, 0)
    gates, state = Gates.for_contract(contract), engine.new_state()
    engine.step(frame, mask, gates, state)

    with pytest.raises(StateConsumed, match="already used"):
        engine.step(frame, mask, gates, state)
    with pytest.raises(StateConsumed, match="another engine"):
        other.step(frame, mask, gates, engine.new_state())


def test_wrong_arrays_are_refused_and_leave_the_state_usable(contract: Contract, device: FakeDevice) -> None:
    engine, gates = engine_of(contract, device), Gates.for_contract(contract)
    frame, mask = toy_inputs(contract, 0)
    state = engine.new_state()

    with pytest.raises(InputError, match="expected frame"):
        engine.step(frame[:, :4], mask, gates, state)
    engine.step(frame, mask, gates, state)


def test_failing_run_is_an_engine_error_and_costs_the_state(contract: Contract, device: FakeDevice) -> None:
    plan = FakePlan(contract, device)
    plan.fail_at = 1
    engine = ResidentEngine(contract, [plan], device, backend="recording")
    frame, mask = toy_inputs(contract, 0)
    gates, state = Gates.for_contract(contract), engine.new_state()

    with pytest.raises(EngineError, match=r"recording failed in a step \(told to fail\); start the stream over"):
        engine.step(frame, mask, gates, state)
    with pytest.raises(StateConsumed):
        engine.step(frame, mask, gates, state)


def test_closed_engine_refuses_and_closes_once(contract: Contract, device: FakeDevice) -> None:
    plan = FakePlan(contract, device)
    engine = ResidentEngine(contract, [plan], device, backend="recording")
    frame, mask = toy_inputs(contract, 0)
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
