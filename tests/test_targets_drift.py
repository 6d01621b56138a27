"""Drift: what is scored, when a new seed is asked for, and that it is never one of somebody else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rtmatte.clock import ManualClock
from rtmatte.frame import Alpha, Frame, Mask, Pixels
from rtmatte.targets.drift import DriftOptions, DriftWatch, overlap

SIZE = (160, 90)
ROOM, RED, BLUE = (40, 40, 40), (220, 40, 40), (50, 60, 220)
HERE, BESIDE, AWAY = (60, 45), (84, 45), (130, 45)  # middles in pixels


class SeesColour:
    """Sees whatever is not of the room's colour."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self, pixels: Pixels) -> Alpha:
        self.looks += 1
        return np.asarray(np.abs(pixels.astype(np.int16) - ROOM).max(axis=2) > 60, np.float32)


class Watched:
    """A watch, and frames that it is shown at 30 a second."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.looker = SeesColour()
        self.watch = DriftWatch(self.looker, self.clock)

    def show(self, seconds: float, frame: Frame, alpha: Alpha) -> Mask | None:
        """Returns the first mask asked for, None when none was in that time."""
        for _ in range(round(seconds * 30)):
            mask = self.watch.observe(frame, alpha)
            if mask is not None:
                return mask
            self.clock.advance(1 / 30)
        return None


@pytest.fixture
def watched() -> Watched:
    return Watched()


def scene(*people: tuple[tuple[int, int], tuple[int, int, int]]) -> Frame:
    pixels = np.full((SIZE[1], SIZE[0], 3), ROOM, np.uint8)
    for middle, colour in people:
        cv2.circle(pixels, middle, 20, colour, cv2.FILLED)
    return Frame(0, pixels, 0.0)


def disc(middle: tuple[int, int] = HERE, radius: int = 20) -> Alpha:
    alpha = np.zeros((SIZE[1], SIZE[0]), np.float32)
    cv2.circle(alpha, middle, radius, 1.0, cv2.FILLED)
    return alpha


def half() -> Alpha:
    """Returns the person with a third of them gone."""
    alpha = disc()
    alpha[:38] = 0.0
    return alpha


def test_a_good_cut_out_is_looked_at_rarely_and_left_alone(watched: Watched) -> None:
    assert watched.show(60, scene((HERE, RED)), disc()) is None

    assert watched.watch.score == pytest.approx(0, abs=0.05)
    assert watched.looker.looks <= 60 / DriftOptions().look_every


def test_one_that_lost_a_part_is_seeded_anew_from_the_whole_person(watched: Watched) -> None:
    watched.show(12, scene((HERE, RED)), disc())

    mask = watched.show(5, scene((HERE, RED)), half())

    assert mask is not None
    assert overlap(mask.values, disc()) > 0.95
    assert watched.watch.score is not None
    assert watched.watch.score > 0.25


def test_one_that_took_the_chair_too_is_seeded_anew_without_it(watched: Watched) -> None:
    watched.show(12, scene((HERE, RED)), disc())

    mask = watched.show(5, scene((HERE, RED)), np.maximum(disc(), disc((70, 62), 18)))

    assert mask is not None
    assert overlap(mask.values, disc()) > 0.95


def test_a_single_bad_look_asks_for_nothing(watched: Watched) -> None:
    frame = scene((HERE, RED))
    watched.show(12, frame, disc())

    assert watched.show(0.9, frame, half()) is None
    assert watched.show(20, frame, disc()) is None


def test_somebody_who_stands_beside_and_touches_is_not_taken_in(watched: Watched) -> None:
    watched.show(12, scene((HERE, RED)), disc())

    assert watched.show(30, scene((HERE, RED), (BESIDE, BLUE)), disc()) is None
    assert watched.watch.fresh(scene((HERE, RED), (BESIDE, BLUE)), disc()) is None


def test_somebody_of_other_colours_in_the_same_place_is_not_taken(watched: Watched) -> None:
    watched.show(12, scene((HERE, RED)), disc())

    assert watched.show(30, scene((HERE, BLUE)), half()) is None
    assert watched.watch.fresh(scene((HERE, BLUE)), half()) is None


def test_people_who_cross_leave_the_chosen_one_chosen(watched: Watched) -> None:
    watched.show(12, scene((HERE, RED)), disc())

    for x in range(0, 160, 2):  # somebody walks through behind: what the network shows of them is what is to be seen
        frame = scene(((x, 45), BLUE), (HERE, RED))
        mask = watched.show(0.2, frame, disc())
        assert mask is None or overlap(mask.values, disc()) > 0.9


def test_a_person_seen_afresh_is_the_one_who_is_followed(watched: Watched) -> None:
    watched.show(1, scene((HERE, RED)), disc())

    mask = watched.watch.fresh(scene((HERE, RED), (AWAY, BLUE)), half())

    assert mask is not None
    assert overlap(mask.values, disc()) > 0.95
    assert watched.watch.fresh(scene((AWAY, BLUE)), disc()) is None


def test_nobody_is_nothing_to_say_about(watched: Watched) -> None:
    nobody = np.zeros((SIZE[1], SIZE[0]), np.float32)

    assert watched.show(30, scene(), nobody) is None
    assert watched.watch.fresh(scene(), nobody) is None
    assert watched.looker.looks == 0


def test_after_a_new_seed_nothing_of_the_old_one_counts(watched: Watched) -> None:
    watched.show(12, scene((HERE, RED)), disc())

    watched.watch.begin()

    assert watched.watch.score is None
    assert watched.watch.fresh(scene((HERE, BLUE)), disc()) is not None


def test_an_alpha_of_another_size_than_the_frame_is_understood(watched: Watched) -> None:
    small = np.asarray(cv2.resize(disc(radius=18), (81, 47), interpolation=cv2.INTER_AREA), np.float32)

    mask = watched.watch.fresh(scene((HERE, RED)), small)

    assert mask is not None
    assert mask.size == SIZE
    assert overlap(mask.values, disc()) > 0.9
