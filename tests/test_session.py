"""What a session asks of the network, when it shows an alpha, and what it does when the network fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtmatte.backends.fake import FakeEngine, Faults
from rtmatte.clock import ManualClock
from rtmatte.contract import ALPHA, FRAME, Contract, Gates, TensorSpec
from rtmatte.errors import ContractError, EngineError, InputError
from rtmatte.frame import Alpha, Frame, Mask, Matte, Phase
from rtmatte.imaging import Shrink
from rtmatte.session import RECENT, Session, SessionOptions
from rtmatte.step import State
from rtmatte.targets.mask import MaskTarget

WIDTH, HEIGHT = 64, 36
FILE = SessionOptions()
LIVE = SessionOptions(passes_per_frame=1)


def disc(seq: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> NDArray[np.bool_]:
    """Returns where the disc is in frame `seq`: it moves right by a hundredth of the width a frame."""
    width, height = size
    y, x = np.ogrid[0:height, 0:width]
    inside: NDArray[np.bool_] = (x - width * (0.3 + seq / 100)) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2
    return inside


def frame(seq: int, size: tuple[int, int] = (WIDTH, HEIGHT), *, dark: bool = False) -> Frame:
    pixels = np.full((size[1], size[0], 3), 20, np.uint8)
    if not dark:
        pixels[disc(seq, size)] = 220
    return Frame(seq, pixels, captured_at=seq / 10)


def mask(seq: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Mask:
    return Mask(disc(seq, size).astype(np.float32))


class Looks:
    """A target that answers from a list, then with nobody; it counts how often it was asked."""

    name = "looks"

    def __init__(self, *answers: Mask | None) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []

    def propose(self, frame: Frame) -> Mask | None:
        self.asked.append(frame.seq)
        return self.answers.pop(0) if self.answers else None


def fake(*, warmup: int = 1, write_every: int = 5, faults: Faults | None = None) -> FakeEngine:
    engine = FakeEngine(WIDTH, HEIGHT, faults=faults)
    engine.contract = replace(engine.contract, warmup=warmup, write_every=write_every)
    return engine


def session_of(engine: FakeEngine, options: SessionOptions = FILE) -> Session:
    return Session(engine, MaskTarget(mask()), ManualClock(), options)


def calls(engine: FakeEngine) -> list[str]:
    return [kind for (kind,) in engine.calls]


def shows_disc(matte: Matte) -> bool:
    return matte.alpha is not None and bool((np.abs(matte.alpha - disc(matte.frame.seq)) < 0.1).all())


class Watched(FakeEngine):
    """Keeps the masks it was seeded with."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height)
        self.masks: list[Alpha] = []

    def step(self, frame: NDArray[Any], mask: Alpha | None, gates: Gates, state: State) -> tuple[NDArray[Any], State]:
        if mask is not None:
            self.masks.append(mask[0, 0].copy())
        return super().step(frame, mask, gates, state)


class Scripted:
    """An engine without gates or mask whose alphas come from a list; its contract can be another."""

    backend = "scripted"

    def __init__(self, alphas: Sequence[NDArray[Any]], contract: Contract | None = None) -> None:
        height, width = alphas[0].shape
        self.contract = contract or Contract(
            model="stateless",
            role="step",
            inputs=(TensorSpec(FRAME, (1, height, width, 3), "float32"),),
            states=(),
            outputs=(TensorSpec(ALPHA, (1, 1, height, width)),),
        )
        self.frames: list[NDArray[Any]] = []
        self._alphas = list(alphas)

    def new_state(self) -> State:
        return State(self, None)

    def step(
        self, frame: NDArray[Any], mask: NDArray[np.float32] | None, gates: Gates, state: State
    ) -> tuple[NDArray[Any], State]:
        state.take(self)
        self.frames.append(frame.copy())
        return self._alphas[(len(self.frames) - 1) % len(self._alphas)][None, None], State(self, None)

    def close(self) -> None:
        pass


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


# Who is cut out.


