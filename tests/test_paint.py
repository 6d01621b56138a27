"""The painter against plain arithmetic over the whole picture: cover * person + (1 - cover) * background."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.compose.cutout import Cutout
from rtmatte.compose.look import Look
from rtmatte.compose.paint import Painter
from rtmatte.compose.refine import SURE, Refiner
from rtmatte.frame import Alpha, Frame, Matte, Phase
from rtmatte.imaging import Size, resize
from tests.assertions import assert_within_a_level

PLAIN = Look(despill=0)
SIZES: list[Size] = [(640, 360), (320, 240), (203, 117)]

Bytes = NDArray[np.uint8]


def scene(size: Size, *, working: float = 0.4) -> tuple[Matte, Bytes, Refiner]:
    """Returns a soft blob over texture, another picture to put behind it, and a refiner for both."""
    width, height = size
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width]
    reach = np.hypot(x - width * 0.45, y - height * 0.6) + 6 * np.sin(x / 9)
    alpha: Alpha = np.clip((height * 0.3 - reach) / 10 + 0.5, 0, 1).astype(np.float32)
    pixels, behind = (rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(2))
    small = resize(alpha, (max(1, round(width * working)), max(1, round(height * working))))
    return Matte(Frame(0, pixels, 0.0), small, Phase.TRACKING), behind, Refiner(PLAIN)


def cut(matte: Matte, refiner: Refiner) -> tuple[Cutout, Alpha]:
    """Returns the matte taken apart, and its cover at the frame's size."""
    cutout = refiner.cut(matte)
    assert cutout is not None
    return cutout, refiner.alpha(matte)


def plain(pixels: Bytes, cover: Alpha, behind: Bytes) -> Bytes:
    share = cover[..., None].astype(np.float64)
    return np.rint(share * pixels + (1 - share) * behind).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("working", [0.4, 1.0])
def test_over_is_the_plain_composite_of_every_pixel(size: Size, working: float) -> None:
    matte, behind, refiner = scene(size, working=working)
    cutout, cover = cut(matte, refiner)
    out = behind.copy()

    Painter().over(cutout, out, PLAIN)

    expected = plain(cutout.pixels, cover, behind)
    sure = (cover <= SURE) | (cover >= 1 - SURE)  # drawn as 0 or 1, half a level from it
    assert 0.02 < (~sure).mean() < 0.5, "both sides of the comparison must be there"
    assert_within_a_level(out, expected)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_matte_without_an_edge_is_a_copy(value: float) -> None:
    matte, behind, refiner = scene((640, 360))
    cutout, _ = cut(Matte(matte.frame, np.full((144, 256), value, np.float32), Phase.TRACKING), refiner)
    out = behind.copy()

    Painter().over(cutout, out, PLAIN)

    np.testing.assert_array_equal(out, matte.frame.pixels if value else behind)


@pytest.mark.parametrize("look", [PLAIN, Look(despill=0, light_wrap=0.5)])
def test_an_alpha_a_rounding_above_one_leaves_no_hole_in_the_person(look: Look) -> None:
    matte, behind, _ = scene((640, 360))
    above = np.full((144, 256), np.nextafter(np.float32(1), np.float32(2)), np.float32)
    cutout, _ = cut(Matte(matte.frame, above, Phase.TRACKING), Refiner(look))
    out = behind.copy()

    Painter().over(cutout, out, PLAIN)

    np.testing.assert_array_equal(out, matte.frame.pixels)


@pytest.mark.parametrize("size", SIZES)
def test_alone_shows_the_person_where_there_is_alpha_and_black_elsewhere(size: Size) -> None:
    matte, _, refiner = scene(size)
    cutout, cover = cut(matte, refiner)
    alpha = cv2.convertScaleAbs(cover, alpha=255).astype(np.uint8)
    out = np.full(cutout.pixels.shape, 9, np.uint8)

    Painter().alone(cutout, alpha, out, PLAIN)

    np.testing.assert_array_equal(out, np.where(alpha[..., None] > 0, cutout.pixels, 0))


def test_one_painter_draws_frames_of_many_sizes_as_new_ones_do() -> None:
    painter = Painter()
    for size in (*SIZES, SIZES[0]):
        matte, behind, refiner = scene(size)
        cutout, _ = cut(matte, refiner)
        kept, fresh = behind.copy(), behind.copy()

        painter.over(cutout, kept, Look(light_wrap=0.5))
        Painter().over(cutout, fresh, Look(light_wrap=0.5))

        np.testing.assert_array_equal(kept, fresh)
