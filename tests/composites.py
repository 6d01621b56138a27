"""Mattes of a disc in a made room, and composites of them: what the tests of drawing share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtmatte.clock import ManualClock
from rtmatte.compose.backgrounds import open_background, parse_background
from rtmatte.compose.host import (
    ComposeOptions,
    Composite,
)
from rtmatte.frame import Alpha, Frame, Matte, Phase
from rtmatte.imaging import Size, resize

SIZE: Size = (160, 90)
ROOM = (250, 0, 250)  # a colour that nothing else has
PERSON = (20, 180, 40)
BEHIND = (30, 30, 200)


def disc(size: Size = SIZE) -> Alpha:
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    alpha: Alpha = np.clip((height * 0.3 - np.hypot(x - width / 2, y - height / 2)) / 4 + 0.5, 0, 1).astype(np.float32)
    return alpha


def scene(alpha: Alpha) -> NDArray[np.uint8]:
    mixed: NDArray[np.uint8] = np.rint(
        alpha[..., None] * np.array(PERSON) + (1 - alpha[..., None]) * np.array(ROOM)
    ).astype(np.uint8)
    return mixed


def matte(
    alpha: Alpha | None = None,
    *,
    seq: int = 0,
    size: Size = SIZE,
    working: Size | None = None,
    pts: float | None = None,
) -> Matte:
    """A frame of the person in the room; `alpha` None is one without a trustworthy matte."""
    pixels = scene(disc(size) if alpha is None else alpha)
    small = None if alpha is None else resize(alpha, working or size)
    return Matte(Frame(seq, pixels, 7.0, pts), small, Phase.LOST if alpha is None else Phase.TRACKING)


def before(background: str, clock: ManualClock | None = None, options: ComposeOptions | None = None) -> Composite:
    opened = open_background(parse_background(background))
    return Composite(opened, options or ComposeOptions(), clock or ManualClock())


def shows_the_room(pixels: NDArray[Any]) -> bool:
    """Whether red and blue exceed green anywhere as they do in the room, at half its strength or more."""
    colours = np.broadcast_to(pixels, (*pixels.shape[:2], max(3, pixels.shape[2]))).astype(int)
    return bool((np.minimum(colours[..., 0], colours[..., 2]) - colours[..., 1] > 125).any())
