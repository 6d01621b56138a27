"""Several targets in one session: a row each, of one call or of a call each, and nothing in common but the frame."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtmatte.backends.fake import FakeEngine, Faults
from rtmatte.clock import ManualClock
from rtmatte.contract import Gates
from rtmatte.errors import ContractError, EngineError
from rtmatte.frame import Alpha, Frame, Mask, Matte, Phase
from rtmatte.session import Session, SessionOptions
from rtmatte.step import State
from rtmatte.targets import Target
from rtmatte.targets.mask import MaskTarget

WIDTH, HEIGHT = 96, 36
PLACES = (20, 66)  # where the two discs are in the first frame; both move a pixel a frame


def disc(who: int, seq: int) -> NDArray[np.bool_]:
    y, x = np.ogrid[0:HEIGHT, 0:WIDTH]
    inside: NDArray[np.bool_] = (x - PLACES[who] - seq) ** 2 + (y - HEIGHT / 2) ** 2 < 64
    return inside


def frame(seq: int) -> Frame:
    pixels = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    pixels[disc(0, seq) | disc(1, seq)] = 220
    return Frame(seq, pixels, captured_at=seq / 10)


def target(who: int) -> MaskTarget:
    return MaskTarget(Mask(disc(who, 0).astype(np.float32)))


class Late:
    """A target that knows its mask from a certain frame on."""

    name = "late"

    def __init__(self, who: int, begin: int) -> None:
        self._who, self._begin = who, begin

    def propose(self, frame: Frame) -> Mask | None:
        return Mask(disc(self._who, frame.seq).astype(np.float32)) if frame.seq >= self._begin else None


class Spoilt(FakeEngine):
    """Answers NaN in some calls for some rows: `bad` is the numbers of the calls of each row."""

    def __init__(self, bad: Mapping[int, Collection[int]]) -> None:
        super().__init__(WIDTH, HEIGHT, batch=2)
        self._bad = bad

    def step(self, frame: NDArray[Any], mask: Alpha | None, gates: Gates, state: State) -> tuple[NDArray[Any], State]:
        number = len(self.calls)
        alpha, after = super().step(frame, mask, gates, state)
        alpha = alpha.copy()
        for row, calls in self._bad.items():
            if number in calls:
                alpha[row] = np.nan
        return alpha, after


def mattes(
    engine: FakeEngine, targets: Sequence[Target], count: int, options: SessionOptions = SessionOptions()
) -> list[Matte]:
    """Returns the mattes of a run, in memory of their own."""
    session = Session(engine, targets, ManualClock(), options)
    return [_kept(session.process(frame(seq))) for seq in range(count)]


def _kept(matte: Matte) -> Matte:
    alphas = tuple(None if alpha is None else alpha.copy() for alpha in matte.alphas)
    return Matte(matte.frame, None if matte.alpha is None else matte.alpha.copy(), matte.phase, alphas)


def alone(who: int, count: int, options: SessionOptions = SessionOptions()) -> list[Alpha | None]:
    return [matte.alpha for matte in mattes(FakeEngine(WIDTH, HEIGHT), [target(who)], count, options)]


def assert_same(found: Sequence[Alpha | None], expected: Sequence[Alpha | None]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("options", [SessionOptions(), SessionOptions(passes_per_frame=1)])
def test_each_target_has_the_alpha_it_would_have_alone(batch: int, options: SessionOptions) -> None:
    found = mattes(FakeEngine(WIDTH, HEIGHT, batch=batch), [target(0), target(1)], 12, options)

    for who in range(2):
        assert_same([matte.alphas[who] for matte in found], alone(who, 12, options))


def test_the_alpha_is_the_greatest_of_them() -> None:
    last = mattes(FakeEngine(WIDTH, HEIGHT, batch=2), [target(0), target(1)], 3)[-1]

    assert last.alpha is not None
    assert last.phase is Phase.TRACKING
    np.testing.assert_allclose(last.alpha, disc(0, 2) | disc(1, 2), atol=0.1)


def test_rows_of_a_batch_share_every_call() -> None:
    engine = FakeEngine(WIDTH, HEIGHT, batch=2)

    mattes(engine, [target(0), target(1)], 3, SessionOptions(warmup=1))

    assert engine.calls == [(kind, kind) for kind in ("seed", "settle", "settle", "frame", "frame")]


def test_a_model_of_one_row_is_called_for_each_target() -> None:
    engine = FakeEngine(WIDTH, HEIGHT)

    mattes(engine, [target(0), target(1)], 2, SessionOptions(warmup=0))

    assert engine.calls == [(kind,) for kind in ("seed", "settle", "seed", "settle", "frame", "frame")]


def test_a_target_that_comes_late_gets_one_pass_a_frame_and_the_other_sees_each_frame_once() -> None:
    engine = FakeEngine(WIDTH, HEIGHT, batch=2)

    found = mattes(engine, [target(0), Late(1, begin=3)], 8, SessionOptions(warmup=1, write_every=4))

    assert [calls[0] for calls in engine.calls[:7]] == [
        "seed",
        "settle",
        "settle",
        "frame",
        "frame",
        "frame",
        "write 1",
    ]
    assert [calls[1] for calls in engine.calls[5:]] == ["seed", "settle", "settle", "frame", "frame"]
    assert [matte.alphas[1] is None for matte in found] == [True] * 6 + [False] * 2
    assert_same([matte.alphas[0] for matte in found], alone(0, 8, SessionOptions(write_every=4)))


def test_nonsense_in_one_row_hides_that_target_only() -> None:
    engine = Spoilt({1: [4]})  # calls 0 to 2 seed

    found = mattes(engine, [target(0), target(1)], 5)

    assert [matte.alphas[1] is None for matte in found] == [False, False, True, False, False]
    assert_same([matte.alphas[0] for matte in found], alone(0, 5))
    hidden = found[2]
    assert hidden.alpha is not None
    assert not hidden.alpha[disc(1, 2)].any()


def test_a_row_that_starts_over_leaves_the_other_alone_and_comes_back() -> None:
    engine = Spoilt({1: [4, 5, 6]})

    found = mattes(engine, [target(0), target(1)], 12)

    assert [calls[1] for calls in engine.calls].count("seed") == 2
    assert [matte.alphas[1] is None for matte in found] == [False, False, *[True] * 6, *[False] * 4]
    assert_same([matte.alphas[0] for matte in found], alone(0, 12))
    last = found[-1].alphas[1]
    assert last is not None
    np.testing.assert_allclose(last, disc(1, 11), atol=0.1)


@given(bad=st.sets(st.integers(3, 16), max_size=9))
@settings(max_examples=25, deadline=None)
def test_whatever_goes_wrong_with_one_target_the_other_is_as_if_alone(bad: set[int]) -> None:
    found = mattes(Spoilt({1: bad}), [target(0), target(1)], 14)

    assert_same([matte.alphas[0] for matte in found], alone(0, 14))


def test_a_call_that_fails_seeds_every_row_again_in_one_go() -> None:
    engine = FakeEngine(WIDTH, HEIGHT, batch=2, faults=Faults(fail_at=[4]))
    session = Session(engine, [target(0), target(1)], ManualClock())

    found = [_kept(session.process(frame(seq))) for seq in range(5)]

    assert [matte.alpha is None for matte in found] == [False, False, True, False, False]
    assert [matte.alphas[1] is None for matte in found] == [False, False, True, False, False]
    assert engine.calls[5:8] == [(kind, kind) for kind in ("seed", "settle", "settle")]
    assert session.status.faults == 2
    assert [status.faults for status in session.statuses] == [1, 1]


class Unseeded(FakeEngine):
    """Answers 1 everywhere in row 1 from call `begin` on, as a network may that was never seeded."""

    def __init__(self, begin: int) -> None:
        super().__init__(WIDTH, HEIGHT, batch=2, faults=Faults(fail_at=[begin - 1]))
        self._begin = begin

    def step(self, frame: NDArray[Any], mask: Alpha | None, gates: Gates, state: State) -> tuple[NDArray[Any], State]:
        alpha, after = super().step(frame, mask, gates, state)
        alpha[1] = float(len(self.calls) > self._begin)
        return alpha, after


def test_a_state_lost_while_a_target_was_not_asking_is_not_trusted() -> None:
    class Breaks(MaskTarget):
        def propose(self, frame: Frame) -> Mask | None:
            if frame.seq == 6:
                raise EngineError("no luck")
            return super().propose(frame)

    engine = Unseeded(begin=9)  # calls 0 to 2 seed, frame 6 is call 8
    lost_by_then = SessionOptions(lost_after=0.5)

    found = mattes(engine, [target(0), Breaks(Mask(disc(1, 0).astype(np.float32)))], 9, lost_by_then)

    assert [matte.alphas[0] is None for matte in found] == [False] * 6 + [True] + [False] * 2
    assert [matte.alphas[1] is None for matte in found][5:] == [True] * 4


def test_one_target_is_given_another_mask() -> None:
    engine = FakeEngine(WIDTH, HEIGHT, batch=2)
    session = Session(engine, [target(0), target(1)], ManualClock(), SessionOptions(passes_per_frame=1, warmup=0))
    for seq in range(3):
        session.process(frame(seq))

    session.reseed(Mask(disc(0, 3).astype(np.float32)), of=1)
    found = [_kept(session.process(frame(seq))) for seq in range(3, 6)]

    assert [calls[1] for calls in engine.calls[-3:]] == ["seed", "settle", "frame"]
    assert [matte.alphas[0] is None for matte in found] == [False] * 3
    assert_same([found[-1].alphas[1]], [found[-1].alphas[0]])


@pytest.mark.parametrize(("batch", "masks"), [(3, 2), (2, 1), (2, 3)])
def test_a_batch_of_another_number_names_the_export(batch: int, masks: int) -> None:
    with pytest.raises(ContractError, match=f"--batch {masks}"):
        Session(FakeEngine(WIDTH, HEIGHT, batch=batch), [target(0)] * masks, ManualClock())


def test_a_session_of_nobody_is_refused() -> None:
    with pytest.raises(ContractError, match="0 in all"):
        Session(FakeEngine(WIDTH, HEIGHT), [], ManualClock())