def test_it_waits_until_the_target_answers() -> None:
    target = Looks(None, None, mask(2))
    session = Session(fake(), target, ManualClock())

    mattes = [session.process(frame(seq)) for seq in range(4)]

    assert [m.phase for m in mattes] == [Phase.WAITING, Phase.WAITING, Phase.TRACKING, Phase.TRACKING]
    assert [m.alpha is None for m in mattes] == [True, True, False, False]
    assert target.asked == [0, 1, 2]


def test_without_a_target_it_waits_for_a_mask() -> None:
    session = Session(fake(), None, ManualClock())
    waiting = session.process(frame(0))

    session.reseed(mask(1))

    assert (waiting.alpha, waiting.phase) == (None, Phase.WAITING)
    assert shows_disc(session.process(frame(1)))
    assert session.status.target == "none"


def test_seeding_from_scratch_asks_the_target_again() -> None:
    target = Looks(mask(0), mask(2))
    engine = fake()
    session = Session(engine, target, ManualClock())
    session.process(frame(0))
    session.process(frame(1))

    session.reseed(None)

    assert shows_disc(session.process(frame(2)))
    assert target.asked == [0, 2]
    assert calls(engine).count("seed") == 2


def test_an_empty_mask_cuts_out_nobody() -> None:
    session = Session(fake(), None, ManualClock())
    session.reseed(Mask(np.zeros((HEIGHT, WIDTH), np.float32)))

    matte = session.process(frame(0))

    assert matte.alpha is not None
    assert matte.alpha.max() == 0.0


def test_a_mask_of_another_size_is_scaled_with_one_warning() -> None:
    session = Session(fake(), None, ManualClock())

    for seq in range(2):
        session.reseed(mask(seq, (4 * WIDTH, 4 * HEIGHT)))
        matte = session.process(frame(seq))

    assert shows_disc(matte)
    assert session.status.warnings == ("the mask is 256x144, the frame 64x36: the mask was scaled",)


def seed_area(mask: Mask, options: SessionOptions) -> float:
    """Returns the area of the seed that `mask` gives, in pixels of a frame four times the working size."""
    engine = Watched(WIDTH, HEIGHT)
    Session(engine, MaskTarget(mask), ManualClock(), options).process(frame(0, (4 * WIDTH, 4 * HEIGHT)))
    return float(engine.masks[0].sum()) * 16


def test_a_mask_is_dilated_and_eroded_in_pixels_of_its_frame() -> None:
    values = np.zeros((4 * HEIGHT, 4 * WIDTH), np.float32)
    values[70:74, 120:124] = 1.0

    areas = [
        seed_area(Mask(values), options)
        for options in (FILE, SessionOptions(dilate=3), SessionOptions(erode=3), SessionOptions(dilate=9, erode=9))
    ]

    assert areas == pytest.approx([16, 32, 4, 16], abs=0.01)


def test_a_mask_of_another_size_is_dilated_in_pixels_of_the_frame_too() -> None:
    values = np.zeros((HEIGHT, WIDTH), np.float32)
    values[10:20, 20:30] = 1.0

    grown = seed_area(Mask(values), SessionOptions(dilate=9)) - seed_area(Mask(values), FILE)

    assert grown < 1_800  # 40 pixels a side, grown by 4 and by up to 2 of linear scaling; 9 of its own would add 3,500


def test_resetting_begins_another_stream() -> None:
    target = Looks(mask(0), mask(0))
    session = Session(fake(), target, ManualClock())
    session.process(frame(0))
    session.process(frame(1))

    session.reset()

    assert session.status.frames == 0
    assert session.status.phase is Phase.WAITING
    assert shows_disc(session.process(frame(0)))


# Frame sizes.


def test_an_alpha_covers_the_whole_frame_and_nothing_else() -> None:
    session = Session(fake(), MaskTarget(mask(0, (48, 36))), ManualClock())

    matte = session.process(frame(0, (48, 36)))

    assert matte.alpha is not None
    np.testing.assert_array_equal(matte.alpha, disc(0, (48, 36)))


