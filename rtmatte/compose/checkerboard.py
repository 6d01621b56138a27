"""Grey squares behind the person: the look of nothing, for previews of the cut-out."""

from __future__ import annotations

import numpy as np

from rtmatte.compose.scratch import Bytes
from rtmatte.frame import Alpha
from rtmatte.imaging import Size

SQUARE = 16  # pixels across
LIGHT, DARK = 244, 201


class Checkerboard:
    """A background of squares, drawn once per frame size."""

    def __init__(self) -> None:
        self._board = np.empty((0, 0, 3), np.uint8)

    def behind(self, pixels: Bytes, alpha: Alpha, *, at: float) -> Bytes:
        return self.plain((pixels.shape[1], pixels.shape[0]), at=at)

    def plain(self, size: Size, *, at: float) -> Bytes:
        if self._board.shape[1::-1] != size:
            squares = np.arange(size[1])[:, None] // SQUARE + np.arange(size[0]) // SQUARE
            grey = np.where(squares % 2, LIGHT, DARK).astype(np.uint8)
            self._board = np.repeat(grey[..., None], 3, axis=2)
        return self._board
