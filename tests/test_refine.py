"""The alpha at frame size: sharper than interpolation at edges, and nothing but interpolation elsewhere."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.compose.refine import Refiner
from rtmatte.frame import Alpha, Frame, Matte, Phase
from rtmatte.imaging import Size, resize
from tests.assertions import assert_equal_but_rounding

FRAME: Size = (640, 360)
WORKING: Size = (256, 144)


def matte_of(pixels: NDArray[Any], alpha: Alpha | None) -> Matte:
    return Matte(Frame(0, pixels, 0.0), alpha, Phase.TRACKING)


def refined(pixels: NDArray[Any], alpha: Alpha) -> Alpha:
    return Refiner().alpha(matte_of(pixels, alpha))


def texture(size: Size, *, low: int, high: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(low, high, (size[1], size[0], 3), np.uint8)


def disc(size: Size) -> Alpha:
    """A person's alpha with an edge one pixel wide."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    alpha: Alpha = np.clip(height * 0.3 - np.hypot(x - width / 2, y - height / 2) + 0.5, 0, 1).astype(np.float32)
    return alpha


def person_before_texture(alpha: Alpha, brightness: int) -> NDArray[np.uint8]:
    room = texture((alpha.shape[1], alpha.shape[0]), low=30, high=70)
    return np.rint(alpha[..., None] * brightness + (1 - alpha[..., None]) * room).astype(np.uint8)


def mad(found: Alpha, expected: Alpha) -> float:
    return float(np.abs(found - expected).mean())


def test_a_sharp_edge_is_at_least_twice_as_exact_as_by_interpolation() -> None:
    truth = disc(FRAME)
    working = resize(truth, WORKING)

    found = refined(person_before_texture(truth, 200), working)

    assert mad(found, truth) < 0.5 * mad(resize(working, FRAME), truth)


def test_an_edge_that_the_luma_does_not_show_is_no_worse_than_by_interpolation() -> None:
    truth = disc(FRAME)
    working = resize(truth, WORKING)

    found = refined(person_before_texture(truth, 50), working)

    assert mad(found, truth) < 1.02 * mad(resize(working, FRAME), truth)


def test_away_from_the_edge_there_is_no_halo() -> None:
    truth = disc(FRAME)
    working = resize(truth, WORKING)
    unsure = ((working > 0) & (working < 1)).astype(np.uint8)
    near = resize(cv2.dilate(unsure, np.ones((5, 5), np.uint8)), FRAME) > 0

    found = refined(person_before_texture(truth, 200), working)

    assert 0.02 < near.mean() < 0.5, "both sides of the comparison must be there"
    assert_equal_but_rounding(found[~near], resize(working, FRAME)[~near])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_texture_does_not_enter_a_sure_alpha(value: float) -> None:
    found = refined(texture(FRAME, low=0, high=256), np.full(WORKING[::-1], value, np.float32))

    assert_equal_but_rounding(found, np.full(FRAME[::-1], value, np.float32))


def test_at_equal_size_the_engines_own_alpha_is_given() -> None:
    alpha = disc(FRAME)

    assert refined(texture(FRAME, low=0, high=256), alpha) is alpha


def test_a_smaller_frame_gets_the_mean_over_areas() -> None:
    alpha = disc(FRAME)

    assert_equal_but_rounding(refined(texture(WORKING, low=0, high=256), alpha), resize(alpha, WORKING))


def test_no_trustworthy_matte_is_an_alpha_of_zeros() -> None:
    refiner, pixels = Refiner(), texture(FRAME, low=0, high=256)
    refiner.alpha(matte_of(pixels, np.ones(WORKING[::-1], np.float32)))

    found = refiner.alpha(matte_of(pixels, None))

    assert found.shape == FRAME[::-1]
    assert not found.any()


def test_float_pixels_give_the_alpha_of_byte_pixels() -> None:
    truth = disc(FRAME)
    pixels, working = person_before_texture(truth, 200), resize(truth, WORKING)

    of_floats = refined(pixels.astype(np.float32), working)

    # luma is rounded to a byte in one of them: half a level of about 150 across this edge
    assert np.abs(of_floats - refined(pixels, working)).max() < 1 / 150


@pytest.mark.parametrize("frame", [(1, 1), (101, 57), (57, 301), (2, 1), (500, 3)])
@pytest.mark.parametrize("working", [(1, 1), (40, 32), (2, 7)])
def test_any_size_gives_an_alpha_in_range(frame: Size, working: Size) -> None:
    alpha = np.random.default_rng(1).random(working[::-1], np.float32)

    found = refined(texture(frame, low=0, high=256), alpha)

    assert found.shape == frame[::-1]
    assert found.min() >= 0
    assert found.max() <= 1


def test_a_size_that_changes_midway_gives_what_a_new_refiner_gives() -> None:
    refiner = Refiner()
    for size in (FRAME, (300, 420), FRAME):
        truth = disc(size)
        pixels, working = person_before_texture(truth, 200), resize(truth, WORKING)

        found = refiner.alpha(matte_of(pixels, working))

        np.testing.assert_array_equal(found, refined(pixels, working))


def test_a_crop_of_a_letterboxed_alpha_is_read_as_it_lies() -> None:
    truth = disc(FRAME)
    pixels, working = person_before_texture(truth, 200), resize(truth, WORKING)
    boxed = np.full((WORKING[1] + 20, WORKING[0] + 40), np.float32(0.5))
    crop = boxed[10:-10, 20:-20]
    crop[:] = working

    np.testing.assert_array_equal(refined(pixels, crop), refined(pixels, working))


def test_one_matte_is_refined_once_and_the_next_anew() -> None:
    refiner, truth = Refiner(), disc(FRAME)
    pixels, working = person_before_texture(truth, 200), resize(truth, WORKING)
    first = matte_of(pixels, working)
    before = refiner.alpha(first).copy()
    working.fill(0)  # the engine goes on; the matte drawn from is still the first

    np.testing.assert_array_equal(refiner.alpha(first), before)
    assert not refiner.alpha(matte_of(pixels, working)).any()
