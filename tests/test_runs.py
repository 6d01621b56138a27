"""Packed pixels: the chosen ones and no others, there and back, and interpolated as the whole picture is."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rtmatte.compose.runs import Runs
from rtmatte.imaging import Size
from tests.assertions import PART_LEVELS

SIZES = [(1280, 720), (640, 480), (640, 360), (854, 480), (101, 57), (8, 1), (1, 9)]


def blot(size: Size, *, seed: int, share: float = 0.2) -> NDArray[np.uint8]:
    """Returns a mask (h, w) with one blot somewhere, of about `share` of either side."""
    width, height = size
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    across, down = max(1, int(width * share)), max(1, int(height * share))
    x, y = rng.integers(0, width - across + 1), rng.integers(0, height - down + 1)
    mask[y : y + down, x : x + across] = 255
    return mask


def chosen(runs: Runs, size: Size) -> NDArray[np.bool_]:
    """Returns which pixels (H, W) are packed."""
    marked = np.zeros((size[1], size[0]), np.uint8)
    runs.put(np.ones((1, runs.count), np.uint8), marked)
    return marked > 0


@pytest.mark.parametrize("size", SIZES)
def test_what_the_mask_touches_by_interpolation_is_packed(size: Size) -> None:
    small = max(1, size[0] * 2 // 5), max(1, size[1] * 2 // 5)
    mask = blot(small, seed=1)
    runs = Runs()

    runs.choose(mask, size)

    touched = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0
    assert not (touched & ~chosen(runs, size)).any()


def test_far_from_the_mask_nothing_is_packed() -> None:
    runs = Runs()

    runs.choose(blot((256, 144), seed=2), (640, 360))

    assert 0 < chosen(runs, (640, 360)).mean() < 0.1


@pytest.mark.parametrize("channels", [(), (3,)])
def test_what_is_taken_and_put_back_is_the_picture_at_the_chosen_pixels_alone(channels: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (360, 640, *channels), np.uint8)
    runs, out = Runs(), np.zeros_like(picture)
    runs.choose(blot((256, 144), seed=3), (640, 360))

    runs.put(runs.take("pixels", picture), out)

    where = chosen(runs, (640, 360))
    np.testing.assert_array_equal(out[where], picture[where])
    assert not out[~where].any()


@given(
    size=st.sampled_from(SIZES),
    small=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    share=st.sampled_from([0.02, 0.2, 0.7, 1.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
@pytest.mark.parametrize("kind", [np.float32, np.int16])
def test_a_part_made_larger_is_the_part_of_the_whole_made_larger(
    kind: type, size: Size, small: Size, share: float, seed: int
) -> None:
    small = min(small[0], size[0]), min(small[1], size[1])
    values: NDArray[Any] = np.random.default_rng(seed).integers(0, 256, (small[1], small[0], 3)).astype(kind)
    runs = Runs()
    runs.choose(blot((min(64, size[0]), min(36, size[1])), seed=seed, share=share), size)

    found = runs.enlarged("values", values[runs.part(values.shape)], values.shape)

    whole = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR).reshape(size[1], size[0], 3)
    expected = runs.take("expected", whole).astype(np.float32)
    assert found.shape == expected.shape == (1, runs.count, 3)
    assert np.abs(found - expected).max(initial=0) <= PART_LEVELS[found.dtype.name]


def test_an_empty_mask_packs_nothing() -> None:
    runs, picture = Runs(), np.ones((36, 64), np.float32)
    runs.choose(np.zeros((36, 64), np.uint8), (64, 36))

    assert runs.count == 0
    assert runs.take("pixels", picture).shape == (1, 0)
    assert runs.enlarged("values", picture[runs.part(picture.shape)], picture.shape).shape == (1, 0)


def test_a_copy_is_of_the_runs_inside() -> None:
    picture = np.random.default_rng(0).integers(1, 256, (36, 64, 3), np.uint8)
    runs, out, mask = Runs(), np.zeros((36, 64, 3), np.uint8), np.zeros((36, 64), np.uint8)
    mask[:, 16:32] = 255
    runs.choose(mask, (64, 36))

    runs.copy(picture, mask, out)

    np.testing.assert_array_equal(out[:, 16:32], picture[:, 16:32])
    assert not out[:, :16].any()
    assert not out[:, 32:].any()