def test_frames_of_another_size_and_the_same_shape_go_on() -> None:
    engine = fake()
    session = session_of(engine)
    session.process(frame(0))

    matte = session.process(frame(1, (2 * WIDTH, 2 * HEIGHT)))

    assert calls(engine).count("seed") == 1
    assert matte.alpha is not None
    assert np.abs(matte.alpha - disc(1)).mean() < 0.02


def test_a_picture_of_another_shape_is_seeded_from_the_last_alpha_stretched_likewise() -> None:
    engine = Watched(WIDTH, HEIGHT)
    session = session_of(engine)
    for seq in range(3):
        session.process(frame(seq))

    matte = session.process(frame(3, (48, 36)))

    assert calls(engine)[-3:] == ["seed", "settle", "settle"]
    stretched = np.empty((36, 48), np.float32)
    Shrink().into(disc(2).astype(np.float32), stretched)  # the disc of the wider picture, as a mask of this one is made
    np.testing.assert_allclose(engine.masks[1][:, 8:56], stretched, atol=0.01)
    assert engine.masks[1][:, :8].max() == engine.masks[1][:, 56:].max() == 0.0
    assert matte.phase is Phase.TRACKING
    assert matte.alpha is not None
    assert np.abs(matte.alpha - disc(3, (48, 36))).mean() < 0.02


@given(sizes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_any_sequence_of_sizes_gives_an_alpha_in_the_shape_of_each_frame(sizes: list[tuple[int, int]]) -> None:
    session = Session(fake(), None, ManualClock(), LIVE)
    session.reseed(Mask(np.ones((5, 7), np.float32)))

    for seq, size in enumerate(sizes):
        alpha = session.process(frame(seq, size)).alpha
        if alpha is not None:
            height, width = alpha.shape
            scale = max(width / size[0], height / size[1])
            assert abs(width - size[0] * scale) <= 1
            assert abs(height - size[1] * scale) <= 1


def test_a_graph_of_floats_gets_the_floats_of_its_frames() -> None:
    engine = Scripted([np.zeros((2, 3), np.float32)])
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 3, 3)).astype(np.float32)

    Session(engine, None, ManualClock()).process(Frame(0, pixels, captured_at=0.0))

    np.testing.assert_array_equal(engine.frames[0][0], pixels)


# Faults.


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


# Losing the target.


def test_a_target_out_of_sight_for_two_seconds_is_lost_and_looked_for() -> None:
    target = Looks(mask(0), None, None, mask(24))
    session = Session(fake(), target, ManualClock())
    session.process(frame(0))

    empty = [session.process(frame(seq, dark=True)) for seq in range(1, 24)]
    back = session.process(frame(24))

    lost = [m for m in empty if m.phase is Phase.LOST]
    assert [m.frame.seq for m in lost] == [21, 22, 23]
    assert all(m.alpha is None for m in lost)
    assert target.asked == [0, 22, 23, 24]
    assert shows_disc(back)


def test_a_lost_target_that_comes_back_is_followed_without_a_seed() -> None:
    engine = fake()
    session = session_of(engine)
    session.process(frame(0))
    for seq in range(1, 30):
        session.process(frame(seq, dark=True))

    back = session.process(frame(1))

    assert back.phase is Phase.TRACKING
    assert shows_disc(back)
    assert calls(engine).count("seed") == 1


def test_a_short_absence_is_not_a_loss() -> None:
    session = session_of(fake())
    session.process(frame(0))

    phases = {session.process(frame(seq, dark=True)).phase for seq in range(1, 20)}

    assert phases == {Phase.TRACKING}


def test_media_time_counts_where_there_is_any() -> None:
    session = session_of(fake(), SessionOptions(lost_after=0.5))
    session.process(frame(0))

    phases = [session.process(replace(frame(1, dark=True), pts=n / 4)).phase for n in range(3)]

    assert phases == [Phase.TRACKING, Phase.TRACKING, Phase.LOST]


def test_a_session_can_be_told_never_to_give_up() -> None:
    session = session_of(fake(), SessionOptions(lost_after=None))
    session.process(frame(0))

    assert {session.process(frame(seq, dark=True)).phase for seq in range(1, 99)} == {Phase.TRACKING}


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
