"""The blurred room: near the full-size blur of the background alone, and nothing of the person in it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.compose.blur import SLATE, Blur
from rtmatte.compose.scratch import Bytes
from rtmatte.frame import Alpha
from rtmatte.imaging import Size
from tests.assertions import BLEED_MOST, BLUR_MEAN, LEVEL

SIZE: Size = (640, 360)


def person(size: Size = SIZE, *, softness: float = 3.0) -> Alpha:
    """An alpha with an edge `softness` pixels wide, cut by the lower border."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    alpha: Alpha = np.clip((height * 0.4 - np.hypot(x - width / 2, y - height * 0.8)) / softness + 0.5, 0, 1).astype(
        np.float32
    )
    return alpha


def mixed(alpha: Alpha, front: int, room: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.rint(alpha[..., None] * front + (1 - alpha[..., None]) * room).astype(np.uint8)


def behind(strength: float, frame: NDArray[np.uint8], alpha: Alpha) -> Bytes:
    out = np.empty_like(frame)
    Blur(strength).behind(frame, alpha, out, at=0.0)
    return out


@pytest.mark.parametrize("strength", [1, 20, 50, 100])
def test_a_white_person_does_not_glow_into_a_black_room(strength: float) -> None:
    alpha = person()
    frame = mixed(alpha, 255, np.zeros((360, 640, 3), np.uint8))

    blurred = behind(strength, frame, alpha)

    seen = blurred * (1 - alpha[..., None])
    assert seen.max() <= BLEED_MOST
    plain = cv2.GaussianBlur(frame, (0, 0), 9.5) * (1 - alpha[..., None])
    assert plain.max() > 20 * BLEED_MOST, "a blur that knows no alpha must fail here"


@pytest.mark.parametrize("strength", [1, 50, 100])
def test_it_is_the_full_size_blur_of_the_background_alone(strength: float) -> None:
    alpha = person()
    room: NDArray[Any] = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8), (0, 0), 4)
    room = np.clip(room.astype(np.float32) * 8 - 7 * 128, 0, 255).astype(np.uint8)
    sigma = (Blur.WEAKEST + (Blur.WIDEST - Blur.WEAKEST) * strength / 100) * 360
    shares = [
        cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        for plane in (room * (1 - alpha[..., None]), 1 - alpha)
    ]
    outside = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((11, 11), np.uint8)) == 0

    blurred = behind(strength, mixed(alpha, 255, room), alpha)

    error = np.abs(blurred - shares[0] / np.maximum(shares[1], 1e-6)[..., None])
    assert error[outside].mean() < BLUR_MEAN
    assert np.percentile(error[outside], 99) <= LEVEL


def test_a_stronger_blur_leaves_less_of_the_room() -> None:
    room = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
    nobody = np.zeros((360, 640), np.float32)

    left = [behind(strength, room, nobody).std() for strength in (1, 50, 100)]

    assert left[0] > left[1] > left[2]


def test_far_inside_the_person_stands_the_mean_of_the_room() -> None:
    alpha = np.ones((360, 640), np.float32)
    alpha[:, :20] = 0
    room = np.full((360, 640, 3), (200, 100, 50), np.uint8)

    blurred = behind(1, mixed(alpha, 0, room), alpha)

    np.testing.assert_array_equal(blurred[180, 600], (200, 100, 50))


def test_without_any_background_it_is_the_slate() -> None:
    frame = np.full((360, 640, 3), (250, 0, 250), np.uint8)

    blurred = behind(50, frame, np.ones((360, 640), np.float32))

    assert (blurred == SLATE).all()


@pytest.mark.parametrize("size", [(1, 1), (101, 57), (57, 301), (3, 500), (1, 4), (4, 1)])
def test_a_flat_room_of_any_size_stays_as_it_is(size: Size) -> None:
    room = np.full((size[1], size[0], 3), (10, 200, 90), np.uint8)

    blurred, plain = behind(50, room, np.zeros(size[::-1], np.float32)), np.empty_like(room)
    Blur(50).plain(plain, at=0.0)

    np.testing.assert_array_equal(blurred, room)
    assert (plain == SLATE).all()
