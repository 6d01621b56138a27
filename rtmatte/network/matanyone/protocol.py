"""Padding, as the authors' protocol has it. Its size limits and resizes are in `rtmatte.resampling`."""

from __future__ import annotations

Size = tuple[int, int]  # (width, height)

STRIDE = 16  # a token covers 16x16 pixels


def padding(length: int) -> tuple[int, int]:
    """Returns the zeros to add before and after `length` pixels to reach a multiple of 16."""
    missing = -length % STRIDE
    return missing // 2, missing - missing // 2
