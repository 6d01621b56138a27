"""The edge's own colours against a plain estimate: the same means, computed with whole numbers on a small picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.compose.cutout import Cutout
from rtmatte.compose.despill import ANYWHERE, REACHES, UNSURE, WIDER, Despill, small_shape
from rtmatte.compose.refine import Refiner
from rtmatte.frame import Alpha, Frame, Matte, Phase
from rtmatte.imaging import Shrink, Size
from tests.assertions import COLOURS_MEAN, COLOURS_MOST

SIZE: Size = (640, 360)
PERSON, ROOM = (210.0, 90.0, 60.0), (20.0, 160.0, 230.0)

Values = NDArray[np.float64]


def cut(*, seed: int) -> Cutout:
    """Returns a person of one colour, with noise, before a room of another, both uneven, with a soft edge."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    alpha = np.clip((110 - np.hypot(x - 300, y - 220)) / 12 + 0.5, 0, 1).astype(np.float32)
    shade = 0.7 + 0.3 * np.sin(x / 50)[..., None]
    mixed = alpha[..., None] * np.array(PERSON) * shade + (1 - alpha[..., None]) * np.array(ROOM) * shade[::-1]
    pixels = np.clip(mixed + rng.normal(0, 3, mixed.shape), 0, 255).astype(np.uint8)
    working: Alpha = cv2.resize(alpha, (256, 144), interpolation=cv2.INTER_AREA).astype(np.float32)
    cutout = Refiner().cut(Matte(Frame(0, pixels, 0.0), working, Phase.TRACKING))
    assert cutout is not None
    return cutout


def plain(cutout: Cutout) -> Values:
    """Returns the colours (1, count, 3) at the edge as the module's docstring says, in double precision."""
    height, width = small_shape(cutout.alpha.shape)
    picture, alpha = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.float32)
    Shrink().into(cutout.small, picture)
    Shrink().into(cutout.alpha, alpha)

    def mean(weight: Values) -> Values:
        counted = np.dstack([picture * weight[..., None], weight])
        total = np.broadcast_to(counted.mean((0, 1)) * ANYWHERE, counted.shape).copy()
        for rank, reach in enumerate(REACHES):
            across = 2 * reach + 1
            total += WIDER**rank * cv2.blur(counted, (across, across), borderType=cv2.BORDER_REPLICATE)
        colours: Values = np.clip(total[..., :3] / total[..., 3:], 0, 255)
        return colours

    sure = (
        np.clip((alpha.astype(np.float64) - 1) / UNSURE + 1, 0, 1),
        np.clip(1 - alpha.astype(np.float64) / UNSURE, 0, 1),
    )
    spill = cv2.resize(mean(sure[0]) - mean(sure[1]), SIZE, interpolation=cv2.INTER_LINEAR)
    there = cutout.edge.take("plain spill", spill)
    colours: Values = np.clip(
        cutout.edge_pixels + (1 - cutout.edge_alpha[..., None].astype(np.float64)) * there, 0, 255
    )
    return colours


@pytest.mark.parametrize("seed", [0, 1])
def test_the_colours_are_those_of_the_plain_estimate(seed: int) -> None:
    cutout = cut(seed=seed)

    found = Despill().colours(cutout, 1.0)

    away = np.abs(found - plain(cutout))
    assert away.max() < COLOURS_MOST
    assert away.mean() < COLOURS_MEAN


@pytest.mark.parametrize(
    ("shape", "small"),
    [
        ((288, 512), (99, 176)),
        ((384, 512), (96, 128)),
        ((512, 288), (176, 99)),
        ((480, 854), (96, 171)),  # no simple proportions
        ((60, 80), (60, 80)),  # small enough
        ((1, 7), (1, 7)),
    ],
)
def test_the_small_picture_has_the_proportions_of_the_alpha(shape: tuple[int, int], small: tuple[int, int]) -> None:
    assert small_shape(shape) == small
