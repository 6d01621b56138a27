"""A made scene with a known alpha: a bright disc, the person, moves before a room of one colour found nowhere else.

A strip of blocks at the top says each frame's number, so that a frame can be told apart after any pipeline. The strip
belongs to the room. The same number always gives the same pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rtmatte.clock import Clock
from rtmatte.errors import SourceError
from rtmatte.frame import Alpha, Frame

ROOM = (150, 20, 90)
PERSON = (235, 220, 205)

# The strip: two blocks of sync (one, zero), the number, even parity, a closing one. Levels stay well below the
# person's, so that whoever looks for a bright disc does not find the strip.
NUMBER_BITS = 12
BLOCKS = NUMBER_BITS + 4
ONE, ZERO = 112, 16
SMALLEST = (64, 48)


class SyntheticSource:
    """`frames` frames of the scene (endless when None), made as fast as they are asked for; each owns its pixels."""

    def __init__(
        self, clock: Clock, *, size: tuple[int, int] = (640, 360), frames: int | None = 300, fps: float = 30.0
    ) -> None:
        """Refuses a `size` too small for the strip to be read, with SourceError."""
        if size[0] < SMALLEST[0] or size[1] < SMALLEST[1]:
            raise SourceError(
                f"expected a synthetic scene of at least {SMALLEST[0]}x{SMALLEST[1]}, found {size[0]}x{size[1]}"
            )
        self.name = "synthetic"
        self.size = size
        self.fps = fps
        self.frame_count = frames
        self._clock = clock
        self._closed = False
        self._room = np.full((size[1], size[0], 3), ROOM, np.uint8)

    def __iter__(self) -> Iterator[Frame]:
        seq = 0
        while not self._closed and (self.frame_count is None or seq < self.frame_count):
            yield Frame(seq, self.pixels_of(seq), self._clock.now(), seq / self.fps)
            seq += 1

    def pixels_of(self, seq: int) -> NDArray[np.uint8]:
        """Returns frame `seq`, (H, W, 3) RGB, as a new array."""
        width, height = self.size
        pixels = self._room.copy()
        strip = np.repeat(np.where(_bits(seq), ONE, ZERO), _edges(width)[1:] - _edges(width)[:-1])
        pixels[: _strip_height(height)] = strip[None, :, None]
        window, alpha = self._disc(seq)
        room = pixels[window]
        pixels[window] = np.rint(room + alpha[..., None] * (np.array(PERSON, np.float32) - room)).astype(np.uint8)
        return pixels

    def alpha_of(self, seq: int) -> Alpha:
        """Returns the true alpha of frame `seq`: (H, W) float32 in 0..1, a new array; its edge is two pixels soft."""
        alpha = np.zeros((self.size[1], self.size[0]), np.float32)
        window, disc = self._disc(seq)
        alpha[window] = disc
        return alpha

    def _disc(self, seq: int) -> tuple[tuple[slice, slice], Alpha]:
        width, height = self.size
        x = width * (0.5 + 0.22 * math.sin(seq * 0.11))
        y = height * (0.56 + 0.1 * math.sin(seq * 0.07))
        radius = 0.25 * min(width, height)
        rows = slice(int(y - radius) - 1, int(y + radius) + 2)
        columns = slice(int(x - radius) - 1, int(x + radius) + 2)
        down = np.arange(rows.start, rows.stop) + 0.5 - y
        across = np.arange(columns.start, columns.stop) + 0.5 - x
        distance = np.hypot(across, down[:, None])
        return (rows, columns), np.clip((radius - distance) / 2.0 + 0.5, 0.0, 1.0).astype(np.float32)

    def close(self) -> None:
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def decode_code(pixels: NDArray[Any]) -> int | None:
    """Returns the number in the strip of a frame (H, W, 3) of any size, modulo 4096; None when it cannot be read.

    Compression, scaling and a change of brightness are survived: the sync blocks say what one and zero look like.
    """
    height, width = pixels.shape[:2]
    if width < BLOCKS:
        return None
    rows = max(1, _strip_height(height) // 4)
    middle = pixels[rows : 3 * rows + 1]
    edges = _edges(width)
    margin = width // (4 * BLOCKS)
    levels = [float(middle[:, edges[n] + margin : edges[n + 1] - margin].mean()) for n in range(BLOCKS)]
    if levels[0] - levels[1] < (ONE - ZERO) / 4:
        return None
    bits = [level > (levels[0] + levels[1]) / 2 for level in levels]
    number = int("".join("01"[bit] for bit in bits[2 : 2 + NUMBER_BITS]), 2)
    return number if bits == _bits(number) else None


def _bits(seq: int) -> list[bool]:
    number = [bool(seq >> bit & 1) for bit in reversed(range(NUMBER_BITS))]
    return [True, False, *number, sum(number) % 2 == 1, True]


def _edges(width: int) -> NDArray[np.int_]:
    return np.arange(BLOCKS + 1) * width // BLOCKS


def _strip_height(height: int) -> int:
    return max(8, height // 16)
