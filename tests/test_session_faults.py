"""What a session shows, and how it goes on, when the network or the target fails."""

from __future__ import annotations

import numpy as np
import pytest

from rtmatte.backends.fake import Faults
from rtmatte.clock import ManualClock
from rtmatte.errors import EngineError
from rtmatte.frame import Frame, Mask, Phase
from rtmatte.session import Session, SessionOptions
from tests.sessions import (
    FILE,
    LIVE,
    Looks,
    Scripted,
    calls,
    fake,
    frame,
    mask,
    session_of,
    shows_disc,
)


def test_one_bad_alpha_costs_one_hidden_frame_and_no_seed() -> None:
    good, bad = np.full((2, 2), 0.5, np.float32), np.full((2, 2), np.nan, np.float32)
    session = Session(Scripted([good, bad, good]), None, ManualClock())

    hidden = [session.process(frame(seq, (2, 2))).alpha is None for seq in range(3)]

    assert hidden == [False, True, False]
    assert session.status.faults == 1
    assert "nan" in session.status.last_error


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.01, -0.01, 255.0])
def test_no_alpha_outside_of_0_to_1_is_shown(value: float) -> None:
    alpha = np.full((2, 2), 0.5, np.float32)
    alpha[1, 1] = value
    session = Session(Scripted([alpha]), None, ManualClock())

    assert session.process(frame(0, (2, 2))).alpha is None
    assert session.status.faults == 1


def test_the_overshoot_of_half_precision_is_clipped() -> None:
    session = Session(Scripted([np.array([[1.0005, -0.0005]], np.float32)]), None, ManualClock())

    alpha = session.process(frame(0, (2, 1))).alpha

    assert alpha is not None
    assert alpha.tolist() == [[1.0, 0.0]]


def test_an_alpha_of_bytes_becomes_0_to_1() -> None:
    session = Session(Scripted([np.array([[0, 51, 255]], np.uint8)]), None, ManualClock())

    alpha = session.process(frame(0, (3, 1))).alpha

    assert alpha is not None
    np.testing.assert_allclose(alpha, [[0.0, 0.2, 1.0]], atol=1e-6)


def test_three_bad_alphas_in_a_row_seed_again_from_the_last_good_one() -> None:
    engine = fake(faults=Faults(nan_at=[5]))  # calls 0..2 seed, 3..4 follow; the NaN stays in the state
    session = session_of(engine)

    mattes = [session.process(frame(seq)) for seq in range(8)]

    assert [m.alpha is None for m in mattes] == [False, False, False, True, True, True, False, False]
    assert calls(engine)[-4:] == ["seed", "settle", "settle", "frame"]
    assert shows_disc(mattes[6])
    assert session.status.faults == 3


def test_a_failed_call_seeds_again_at_once_from_the_last_good_alpha() -> None:
    engine = fake(faults=Faults(fail_at=[5]))
    session = session_of(engine)

    mattes = [session.process(frame(seq)) for seq in range(5)]

    assert [m.alpha is None for m in mattes] == [False, False, False, True, False]
    assert mattes[3].phase is Phase.LOST
    assert shows_disc(mattes[4])
    assert "call 5" in session.status.last_error


@pytest.mark.parametrize("options", [FILE, LIVE])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_fault_while_warming_tries_the_stored_frame_again(options: SessionOptions, at: int) -> None:
    engine = fake(faults=Faults(fail_at=[at]))
    session = session_of(engine, options)

    mattes = [session.process(frame(seq)) for seq in range(8)]

    assert calls(engine).count("seed") == 2
    assert mattes[0].alpha is None
    assert shows_disc(mattes[-1])


@pytest.mark.parametrize("faults", [Faults(fail_at=range(10_000)), Faults(nan_at=range(10_000))])
@pytest.mark.parametrize("options", [FILE, LIVE])
def test_a_network_that_always_fails_never_shows_the_room(faults: Faults, options: SessionOptions) -> None:
    session = session_of(fake(faults=faults), options)

    mattes = [session.process(frame(seq)) for seq in range(40)]

    assert all(m.alpha is None for m in mattes)
    assert session.status.phase is Phase.LOST
    assert session.status.hidden == session.status.frames == 40
    assert session.status.faults > 0


def test_a_seed_that_fails_three_times_is_given_up_and_the_target_asked() -> None:
    engine = fake(faults=Faults(fail_at=[4, 5, 6, 7]))
    target = Looks(mask(0), None, mask(7))
    session = Session(engine, target, ManualClock())

    mattes = [session.process(frame(seq)) for seq in range(8)]

    assert [m.alpha is None for m in mattes] == [False, False, True, True, True, True, True, False]
    assert target.asked == [0, 6, 7]


def test_an_alpha_of_a_few_frames_ago_seeds_though_nobody_is_seen_since() -> None:
    session = session_of(fake(faults=Faults(fail_at=[5])))
    session.process(frame(0))

    for seq in range(1, 4):
        session.process(frame(seq, dark=True))

    assert shows_disc(session.process(frame(1)))
    assert session.status.phase is Phase.TRACKING


def test_an_alpha_too_old_does_not_seed() -> None:
    target = Looks(mask(0))
    session = Session(fake(faults=Faults(fail_at=[7])), target, ManualClock())
    session.process(frame(0))

    for seq in range(1, 8):
        session.process(frame(seq, dark=True))  # nobody is seen from here on; the fifth such frame fails

    assert target.asked == [0, 6, 7]
    assert session.status.phase is Phase.LOST


def test_a_target_that_fails_is_a_fault() -> None:
    class Broken:
        name = "broken"

        def propose(self, frame: Frame) -> Mask | None:
            raise EngineError("no luck")

    session = Session(fake(), Broken(), ManualClock())

    assert session.process(frame(0)).alpha is None
    assert (session.status.faults, session.status.last_error) == (1, "no luck")
