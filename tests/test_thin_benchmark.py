"""What benchmarks.thin calls thin, and what it says of a hand that vanishes and returns."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.clips import Clip, Matte8, Pixels8
from benchmarks.thin import WIDTHS, Parts, judge, recalls, summary, thin_parts
from rtmatte.frame import Alpha, Mask

HEIGHT, WIDTH = 200, 240
FINGER, LIMB = WIDTHS["fingers"], WIDTHS["limbs"]  # discs of 6 and 40 pixels


def person(*, arm: int = 20, finger: int = 4) -> Matte8:
    """A round body with an arm to the right, `arm` pixels thick, and a finger to the left."""
    truth: NDArray[np.uint8] = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(truth, (120, 110), 50, 255, -1)
    truth[100 - arm // 2 : 100 + arm // 2, 120:220] = 255
    truth[108 : 108 + finger, 40:120] = 255
    return truth


def test_a_finger_is_thin_and_an_arm_is_not() -> None:
    truth = person()

    labels, parts = thin_parts(truth, FINGER)

    assert len(parts) == 1
    columns = np.flatnonzero((labels == parts[0]).any(axis=0))
    assert (columns.min(), columns.max()) == (40, pytest.approx(71, abs=3))


def test_a_wider_disc_leaves_the_arm_too() -> None:
    assert len(thin_parts(person(), LIMB)[1]) == 2


def test_a_body_without_limbs_has_no_thin_part() -> None:
    square = np.zeros((HEIGHT, WIDTH), np.uint8)
    square[60:160, 60:180] = 255

    assert thin_parts(square, FINGER)[1] == []
    assert thin_parts(square, LIMB)[1] == []  # the corners that no disc reaches do not stand out


def test_what_the_border_cuts_is_not_thinner_for_it() -> None:
    half = np.zeros((HEIGHT, WIDTH), np.uint8)
    half[HEIGHT - 10 :] = 255

    assert thin_parts(half, LIMB)[1] == []


def test_nobody_has_no_thin_part() -> None:
    assert recalls(person(), np.zeros((HEIGHT, WIDTH), np.uint8), LIMB) == ((), ())
    assert summary([Parts(((), ()), ((), ()))]) == {}


def test_recall_is_the_share_of_the_part_that_is_shown() -> None:
    truth = person(finger=0)
    shown = truth.copy()
    shown[:, 190:] = 0

    (recall,), (weight,) = recalls(shown, truth, LIMB)

    assert weight == pytest.approx(20 * (220 - 170), rel=0.1)
    assert recall == pytest.approx(20 * (190 - 170) / weight, rel=0.15)


def test_too_much_is_no_better_than_all() -> None:
    truth = person()

    (finger,), _ = recalls(np.full_like(truth, 255), truth, FINGER)

    assert finger == 1.0


class Careless:
    """Shows the truth, but for the arm in the steps that it is told."""

    name = "careless"

    def __init__(self, truth: Matte8, without: range) -> None:
        self._truth, self._without, self._step = truth, without, -1

    def start(self, pixels: Pixels8, mask: Mask) -> Alpha:
        return self.step(pixels)

    def step(self, pixels: Pixels8) -> Alpha:
        self._step += 1
        shown = (self._truth / np.float32(255)).astype(np.float32)
        if self._step in self._without:
            shown[:, 175:] = 0
        return shown


def test_an_arm_that_vanishes_and_returns_is_a_gap_of_as_many_frames() -> None:
    truth = person(finger=0)
    clip = Clip("made", 8, lambda _: np.zeros((*truth.shape, 3), np.uint8), lambda _: truth)

    found = judge(Careless(truth, range(2, 5)), clip, rounds=1)["limbs"]

    assert found.lost == (0, 0, 1, 1, 1, 0, 0, 0)
    assert found.longest == 3
    assert summary([found]) == {
        "recall": pytest.approx(1 - 3 / 8, abs=0.06),
        "lost_share": 0.375,
        "longest_gap": 3,
        "parts": 8,
    }


def test_only_the_last_forward_pass_is_judged() -> None:
    truth = person(finger=0)
    clip = Clip("made", 4, lambda _: np.zeros((*truth.shape, 3), np.uint8), lambda _: truth)

    found = judge(Careless(truth, range(6)), clip, rounds=2)["limbs"]  # frames 6 to 9 of the play are the last pass

    assert found.lost == (0, 0, 0, 0)
