"""Size limits and resizes of MatAnyone's protocol, against PyTorch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from rtmatte.resampling import limited, resize_linear, shrink_area, shrink_nearest
from tests.assertions import assert_same_picture

SIDES = st.integers(1, 60)
SHARES = st.floats(0.05, 1.0)


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [
        ((200, 150), 100, (133, 100)),
        ((200, 150), 96, (128, 96)),
        ((150, 200), 100, (100, 133)),
        ((200, 150), 150, (200, 150)),
        ((200, 150), 400, (200, 150)),
        ((200, 150), -1, (200, 150)),
    ],
)
def test_a_size_limit_holds_for_the_shorter_side(size: tuple[int, int], limit: int, expected: tuple[int, int]) -> None:
    assert limited(size, limit) == expected


@given(width=SIDES, height=SIDES, across=SHARES, down=SHARES)
@settings(deadline=None, max_examples=40)
def test_shrinking_a_frame_is_the_area_resize_of_the_reference(
    width: int, height: int, across: float, down: float
) -> None:
    picture = np.random.default_rng(0).uniform(0, 255, (height, width, 3)).astype(np.float32)
    size = max(1, int(width * across)), max(1, int(height * down))

    found = shrink_area(picture, size)

    expected = F.interpolate(torch.from_numpy(picture).double().permute(2, 0, 1)[None], size[::-1], mode="area")
    assert_same_picture(found, expected[0].permute(1, 2, 0).numpy(), "area")


@given(width=SIDES, height=SIDES, new_width=SIDES, new_height=SIDES)
@settings(deadline=None, max_examples=40)
def test_a_linear_resize_is_the_bilinear_one_of_the_reference(
    width: int, height: int, new_width: int, new_height: int
) -> None:
    picture = np.random.default_rng(0).uniform(0, 255, (height, width)).astype(np.float32)

    found = resize_linear(picture, (new_width, new_height))

    tensor = torch.from_numpy(picture).double()[None, None]
    expected = F.interpolate(tensor, (new_height, new_width), mode="bilinear", align_corners=False)
    assert_same_picture(found, expected[0, 0].numpy(), "bilinear")


def test_shrinking_a_mask_makes_no_new_values() -> None:
    mask = np.zeros((150, 200), np.uint8)
    mask[40:101, 30:77] = 255

    found = shrink_nearest(mask, (133, 100))

    expected = F.interpolate(torch.from_numpy(mask)[None, None], (100, 133), mode="nearest")
    np.testing.assert_array_equal(found, expected[0, 0].numpy())
