"""Who each target proposes, and when it would rather not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.backends.fake import FakeEngine
from rtmatte.clock import ManualClock
from rtmatte.contract import ALPHA, FRAME, Contract, Gates, TensorSpec
from rtmatte.errors import ContractError, MaskError
from rtmatte.frame import Frame, Mask
from rtmatte.step import State
from rtmatte.targets.mask import MaskTarget
from rtmatte.targets.person import PersonTarget
from rtmatte.targets.steady import AGREEMENT, APART, KEPT, RETRY, SteadyGate

WIDTH, HEIGHT = 64, 36


def disc(width: int, height: int, radius: float, *, shift: float = 0.0) -> NDArray[np.bool_]:
    y, x = np.ogrid[0:height, 0:width]
    inside: NDArray[np.bool_] = (x - width / 2 - shift) ** 2 + (y - height / 2) ** 2 < radius**2
    return inside


def frame(radius: float, *, scale: int = 1) -> Frame:
    pixels = np.full((HEIGHT * scale, WIDTH * scale, 3), 20, np.uint8)
    pixels[disc(WIDTH * scale, HEIGHT * scale, radius * scale)] = 220
    return Frame(0, pixels, captured_at=0.0)


class Answers:
    """An engine whose alpha is always the same; it keeps the masks and gates it was given."""

    backend = "answers"

    def __init__(self, alpha: NDArray[np.float32] | NDArray[np.uint8]) -> None:
        self.contract = FakeEngine(alpha.shape[1], alpha.shape[0]).contract
        self.seeds: list[float] = []
        self.masks: list[float] = []
        self._alpha = alpha[None, None]

    def new_state(self) -> State:
        return State(self, None)

    def step(
        self, frame: NDArray[np.uint8], mask: NDArray[np.float32] | None, gates: Gates, state: State
    ) -> tuple[NDArray[np.float32] | NDArray[np.uint8], State]:
        state.take(self)
        self.seeds.append(float(gates.seed[0, 0]))
        self.masks.append(0.0 if mask is None else float(mask.max()))
        return self._alpha, State(self, None)

    def close(self) -> None:
        pass


class Looks:
    """A target that answers from a list."""

    name = "looks"

    def __init__(self, *answers: Mask | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    def propose(self, frame: Frame) -> Mask | None:
        self.asked += 1
        return self.answers.pop(0)


def mask(shift: float = 0.0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Mask:
    return Mask(disc(*size, radius=10, shift=shift).astype(np.float32))


# The mask target.


def test_a_mask_is_proposed_for_the_first_frame_only() -> None:
    target = MaskTarget(mask())

    assert target.propose(frame(9)) is not None
    assert target.propose(frame(9)) is None


@pytest.mark.parametrize("level", [0.0, 1 / 255, 0.4, float("nan")])
def test_a_mask_that_marks_nobody_is_refused(level: float) -> None:
    with pytest.raises(MaskError, match="white"):
        MaskTarget(Mask(np.full((4, 4), level, np.float32)))


# The person target.


def test_the_person_in_the_middle_is_proposed_at_the_frames_size() -> None:
    target = PersonTarget(FakeEngine(WIDTH, HEIGHT))

    proposal = target.propose(frame(9, scale=4))

    assert proposal is not None
    assert proposal.size == (4 * WIDTH, 4 * HEIGHT)
    assert np.abs(proposal.values - disc(4 * WIDTH, 4 * HEIGHT, 36)).mean() < 0.02


def test_every_proposal_is_a_new_seed_with_the_models_own_warm_up() -> None:
    engine = FakeEngine(WIDTH, HEIGHT)
    target = PersonTarget(engine)

    first, nobody, again = target.propose(frame(9)), target.propose(frame(0)), target.propose(frame(5))

    assert first is not None
    assert nobody is None
    assert again is not None
    assert again.area < first.area / 2
    assert engine.calls == [("seed",), ("settle",), ("settle",)] * 3


def test_the_network_is_asked_with_a_mask_of_minus_one() -> None:
    engine = Answers(np.zeros((HEIGHT, WIDTH), np.float32))

    PersonTarget(engine).propose(frame(9))

    assert engine.seeds == [1.0, 0.0, 0.0]
    assert engine.masks[0] == -1.0


def test_a_proposal_is_the_callers_own() -> None:
    alpha = disc(WIDTH, HEIGHT, 9).astype(np.float32)

    proposal = PersonTarget(Answers(alpha)).propose(frame(9))
    alpha.fill(0.0)

    assert proposal is not None
    assert proposal.area > 0.05


def test_an_alpha_of_bytes_is_read_as_0_to_1() -> None:
    alpha = disc(WIDTH, HEIGHT, 9).astype(np.uint8) * np.uint8(255)

    proposal = PersonTarget(Answers(alpha)).propose(frame(9))

    assert proposal is not None
    np.testing.assert_array_equal(proposal.values, disc(WIDTH, HEIGHT, 9))


@pytest.mark.parametrize(
    "alpha",
    [
        pytest.param(disc(WIDTH, HEIGHT, 2).astype(np.float32), id="a speck"),
        pytest.param(np.full((HEIGHT, WIDTH), 0.99, np.float32), id="everything"),
        pytest.param(np.full((HEIGHT, WIDTH), 0.45, np.float32), id="a haze"),
        pytest.param(np.full((HEIGHT, WIDTH), 0.05, np.float32), id="a trace"),
        pytest.param(0.6 * disc(WIDTH, HEIGHT, 9).astype(np.float32), id="a guess"),
        pytest.param(np.full((HEIGHT, WIDTH), np.nan, np.float32), id="nonsense"),
    ],
)
def test_what_is_not_clearly_a_person_is_nobody(alpha: NDArray[np.float32]) -> None:
    assert PersonTarget(Answers(alpha)).propose(frame(9)) is None


def test_a_model_without_a_mask_cannot_find_a_person() -> None:
    engine = FakeEngine(WIDTH, HEIGHT)
    engine.contract = Contract(
        model="stateless",
        role="step",
        inputs=(TensorSpec(FRAME, (1, HEIGHT, WIDTH, 3), "uint8"),),
        states=(),
        outputs=(TensorSpec(ALPHA, (1, 1, HEIGHT, WIDTH)),),
    )

    with pytest.raises(ContractError, match="stateless"):
        PersonTarget(engine)


# The steady gate.


def test_two_looks_a_second_apart_that_agree_pass() -> None:
    clock = ManualClock()
    target = Looks(mask(), mask(shift=1))
    gate = SteadyGate(target, clock)

    first = gate.propose(frame(9))
    clock.advance(APART / 2)
    early = gate.propose(frame(9))
    clock.advance(APART / 2)
    second = gate.propose(frame(9))

    assert first is None
    assert early is None
    assert second is not None
    np.testing.assert_array_equal(second.values, mask(shift=1).values)
    assert target.asked == 2
    assert gate.name == "looks"


def test_a_person_who_moves_on_between_looks_is_waited_for() -> None:
    clock = ManualClock()
    gate = SteadyGate(Looks(mask(), mask(shift=6), mask(shift=12), mask(shift=12)), clock)

    passed = []
    for _ in range(4):
        passed.append(gate.propose(frame(9)) is not None)
        clock.advance(APART)

    assert passed == [False, False, False, True]


def test_an_empty_look_between_starts_again_and_is_repeated_soon() -> None:
    clock = ManualClock()
    gate = SteadyGate(Looks(mask(), None, mask(), mask()), clock)

    passed = []
    for wait in (APART, RETRY, APART, 0.0):
        passed.append(gate.propose(frame(9)) is not None)
        clock.advance(wait)

    assert passed == [False, False, False, True]


def test_somebody_who_swings_between_two_poses_is_found() -> None:
    clock = ManualClock()
    gate = SteadyGate(Looks(mask(), mask(shift=6), mask()), clock)

    passed = []
    for _ in range(3):
        passed.append(gate.propose(frame(9)) is not None)
        clock.advance(APART)

    assert passed == [False, False, True]


@pytest.mark.parametrize(("looks", "agrees"), [(KEPT - 1, True), (KEPT, False)])
def test_a_look_of_long_ago_agrees_with_none(looks: int, agrees: bool) -> None:
    clock = ManualClock()
    gate = SteadyGate(Looks(mask(), *(mask(shift=6 * n) for n in range(1, looks + 1)), mask()), clock)

    for _ in range(looks + 1):
        assert gate.propose(frame(9)) is None
        clock.advance(APART)

    assert (gate.propose(frame(9)) is not None) is agrees


def test_a_look_from_before_a_pause_agrees_with_none() -> None:
    clock = ManualClock()
    gate = SteadyGate(Looks(mask(), mask()), clock)
    gate.propose(frame(9))

    clock.advance((KEPT + 1) * APART)

    assert gate.propose(frame(9)) is None


def test_after_passing_the_gate_wants_two_looks_again() -> None:
    clock = ManualClock()
    gate = SteadyGate(Looks(mask(), mask(), mask(), mask()), clock)

    passed = []
    for _ in range(4):
        passed.append(gate.propose(frame(9)) is not None)
        clock.advance(APART)

    assert passed == [False, True, False, True]


def test_looks_of_different_sizes_do_not_agree() -> None:
    clock = ManualClock()
    gate = SteadyGate(Looks(mask(), mask(size=(32, 18))), clock)

    gate.propose(frame(9))
    clock.advance(APART)

    assert gate.propose(frame(9)) is None


def test_the_agreement_asked_for_is_four_fifths() -> None:
    half = np.zeros((10, 10), np.float32)
    half[:5] = 1.0
    more = np.zeros((10, 10), np.float32)
    for rows, expected in ((6, True), (7, False)):  # 5/6 and 5/7 of overlap, on either side of AGREEMENT
        more[:rows] = 1.0
        clock = ManualClock()
        gate = SteadyGate(Looks(Mask(half), Mask(more.copy())), clock)
        gate.propose(frame(9))
        clock.advance(APART)

        assert (gate.propose(frame(9)) is not None) is expected
    assert 5 / 7 < AGREEMENT < 5 / 6
