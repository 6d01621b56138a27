"""The fast guided filter against the plain one: the same lines, computed with whole levels and in a part alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.compose.guided import BAND, NOISE, RADIUS, lines
from rtmatte.compose.runs import Part
from rtmatte.compose.scratch import Scratch
from rtmatte.frame import Alpha
from tests.assertions import LINE_DETAIL, assert_equal_but_rounding

SHAPE = 144, 256
WHOLE: Part = (slice(0, SHAPE[0]), slice(0, SHAPE[1]))
PARTS: list[Part] = [
    WHOLE,
    (slice(40, 100), slice(0, 128)),
    (slice(0, 3), slice(200, 256)),
    (slice(143, 144), slice(9, 10)),
]

Values = NDArray[np.float64]


def scene() -> tuple[Alpha, NDArray[np.uint8]]:
    """Returns a soft disc and a noisy picture in which it is brighter than the room."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    alpha = np.clip((45 - np.hypot(x - 120, y - 70)) / 6 + 0.5, 0, 1).astype(np.float32)
    picture = rng.integers(20, 90, (*SHAPE, 3)) + np.rint(alpha[..., None] * 140).astype(int)
    return alpha, picture.astype(np.uint8)


def plain(alpha: Alpha, picture: NDArray[np.uint8]) -> tuple[Values, Values]:
    """Returns slope and offset as the docstring of `lines` says, in double precision and everywhere."""

    def mean(values: Values) -> Values:
        return cv2.blur(values, (2 * RADIUS + 1, 2 * RADIUS + 1)).astype(np.float64, copy=False)

    luma, exact = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64), alpha.astype(np.float64)
    covariance = mean(luma * exact) - mean(luma) * mean(exact)
    slope: Values = covariance / (mean(luma**2) - mean(luma) ** 2 + NOISE) * np.minimum(1, BAND * exact * (1 - exact))
    return slope, exact - slope * luma


@pytest.mark.parametrize("part", PARTS)
def test_the_lines_are_those_of_the_plain_filter(part: Part) -> None:
    alpha, picture = scene()

    slope, offset = lines(alpha, picture, part, scratch=Scratch())

    expected_slope, expected_offset = (values[part] for values in plain(alpha, picture))
    assert slope.shape == offset.shape == expected_slope.shape
    assert np.abs(slope - expected_slope).max() * 255 < LINE_DETAIL
    assert np.abs(offset - expected_offset).max() < LINE_DETAIL
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[part]
    assert_equal_but_rounding(slope * luma + offset, alpha[part])  # on its own luma it is the alpha itself


def test_parts_of_many_shapes_share_one_memory() -> None:
    alpha, picture = scene()
    scratch = Scratch()
    expected = [line.copy() for line in lines(alpha, picture, PARTS[1], scratch=Scratch())]

    for part in PARTS:
        lines(alpha, picture, part, scratch=scratch)
    found = lines(alpha, picture, PARTS[1], scratch=scratch)

    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_texture_adds_no_detail_where_the_matte_is_sure() -> None:
    _, picture = scene()

    for value in (0.0, 1.0):
        slope, offset = lines(np.full(SHAPE, value, np.float32), picture, WHOLE, scratch=Scratch())

        assert not slope.any()
        assert (offset == value).all()
