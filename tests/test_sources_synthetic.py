"""The made scene: its alpha is true, its number survives, and it is the same every time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rtmatte.clock import ManualClock
from rtmatte.errors import SourceError
from rtmatte.sources.synthetic import PERSON, ROOM, SyntheticSource, decode_code
from tests.assertions import LEVEL

SIZES = [(640, 360), (64, 48), (101, 57), (360, 640)]


@pytest.mark.parametrize("size", SIZES)
def test_every_frame_says_its_number(size: tuple[int, int]) -> None:
    scene = SyntheticSource(ManualClock(), size=size)

    numbers = [*range(5), 1023, 2730, 4095]

    assert [decode_code(scene.pixels_of(number)) for number in numbers] == numbers
    assert decode_code(scene.pixels_of(4096 + 7)) == 7


def test_the_number_survives_scaling_noise_and_brightness() -> None:
    scene = SyntheticSource(ManualClock(), size=(640, 360))
    random = np.random.default_rng(0)

    for number in (0, 1, 77, 4095):
        small = cv2.resize(scene.pixels_of(number), (320, 180), interpolation=cv2.INTER_AREA)
        spoilt = small * 0.7 + 40 + random.normal(0, 8, small.shape)
        assert decode_code(spoilt) == number


def test_what_carries_no_number_has_none() -> None:
    random = np.random.default_rng(0)
    scene = SyntheticSource(ManualClock(), size=(640, 360))
    flipped = scene.pixels_of(5)
    flipped[:30, 40 * 13 : 40 * 14] = 16  # the last bit of the number: the parity no longer fits

    assert decode_code(np.full((360, 640, 3), ROOM, np.uint8)) is None
    assert decode_code(random.integers(0, 256, (360, 640, 3))) is None
    assert decode_code(flipped) is None
    assert decode_code(np.zeros((1, 1, 3), np.uint8)) is None


@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_person_over_room_by_the_alpha(size: tuple[int, int]) -> None:
    scene = SyntheticSource(ManualClock(), size=size)

    for number in (0, 30, 299):
        alpha, pixels = scene.alpha_of(number), scene.pixels_of(number)
        below = slice(max(9, size[1] // 8), None)  # the strip is above
        expected = alpha[..., None] * np.array(PERSON) + (1 - alpha[..., None]) * np.array(ROOM)
        assert np.abs(pixels[below] - expected[below]).max() <= LEVEL
        assert alpha[: below.start].max() == 0
        assert 0.08 < alpha.mean() < 0.2
        assert ((alpha > 0) & (alpha < 1)).any()


def test_the_person_moves() -> None:
    scene = SyntheticSource(ManualClock())

    assert np.abs(scene.alpha_of(0) - scene.alpha_of(10)).mean() > 0.02


def test_a_frame_is_the_same_every_time() -> None:
    first, second = (SyntheticSource(ManualClock(), size=(160, 96), frames=3) for _ in range(2))

    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_times_are_those_of_the_rate_and_the_clock() -> None:
    clock = ManualClock(start=3.0)

    frames = list(SyntheticSource(clock, size=(64, 48), frames=3, fps=10))

    assert [(frame.seq, frame.pts) for frame in frames] == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert {frame.captured_at for frame in frames} == {3.0}


def test_an_endless_scene_ends_when_closed() -> None:
    scene = SyntheticSource(ManualClock(), size=(64, 48), frames=None)
    seen = []

    for frame in scene:
        seen.append(frame.seq)
        if frame.seq == 9:
            scene.close()

    assert seen == list(range(10))
    assert scene.frame_count is None


def test_a_scene_too_small_for_its_number_is_refused() -> None:
    with pytest.raises(SourceError, match="64x48"):
        SyntheticSource(ManualClock(), size=(32, 32))
