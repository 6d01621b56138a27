"""What a session asks of the network and when: seeding, warming, the schedule of the memory, its options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rtmatte.backends.fake import FakeEngine
from rtmatte.clock import ManualClock
from rtmatte.errors import ContractError, InputError
from rtmatte.frame import Alpha, Frame, Phase
from rtmatte.session import RECENT, Session, SessionOptions
from tests.sessions import (
    HEIGHT,
    LIVE,
    WIDTH,
    Looks,
    Scripted,
    calls,
    disc,
    fake,
    frame,
    mask,
    session_of,
    shows_disc,
)

# Files: everything inside the first call.


@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_a_file_is_seeded_and_warmed_inside_the_first_call(warmup: int) -> None:
    engine = fake()
    session = session_of(engine, SessionOptions(warmup=warmup))

    first, second = session.process(frame(0)), session.process(frame(1))

    assert calls(engine) == ["seed"] + ["settle"] * (warmup + 1) + ["frame"]
    assert shows_disc(first)
    assert shows_disc(second)
    assert first.phase is second.phase is Phase.TRACKING


def test_the_models_own_warmup_and_schedule_are_the_default() -> None:
    engine = fake(warmup=2, write_every=2)
    session = session_of(engine)

    for seq in range(7):
        session.process(frame(seq))

    assert calls(engine)[:4] == ["seed", "settle", "settle", "settle"]
    assert calls(engine)[4:] == ["frame", "write 1", "frame", "write 2", "frame", "write 1"]


def test_every_fifth_ordinary_frame_fills_the_slots_in_turn_after_every_seed() -> None:
    engine = fake()
    session = session_of(engine)

    for seq in range(16):
        session.process(frame(seq))
    session.reseed(mask(16))
    for seq in range(16, 22):
        session.process(frame(seq))

    stores = [(n, kind) for n, kind in enumerate(calls(engine)) if kind.startswith("write")]
    assert stores == [(7, "write 1"), (12, "write 2"), (17, "write 1"), (25, "write 1")]


def test_a_bank_of_one_slot_is_never_written() -> None:
    engine = FakeEngine(WIDTH, HEIGHT, slots=1)
    session = session_of(engine, SessionOptions(write_every=1))

    for seq in range(4):
        session.process(frame(seq))

    assert not any(kind.startswith("write") for kind in calls(engine))


# Live: one pass a tick over the stored first frame.


def test_live_input_is_hidden_while_one_pass_a_tick_runs_on_the_stored_frame() -> None:
    engine = fake()
    session = session_of(engine, LIVE)

    mattes = [session.process(frame(seq)) for seq in range(5)]

    assert calls(engine) == ["seed", "settle", "settle", "frame", "frame"]
    assert [m.alpha is None for m in mattes] == [True, True, True, False, False]
    assert [m.phase for m in mattes] == [Phase.SEEDING, Phase.WARMING, Phase.TRACKING, Phase.TRACKING, Phase.TRACKING]
    assert shows_disc(mattes[3])
    assert session.status.hidden == 3


def test_the_stored_frame_outlives_the_lease_of_its_pixels() -> None:
    engine, buffer = fake(), np.empty((HEIGHT, WIDTH, 3), np.uint8)
    session = session_of(engine, LIVE)

    alpha: Alpha | None = None
    for seq in range(4):
        np.copyto(buffer, frame(seq).pixels)
        alpha = session.process(Frame(seq, buffer, captured_at=0.0)).alpha
        buffer.fill(255)

    assert alpha is not None
    np.testing.assert_array_equal(alpha, disc(3))


def test_passes_left_over_in_a_tick_go_to_the_newest_frame() -> None:
    engine = fake()
    session = session_of(engine, SessionOptions(passes_per_frame=2))

    mattes = [session.process(frame(seq)) for seq in range(2)]

    assert calls(engine) == ["seed", "settle", "settle", "frame"]
    assert mattes[0].alpha is None
    assert shows_disc(mattes[1])


def test_alphas_are_written_into_a_few_buffers_again_and_again() -> None:
    session = session_of(fake())

    alphas = [session.process(frame(seq)).alpha for seq in range(20)]

    assert len({alpha.ctypes.data for alpha in alphas if alpha is not None}) == RECENT


# Models and options.


def test_a_model_without_gates_needs_no_seed_and_is_trusted_from_the_first_frame() -> None:
    target = Looks()
    session = Session(Scripted([np.full((2, 2), 0.5, np.float32)]), target, ManualClock(), LIVE)

    matte = session.process(frame(0, (2, 2)))

    assert matte.phase is Phase.TRACKING
    assert matte.alpha is not None
    assert target.asked == []


def test_a_model_without_gates_goes_on_with_a_new_state_after_faults() -> None:
    bad, good = np.full((2, 2), np.nan, np.float32), np.full((2, 2), 0.5, np.float32)
    session = Session(Scripted([bad, bad, bad, good]), None, ManualClock())

    hidden = [session.process(frame(seq, (2, 2))).alpha is None for seq in range(4)]

    assert hidden == [True, True, True, False]


def test_a_model_of_several_rows_is_refused() -> None:
    with pytest.raises(ContractError, match="one row"):
        Session(FakeEngine(WIDTH, HEIGHT, batch=2), None, ManualClock())


@pytest.mark.parametrize(
    "options",
    [{"warmup": -1}, {"passes_per_frame": 0}, {"dilate": -1}, {"write_every": 0}, {"lost_after": float("nan")}],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        SessionOptions(**options)
