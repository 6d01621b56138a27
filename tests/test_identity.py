"""The identity benchmark, on methods whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.identity import GONE, WITHIN, core_by_mask, masks_of, overlap, returns, swaps
from benchmarks.recovery import INTERRUPTIONS, Interruption
from rtmatte.frame import Alpha, Mask
from tests.replay import Replay, numbered_clip

COVERED, AWAY = INTERRUPTIONS


def test_overlap_is_intersection_over_union() -> None:
    one, other = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    one[:2], other[1:3] = 255, 255

    assert overlap(one, other) == pytest.approx(1 / 3)
    assert overlap(np.zeros_like(one), np.zeros_like(one)) == 1.0


@pytest.mark.parametrize("interruption", INTERRUPTIONS, ids=lambda i: i.name)
def test_a_method_that_finds_the_person_late_has_returned_and_one_that_never_does_has_not(
    interruption: Interruption,
) -> None:
    clip = numbered_clip(8)
    back_at = clip.length + GONE

    def late(n: int, alpha: Alpha) -> Alpha:
        return alpha if n < clip.length or n >= back_at + WITHIN - 1 else np.zeros_like(alpha)

    def never(n: int, alpha: Alpha) -> Alpha:
        return alpha if n < clip.length else np.zeros_like(alpha)

    assert returns(Replay(clip, late), clip, interruption).overlap == 1.0
    assert returns(Replay(clip, never), clip, interruption).overlap == 0.0


def test_one_picture_of_somebody_else_is_a_swap() -> None:
    clip = numbered_clip(8)

    def slips_once(n: int, alpha: Alpha) -> Alpha:
        other: Alpha = 1 - alpha if n == 9 else alpha
        return other

    assert not swaps(Replay(clip), clip)
    assert swaps(Replay(clip, slips_once), clip)


def test_masks_are_larger_and_rougher_than_the_accurate_one() -> None:
    disc = np.zeros((96, 128), np.float32)
    cv2.circle(disc, (64, 48), 40, 1.0, cv2.FILLED)
    masks = masks_of(replace(numbered_clip(8), mask=lambda: Mask(disc)))

    assert masks["too large"].area > masks["accurate"].area
    assert 0 < masks["rough polygon"].area < masks["too large"].area
    assert not np.array_equal(masks["rough polygon"].values, masks["accurate"].values)


def test_every_mask_is_judged_at_the_same_frame() -> None:
    clip = numbered_clip(8)

    assert core_by_mask(Replay(clip), clip) == {"accurate": 0.0, "too large": 0.0, "rough polygon": 0.0}
