"""What benchmarks.picture says of a made scene: each way of drawing is better than doing without it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.picture import Scene, blur_errors, colour_errors, compose, upsampling
from tests.assertions import LEVEL


@pytest.fixture(scope="module")
def scene() -> Scene:
    y, x = np.mgrid[0:720, 0:1280]
    alpha = np.clip((220 - np.hypot(x - 640, y - 420)) / 3 + 0.5, 0, 1).astype(np.float32)
    wall = np.stack([20 + y / 9, 40 + x / 40, 60 + y / 9], axis=-1)
    person = np.stack([150 + x / 20, 180 + 0 * x, 190 - y / 10], axis=-1)
    return compose(person.astype(np.uint8), alpha, wall.astype(np.uint8), np.random.default_rng(0))


def test_decontaminated_colours_have_four_tenths_less_of_an_error(scene: Scene) -> None:
    before, after = colour_errors(scene)

    assert before > 20, "the check must see the room's colour where it is"
    assert after < 0.6 * before


def test_a_person_who_is_not_there_cannot_be_cut_out_better(scene: Scene) -> None:
    wrong = Scene(scene.room, scene.alpha, scene.room, scene.frame)

    before, after = colour_errors(wrong)

    assert after > before


def test_guided_upsampling_beats_interpolation(scene: Scene) -> None:
    found = upsampling(scene)

    assert found["guided"][0] < found["linear"][0]
    assert found["guided"][1] < found["linear"][1]


def test_a_blurred_room_is_the_blur_of_the_room_alone(scene: Scene) -> None:
    assert np.percentile(blur_errors(scene), 99) <= LEVEL
