"""Picking: the one who was pointed at, whoever is beside them, and things that no network knows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.frame import Alpha, Frame, Mask, Pixels
from rtmatte.imaging import resize
from rtmatte.targets import Pick, Point
from rtmatte.targets.click import ClickPicker

SIZE = (640, 360)
ROOM, RED, BLUE = (40, 44, 40), (220, 40, 40), (50, 60, 220)

Disc = tuple[tuple[int, int], int]  # middle and radius in pixels

LEFT: Disc = ((180, 200), 70)
RIGHT: Disc = ((460, 200), 70)
BESIDE: Disc = ((310, 200), 70)  # touches LEFT


class SeesColour:
    """Sees whatever is not of the room's colour, sharply, at a quarter of the size."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self, pixels: Pixels) -> Alpha:
        self.looks += 1
        seen = (np.abs(pixels.astype(np.int16) - ROOM).max(axis=2) > 60).astype(np.float32)
        return np.asarray(resize(seen, (max(1, seen.shape[1] // 2), max(1, seen.shape[0] // 2))), np.float32)


class SeesNobody:
    def look(self, pixels: Pixels) -> Alpha:
        return np.zeros((9, 16), np.float32)


class SeesNonsense:
    def look(self, pixels: Pixels) -> Alpha:
        return np.full((9, 16), np.nan, np.float32)


def scene(*discs: tuple[Disc, tuple[int, int, int]]) -> Frame:
    pixels = np.full((SIZE[1], SIZE[0], 3), ROOM, np.uint8)
    pixels += np.random.default_rng(0).integers(0, 9, pixels.shape, np.uint8)
    for (middle, radius), colour in discs:
        cv2.circle(pixels, middle, radius, colour, cv2.FILLED)
    return Frame(0, pixels, 0.0)


def truth(disc: Disc) -> NDArray[np.bool_]:
    mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    cv2.circle(mask, disc[0], disc[1], 1, cv2.FILLED)
    return mask > 0


def at(disc: Disc, *, wanted: bool = True) -> Point:
    return Point(disc[0][0] / SIZE[0], disc[0][1] / SIZE[1], wanted)


def overlap(mask: Mask | None, disc: Disc) -> float:
    assert mask is not None
    assert mask.size == SIZE
    found, wanted = mask.values > 0.5, truth(disc)
    return float(np.count_nonzero(found & wanted) / np.count_nonzero(found | wanted))


@pytest.mark.parametrize("disc", [LEFT, RIGHT])
def test_of_two_the_one_pointed_at_is_picked(disc: Disc) -> None:
    mask = ClickPicker(SeesColour()).pick(scene((LEFT, RED), (RIGHT, BLUE)), Pick((at(disc),)))

    assert overlap(mask, disc) > 0.9


@pytest.mark.parametrize("disc", [LEFT, RIGHT])
def test_a_box_picks_what_is_in_it(disc: Disc) -> None:
    (x, y), radius = disc
    box = ((x - radius) / SIZE[0], (y - radius) / SIZE[1], (x + radius) / SIZE[0], (y + radius) / SIZE[1])

    mask = ClickPicker(SeesColour()).pick(scene((LEFT, RED), (RIGHT, BLUE)), Pick((), box))

    assert overlap(mask, disc) > 0.9


def test_two_wanted_points_pick_both() -> None:
    mask = ClickPicker(SeesColour()).pick(scene((LEFT, RED), (RIGHT, BLUE)), Pick((at(LEFT), at(RIGHT))))

    assert mask is not None
    both = truth(LEFT) | truth(RIGHT)
    assert np.mean((mask.values > 0.5) == both) > 0.98


def test_an_unwanted_point_takes_away_who_was_seen_as_one_with_the_wanted() -> None:
    frame = scene((LEFT, RED), (BESIDE, BLUE))
    picker = ClickPicker(SeesColour())

    together = picker.pick(frame, Pick((at(LEFT),)))
    apart = picker.pick(frame, Pick((at(LEFT), at(BESIDE, wanted=False))))

    assert overlap(together, LEFT) < 0.6
    assert overlap(apart, LEFT) > 0.9


@pytest.mark.parametrize("looker", [SeesNobody(), SeesNonsense()])
def test_a_thing_that_no_network_sees_is_cut_out_by_its_colour(looker: SeesNobody | SeesNonsense) -> None:
    mask = ClickPicker(looker).pick(scene((LEFT, RED), (RIGHT, BLUE)), Pick((at(LEFT),)))

    assert overlap(mask, LEFT) > 0.85


def test_an_empty_box_is_nobody() -> None:
    assert (
        ClickPicker(SeesNobody()).pick(Frame(0, np.zeros((90, 160, 3), np.uint8), 0.0), Pick((), (0, 0, 1, 1))) is None
    )


def test_one_look_is_enough_when_it_is_clear() -> None:
    looker = SeesColour()

    ClickPicker(looker).pick(scene((LEFT, RED)), Pick((at(LEFT),)))

    assert looker.looks == 1


def test_points_on_the_rim_of_the_picture_are_in_it() -> None:
    picker, frame = ClickPicker(SeesNobody()), scene((LEFT, RED))

    for point in (Point(x, y) for x in (0.0, 1.0) for y in (0.0, 1.0)):
        mask = picker.pick(frame, Pick((point, at(LEFT, wanted=False))))
        assert mask is None or not mask.values[truth(LEFT)].any()


@pytest.mark.parametrize("size", [(30, 90), (7, 3), (1280, 720)])
def test_frames_of_any_shape_are_taken(size: tuple[int, int]) -> None:
    frame = Frame(0, np.zeros((size[1], size[0], 3), np.float32), 0.0)

    mask = ClickPicker(SeesNobody()).pick(frame, Pick((Point(0.5, 0.5),)))

    assert mask is None or mask.size == size
