"""Whom a session follows: who answers for it, masks that do not fit, and a person out of sight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rtmatte.clock import ManualClock
from rtmatte.frame import Mask, Phase
from rtmatte.session import Session, SessionOptions
from rtmatte.targets.mask import MaskTarget
from tests.sessions import (
    FILE,
    HEIGHT,
    WIDTH,
    Looks,
    Watched,
    calls,
    fake,
    frame,
    mask,
    session_of,
    shows_disc,
)

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
