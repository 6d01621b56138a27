"""The interruption and the loop benchmarks, on a method that answers from the truth."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.baselines import HeldMask
from benchmarks.drift import drift
from benchmarks.recovery import AFTER, INTERRUPTIONS, Interruption, empty_room, recover
from rtmatte.frame import Alpha
from tests.replay import Replay, numbered_clip

COVERED, AWAY = INTERRUPTIONS


LOOP = [*range(8), *range(6, 0, -1)] * 4


def wrong_from(position: int, error: float) -> Replay:
    """Returns a method that is off by 0.01 until `position` and by `error` from there on."""

    def answer(n: int, alpha: Alpha) -> Alpha:
        off: Alpha = np.abs(alpha - np.float32(0.01 if n < position else error))
        return off

    return Replay(numbered_clip(8), answer)


@pytest.mark.parametrize("interruption", INTERRUPTIONS, ids=lambda i: i.name)
def test_play_goes_on_behind_an_interruption_and_the_judged_frame_is_the_last(interruption: Interruption) -> None:
    clip = numbered_clip(8)
    method = Replay(clip)

    recovery = recover(method, clip, interruption)

    back_at = len(method.seen) - AFTER
    gone_at = back_at - interruption.frames
    assert len(recovery.after) == AFTER
    assert gone_at >= clip.length
    assert method.seen[:gone_at] == LOOP[:gone_at]
    assert method.seen[back_at:] == LOOP[back_at : back_at + AFTER]
    assert method.seen[back_at + 4] == clip.length - 1
    assert (interruption is not COVERED) or method.seen[gone_at:back_at] == [None] * 6


@pytest.mark.parametrize(("error", "recovered"), [(0.024, True), (0.04, False)])
def test_the_fifth_frame_after_the_return_decides(error: float, recovered: bool) -> None:
    clip = numbered_clip(8)
    watched = Replay(clip)
    recover(watched, clip, COVERED)
    fifth = len(watched.seen) - AFTER + 4

    recovery = recover(wrong_from(fifth, error), clip, COVERED)

    assert recovery.before == pytest.approx(10, abs=2)
    assert recovery.after[3] == pytest.approx(10, abs=2)
    assert recovery.judged == pytest.approx(1000 * error, abs=4)
    assert recovery.recovered is recovered


def test_a_clip_of_one_frame_can_be_interrupted() -> None:
    assert recover(HeldMask(), numbered_clip(1), AWAY).recovered


def test_an_empty_room_keeps_the_room_and_has_no_person() -> None:
    y, x = np.mgrid[0:96, 0:128]
    room = np.stack([40 + x, 40 + y, np.full_like(x, 90)], axis=-1).astype(np.uint8)
    matte = ((x - 64) ** 2 + (y - 60) ** 2 < 25**2).astype(np.uint8) * 255
    pixels = np.where(matte[..., None] > 0, np.uint8(250), room)

    empty = empty_room(pixels, matte).astype(int)

    far = (x - 64) ** 2 + (y - 60) ** 2 > 32**2
    np.testing.assert_array_equal(empty[far], room[far])
    assert np.abs(empty - room).max() < 40
    assert np.abs(empty - room).mean() < 5


def test_an_empty_room_of_a_frame_full_of_person_is_still_a_picture() -> None:
    empty = empty_room(np.full((7, 5, 3), 200, np.uint8), np.full((7, 5), 255, np.uint8))

    assert empty.shape == (7, 5, 3)


def test_drift_compares_the_last_second_of_a_loop_with_the_first_and_with_its_own_pictures() -> None:
    clip = numbered_clip(8)
    fading = Replay(clip, lambda n, alpha: np.abs(alpha - np.float32(n / 1000)).astype(np.float32))

    one = drift(fading, clip, frames=200)

    assert len(fading.seen) == len(one.core) == 200
    assert one.first == pytest.approx(14.5, abs=1)
    assert one.same == pytest.approx(16.5, abs=1)  # the loop of 14 pictures shows the 171st as the third
    assert one.last == pytest.approx(184.5, abs=1)
    assert one.curve == pytest.approx([34.5, 104.5], abs=1)


def test_what_is_harder_in_a_part_of_the_loop_is_no_drift() -> None:
    clip = numbered_clip(20)
    loop = [*range(20), *range(18, 0, -1)]
    hard = Replay(clip, lambda n, alpha: np.abs(alpha - np.float32(loop[n % 38] / 100)).astype(np.float32))

    one = drift(hard, clip, frames=400)

    assert one.last == pytest.approx(one.same)
    assert abs(one.last / one.first - 1) > 0.03
    assert max(one.curve) == pytest.approx(min(one.curve))
