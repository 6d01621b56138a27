"""The shrunk source: the sizes and pixels of MatAnyone's `max_size`."""

from __future__ import annotations

import numpy as np
import pytest

from rtmatte.clock import ManualClock
from rtmatte.errors import InputError
from rtmatte.resampling import Size, shrink_area
from rtmatte.sources.shrunk import ShrunkSource
from rtmatte.sources.synthetic import SyntheticSource


def shrunk(size: Size, shortest: int) -> ShrunkSource:
    return ShrunkSource(SyntheticSource(ManualClock(), size=size, frames=3), shortest)


@pytest.mark.parametrize(
    ("size", "shortest", "expected"),
    [((1280, 720), 480, (853, 480)), ((720, 1280), 480, (480, 853)), ((101, 57), 50, (88, 50))],
)
def test_the_shorter_side_is_brought_down_and_the_longer_cut_to_whole_pixels(
    size: Size, shortest: int, expected: Size
) -> None:
    source = shrunk(size, shortest)

    assert source.size == expected
    assert [frame.size for frame in source] == [expected] * 3


def test_reduced_pixels_are_unrounded_means_of_areas() -> None:
    frame = next(iter(shrunk((128, 96), 48)))
    full = SyntheticSource(ManualClock(), size=(128, 96)).pixels_of(0).astype(np.float32)

    assert frame.pixels.dtype == np.float32
    np.testing.assert_allclose(frame.pixels, full.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3)), atol=1e-3)


def test_reduced_pixels_are_those_of_the_protocol_where_pixels_are_cut_through() -> None:
    frame = next(iter(shrunk((101, 57), 50)))

    full = SyntheticSource(ManualClock(), size=(101, 57)).pixels_of(0)
    np.testing.assert_array_equal(frame.pixels, shrink_area(full, (88, 50)))


def test_small_pictures_pass_untouched() -> None:
    frames = list(shrunk((128, 96), 96))

    assert [frame.pixels.dtype for frame in frames] == [np.uint8] * 3
    assert [frame.seq for frame in frames] == [0, 1, 2]


def test_nothing_is_reduced_to_nothing() -> None:
    with pytest.raises(InputError, match="at least 1 pixel"):
        shrunk((128, 96), 0)
