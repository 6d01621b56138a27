"""The fake engine is what other tests lean on: its alpha is the scene's, its gates and states are real."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.backends.fake import BANK, BANK_VALID, FakeEngine, Faults
from rtmatte.clock import ManualClock
from rtmatte.contract import MASK, Gates
from rtmatte.errors import EngineError, InputError, StateConsumed
from rtmatte.sources.synthetic import SyntheticSource
from rtmatte.step import State
from tests.assertions import assert_alpha_but_bytes

SIZE = (160, 96)
Floats = NDArray[np.float32]


@pytest.fixture
def scene() -> SyntheticSource:
    return SyntheticSource(ManualClock(), size=SIZE)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(*SIZE)


def seeded(engine: FakeEngine, scene: SyntheticSource) -> State:
    """Returns the state after a seed with the true alpha of frame 0, in every row."""
    gates = Gates.for_contract(engine.contract)
    for row in range(engine.contract.batch):
        gates.set_seed(row)
    _, state = engine.step(frames(engine, scene, 0), truth(engine, scene, 0), gates, engine.new_state())
    return state


def frames(engine: FakeEngine, scene: SyntheticSource, seq: int) -> NDArray[np.uint8]:
    return np.stack([scene.pixels_of(seq)] * engine.contract.batch)


def truth(engine: FakeEngine, scene: SyntheticSource, seq: int) -> Floats:
    return np.stack([scene.alpha_of(seq)[None]] * engine.contract.batch)


def ordinary(engine: FakeEngine) -> Gates:
    return Gates.for_contract(engine.contract)


def peek(state: State) -> dict[str, Floats]:
    """Returns copies of the present states of a stream."""
    stream = state._buffers
    return {name: tensor.copy() for name, tensor in stream.states[stream.now].items()}


@pytest.mark.parametrize("size", [(64, 48), (160, 96), (96, 160)])
def test_alpha_is_that_of_the_scene(size: tuple[int, int]) -> None:
    scene, engine = SyntheticSource(ManualClock(), size=size), FakeEngine(*size)
    state, gates = seeded(engine, scene), ordinary(engine)
    for seq in range(40):
        gates.clear()
        if seq % 5 == 4:
            gates.set_write(1 + seq // 5 % 2)
        alpha, state = engine.step(frames(engine, scene, seq), None, gates, state)

        assert_alpha_but_bytes(alpha[0, 0], scene.alpha_of(seq))


def test_same_calls_give_the_same_alphas(scene: SyntheticSource) -> None:
    runs = []
    for engine in (FakeEngine(*SIZE), FakeEngine(*SIZE)):
        alpha, _ = engine.step(frames(engine, scene, 3), None, ordinary(engine), seeded(engine, scene))
        runs.append(alpha)

    np.testing.assert_array_equal(runs[0], runs[1])


def test_seed_gives_the_mask_back_and_settle_the_scene(engine: FakeEngine, scene: SyntheticSource) -> None:
    gates, mask = ordinary(engine), (truth(engine, scene, 0) > 0.5).astype(np.float32)
    gates.set_seed()
    alpha, state = engine.step(frames(engine, scene, 0), mask, gates, engine.new_state())
    np.testing.assert_array_equal(alpha, mask)

    gates.set_settle()
    alpha, state = engine.step(frames(engine, scene, 0), None, gates, state)
    assert_alpha_but_bytes(alpha[0, 0], scene.alpha_of(0))


def test_mask_of_minus_one_finds_the_disc_with_the_next_pass(engine: FakeEngine, scene: SyntheticSource) -> None:
    gates, anyone = ordinary(engine), np.full(engine.contract.input(MASK).shape, -1, np.float32)
    gates.set_seed()
    first, state = engine.step(frames(engine, scene, 0), anyone, gates, engine.new_state())
    gates.set_settle()
    second, _ = engine.step(frames(engine, scene, 0), None, gates, state)

    assert not first.any()
    assert_alpha_but_bytes(second[0, 0], scene.alpha_of(0))


def test_mask_of_minus_one_finds_nobody_in_an_empty_room(engine: FakeEngine) -> None:
    gates, anyone = ordinary(engine), np.full(engine.contract.input(MASK).shape, -1, np.float32)
    room = np.full((1, SIZE[1], SIZE[0], 3), 90, np.uint8)
    gates.set_seed()
    _, state = engine.step(room, anyone, gates, engine.new_state())
    gates.set_settle()

    alpha, _ = engine.step(room, None, gates, state)

    assert not alpha.any()


def test_without_a_seed_there_is_nobody(engine: FakeEngine, scene: SyntheticSource) -> None:
    alpha, _ = engine.step(frames(engine, scene, 0), None, ordinary(engine), engine.new_state())

    assert alpha.shape == (1, 1, SIZE[1], SIZE[0])
    assert not alpha.any()


def test_the_disc_under_the_mask_is_followed_not_the_other_one(engine: FakeEngine) -> None:
    pixels, (left, right) = np.full((1, SIZE[1], SIZE[0], 3), 30, np.uint8), (slice(20, 40), slice(120, 140))
    pixels[0, 40:60, left] = pixels[0, 40:60, right] = 220
    mask, gates = np.zeros((1, 1, SIZE[1], SIZE[0]), np.float32), ordinary(engine)
    mask[0, 0, 40:60, right] = 1.0
    gates.set_seed()
    _, state = engine.step(pixels, mask, gates, engine.new_state())

    alpha, _ = engine.step(pixels, None, ordinary(engine), state)

    np.testing.assert_array_equal(alpha, mask)


def test_bank_is_stored_into_as_the_gates_say(engine: FakeEngine, scene: SyntheticSource) -> None:
    state, gates = seeded(engine, scene), ordinary(engine)
    valid = [peek(state)[BANK_VALID][0].tolist()]
    for kind in ("frame", "write 2", "write 1", "settle", "write 0", "seed"):
        gates.clear()
        if kind.startswith("write"):
            gates.set_write(int(kind[-1]))
        elif kind != "frame":
            {"settle": gates.set_settle, "seed": gates.set_seed}[kind]()
        _, state = engine.step(frames(engine, scene, 0), truth(engine, scene, 0), gates, state)
        valid.append(peek(state)[BANK_VALID][0].tolist())

    assert valid == [[1, 0, 0], [1, 0, 0], [1, 0, 1], [1, 1, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]]
    assert [call[0] for call in engine.calls] == ["seed", "frame", "write 2", "write 1", "settle", "write 0", "seed"]


def test_the_bank_is_what_the_alpha_is_made_from(engine: FakeEngine, scene: SyntheticSource) -> None:
    state = seeded(engine, scene)
    stream = state._buffers
    stream.states[stream.now][BANK][0, 0] = 440.0, 0.0

    alpha, _ = engine.step(frames(engine, scene, 0), None, ordinary(engine), state)

    assert alpha.max() < 0.6


def test_rows_do_not_mix(scene: SyntheticSource) -> None:
    engine, gates = FakeEngine(*SIZE, batch=3), Gates.for_contract(FakeEngine(*SIZE, batch=3).contract)
    gates.set_seed(row=1)
    alpha, state = engine.step(frames(engine, scene, 0), truth(engine, scene, 0), gates, engine.new_state())
    assert [bool(row.any()) for row in alpha] == [False, True, False]
    assert engine.calls == [("frame", "seed", "frame")]

    state = engine.poison(state)
    gates.clear()
    gates.set_seed(row=2)
    alpha, state = engine.step(frames(engine, scene, 0), truth(engine, scene, 0), gates, state)
    assert np.isnan(alpha[:2]).all()
    assert_alpha_but_bytes(alpha[2, 0], scene.alpha_of(0))


def test_poison_stays_until_a_seed(engine: FakeEngine, scene: SyntheticSource) -> None:
    state, gates = engine.poison(seeded(engine, scene)), ordinary(engine)
    for kind in (gates.clear, gates.set_settle, lambda: gates.set_write(1)):
        kind()
        alpha, state = engine.step(frames(engine, scene, 0), None, gates, state)
        assert np.isnan(alpha).all()

    gates.set_seed()
    _, state = engine.step(frames(engine, scene, 0), truth(engine, scene, 0), gates, state)
    gates.clear()
    alpha, _ = engine.step(frames(engine, scene, 1), None, gates, state)
    assert_alpha_but_bytes(alpha[0, 0], scene.alpha_of(1))


def test_alpha_is_a_lease_until_the_second_next_step(engine: FakeEngine, scene: SyntheticSource) -> None:
    state, gates = seeded(engine, scene), ordinary(engine)
    first, state = engine.step(frames(engine, scene, 0), None, gates, state)
    kept = first.copy()
    _, state = engine.step(frames(engine, scene, 20), None, gates, state)
    np.testing.assert_array_equal(first, kept)

    third, _ = engine.step(frames(engine, scene, 25), None, gates, state)

    assert third is first


def test_states_are_consumed_and_belong_to_one_engine(engine: FakeEngine, scene: SyntheticSource) -> None:
    state = seeded(engine, scene)
    engine.step(frames(engine, scene, 0), None, ordinary(engine), state)

    with pytest.raises(StateConsumed, match="already used"):
        engine.step(frames(engine, scene, 0), None, ordinary(engine), state)
    with pytest.raises(StateConsumed, match="another engine"):
        engine.step(frames(engine, scene, 0), None, ordinary(engine), FakeEngine(*SIZE).new_state())


def test_faults_come_at_the_calls_they_were_asked_for(scene: SyntheticSource) -> None:
    clock = ManualClock()
    engine = FakeEngine(*SIZE, faults=Faults(fail_at=[2], nan_at=[1], step_seconds=0.25), clock=clock)
    state, gates = seeded(engine, scene), ordinary(engine)

    alpha, state = engine.step(frames(engine, scene, 0), None, gates, state)
    assert np.isnan(alpha).all()
    with pytest.raises(EngineError, match="told to fail at call 2"):
        engine.step(frames(engine, scene, 0), None, gates, state)
    alpha, _ = engine.step(frames(engine, scene, 0), None, gates, seeded(engine, scene))

    assert_alpha_but_bytes(alpha[0, 0], scene.alpha_of(0))
    assert clock.now() == 5 * 0.25


def test_nan_of_a_fault_stays_in_the_state(scene: SyntheticSource) -> None:
    engine = FakeEngine(*SIZE, faults=Faults(nan_at=[0]))

    alpha, _ = engine.step(frames(engine, scene, 0), None, ordinary(engine), seeded(engine, scene))

    assert np.isnan(alpha).all()


def test_wrong_arrays_and_a_closed_engine_are_refused(engine: FakeEngine, scene: SyntheticSource) -> None:
    state, gates = engine.new_state(), ordinary(engine)
    with pytest.raises(InputError, match="expected frame"):
        engine.step(frames(engine, scene, 0).astype(np.float32), None, gates, state)
    gates.set_seed()
    with pytest.raises(InputError, match="mask was expected"):
        engine.step(frames(engine, scene, 0), None, gates, state)

    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.step(frames(engine, scene, 0), None, gates, state)
