"""Padding of MatAnyone's protocol."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtmatte.network.matanyone.protocol import padding


@given(length=st.integers(1, 5000))
def test_padding_reaches_the_next_multiple_of_16_with_the_odd_pixel_after(length: int) -> None:
    before, after = padding(length)

    assert (length + before + after) % 16 == 0
    assert before + after < 16
    assert 0 <= after - before <= 1
