"""The engine of a device on a GPU that records: which addresses, in which order, swapped and captured."""

from __future__ import annotations

import gc
import weakref
from itertools import pairwise

import numpy as np
import pytest

from rtmatte.contract import FRAME, MASK, Contract, Gates, after
from rtmatte.resident import ResidentEngine
from tests.assertions import assert_equal_but_rounding
from tests.fake_cuda import FakeDevice, FakePlan, engine_of
from tests.toy_model import BANK, LAST, ToyInNumpy, gates_of, set_gate, toy_contract, toy_inputs

SCHEDULE = ("seed", "settle", "frame", "write 1", "frame", "write 2", "frame", "write 1", "seed", "frame", "frame")


@pytest.mark.parametrize("roles", [("step",), ("head", "tail")])
@pytest.mark.parametrize("capture", ["captured", "refused by the plan", "refused by the driver"])
@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_every_gate_gives_what_the_same_step_in_numpy_gives(roles: tuple[str, ...], capture: str, batch: int) -> None:
    contract = toy_contract(batch=batch)
    device = FakeDevice(capture_fails=capture == "refused by the driver")
    engine = engine_of(contract, device, *roles, capturable=capture != "refused by the plan")
    reference, state, gates = ToyInNumpy(contract), engine.new_state(), Gates.for_contract(contract)
    for number in range(len(SCHEDULE)):
        frame, mask = toy_inputs(contract, number)
        gates.clear()
        for row in range(batch):
            set_gate(gates, "seed" if number == 0 else SCHEDULE[(number + row) % len(SCHEDULE)], row)

        alpha, state = engine.step(frame, mask if gates.seed.any() else None, gates, state)

        assert_equal_but_rounding(alpha, reference.step(frame, mask, gates))
    assert ("launch" in device.calls) == (capture == "captured")


def test_two_streams_of_one_engine_do_not_mix(contract: Contract, device: FakeDevice) -> None:
    engine = engine_of(contract, device, "head", "tail")
    references, states = [ToyInNumpy(contract), ToyInNumpy(contract)], [engine.new_state(), engine.new_state()]
    for number, kind in enumerate(SCHEDULE):
        gates = gates_of(contract, kind)
        for stream, reference in enumerate(references):
            frame, mask = toy_inputs(contract, 100 * stream + number)

            alpha, states[stream] = engine.step(frame, mask, gates, states[stream])

            assert_equal_but_rounding(alpha, reference.step(frame, mask, gates))


def seeded(engine: ResidentEngine, steps: int) -> None:
    """Runs a seed and then ordinary frames, `steps` in all."""
    frame, mask = toy_inputs(engine.contract, 0)
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
    frame, mask = toy_inputs(contract, 0)
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
    frame, mask = toy_inputs(contract, 0)
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
        frame, _ = toy_inputs(contract, number)
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
