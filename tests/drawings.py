"""Scenes, backgrounds and pairs of composites: what the tests of drawing on a device share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rtmatte.clock import ManualClock
from rtmatte.compose.backgrounds import Background, Still
from rtmatte.compose.blur import Blur
from rtmatte.compose.checkerboard import Checkerboard
from rtmatte.compose.device import DeviceDrawing
from rtmatte.compose.host import ComposeOptions, Composite
from rtmatte.compose.look import Look
from rtmatte.frame import Frame, Matte, Phase
from rtmatte.imaging import Size, resize

Bytes = NDArray[np.uint8]


def scene(size: Size, working: Size, seed: int = 0) -> Matte:
    """Returns a wavy person before a busy room, with noise of a sensor, and an alpha that is a little off."""
    rng, (width, height) = np.random.default_rng(seed), size
    y, x = np.mgrid[0:height, 0:width]
    wave = 0.02 * np.sin(np.arctan2(y - height * 0.5, x - width * 0.5) * 9)
    far = np.hypot(x / width - 0.5, (y / height - 0.55) * 1.3)
    truth = np.clip((0.3 + wave - far) * min(size) / 12 + 0.5, 0, 1).astype(np.float32)
    room, person = (
        resize(rng.integers(low, 256, (max(2, height // part), max(2, width // part), 3), np.uint8), size)
        for low, part in ((0, 9), (120, 20))
    )
    mixed = truth[..., None] * person + (1 - truth[..., None]) * room + rng.normal(0, 3, room.shape)
    alpha = resize(truth, working)
    alpha += rng.normal(0, 0.01, alpha.shape).astype(np.float32) * (alpha > 0) * (alpha < 1)
    return Matte(Frame(seed, mixed.clip(0, 255).astype(np.uint8), seed / 30), alpha.clip(0, 1), Phase.TRACKING)


def picture(size: Size) -> Bytes:
    return np.random.default_rng(9).integers(0, 256, (size[1], size[0], 3), np.uint8)


BACKGROUNDS: dict[str, Callable[[], Background]] = {
    "colour": lambda: Still(np.full((1, 1, 3), (0, 255, 0), np.uint8)),
    "picture": lambda: Still(picture((90, 60))),
    "board": Checkerboard,
    "weak blur": lambda: Blur(1),
    "blur": lambda: Blur(50),
    "wide blur": lambda: Blur(100),
}


def both(background: Background, drawing: DeviceDrawing, look: Look | None = None) -> tuple[Composite, Composite]:
    """Returns the composite of the host and the one of the device."""
    host = Composite(background, ComposeOptions(), ManualClock(), look=look)
    return host, Composite(background, ComposeOptions(), ManualClock(), look=look, drawing=drawing)
