"""The plate: whatever is not the empty room, whatever the light, and only the parts that are pointed at."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.frame import Frame, Mask
from rtmatte.targets import Pick, Point
from rtmatte.targets.plate import PlateTarget

SIZE = (320, 180)
PERSON, LAMP = ((120, 100), 45), ((260, 60), 25)
Disc = tuple[tuple[int, int], int]
Bytes = NDArray[np.uint8]


def room() -> Bytes:
    """Returns a room with a window, a wall that gets darker, and a floor."""
    pixels = np.full((SIZE[1], SIZE[0], 3), (150, 140, 120), np.uint8)
    pixels[:, :, 1] = np.linspace(150, 90, SIZE[0], dtype=np.uint8)
    cv2.rectangle(pixels, (20, 20), (80, 70), (230, 235, 240), cv2.FILLED)
    cv2.rectangle(pixels, (0, 150), SIZE, (90, 70, 50), cv2.FILLED)
    return pixels


def filmed(pixels: Bytes, *, seed: int = 1) -> Bytes:
    """Returns the picture with a camera's noise."""
    noise = np.random.default_rng(seed).normal(0, 3, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def scene(*discs: Disc, light: float = 1.0) -> Frame:
    pixels = room()
    for middle, radius in discs:
        cv2.circle(pixels, middle, radius, (60, 40, 160), cv2.FILLED)
    return Frame(0, filmed(np.clip(pixels * light, 0, 255).astype(np.uint8)), 0.0)


def truth(*discs: Disc) -> NDArray[np.bool_]:
    mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    for middle, radius in discs:
        cv2.circle(mask, middle, radius, 1, cv2.FILLED)
    return mask > 0


def overlap(mask: Mask | None, *discs: Disc) -> float:
    assert mask is not None
    assert mask.size == SIZE
    found, wanted = mask.values > 0.5, truth(*discs)
    return float(np.count_nonzero(found & wanted) / np.count_nonzero(found | wanted))


@pytest.fixture
def target() -> PlateTarget:
    return PlateTarget(filmed(room(), seed=0))


@pytest.mark.parametrize("light", [0.8, 1.0, 1.15])
def test_a_person_and_what_they_brought_are_proposed_in_any_light(target: PlateTarget, light: float) -> None:
    assert overlap(target.propose(scene(PERSON, LAMP, light=light)), PERSON, LAMP) > 0.9


@pytest.mark.parametrize("light", [0.8, 1.0, 1.15])
def test_the_empty_room_is_nobody(target: PlateTarget, light: float) -> None:
    assert target.propose(scene(light=light)) is None


def test_a_box_keeps_only_what_is_in_it(target: PlateTarget) -> None:
    assert overlap(target.pick(scene(PERSON, LAMP), Pick((), (0.1, 0.1, 0.65, 1.0))), PERSON) > 0.9


def test_a_point_keeps_only_the_part_it_is_on(target: PlateTarget) -> None:
    frame = scene(PERSON, LAMP)
    on_lamp = Point(260 / SIZE[0], 60 / SIZE[1])

    assert overlap(target.pick(frame, Pick((on_lamp,))), LAMP) > 0.85
    assert target.pick(frame, Pick((Point(0.99, 0.99),))) is None


def test_an_unwanted_point_takes_a_part_away(target: PlateTarget) -> None:
    points = (Point(260 / SIZE[0], 60 / SIZE[1], wanted=False),)

    assert overlap(target.pick(scene(PERSON, LAMP), Pick(points, (0.0, 0.0, 1.0, 1.0))), PERSON) > 0.9


def test_a_plate_of_another_size_is_scaled() -> None:
    plate = np.asarray(cv2.resize(filmed(room(), seed=0), (640, 360)), np.uint8)

    assert overlap(PlateTarget(plate).propose(scene(PERSON)), PERSON) > 0.9
