"""Grey squares behind the person: the look of nothing, for previews of the cut-out."""

from __future__ import annotations

import numpy as np

from rtmatte.compose.scratch import Bytes
from rtmatte.frame import Alpha

SQUARE = 16  # pixels across
LIGHT, DARK = 244, 201


class Checkerboard:
    """A background of squares, drawn once per frame size."""

    def __init__(self) -> None:
        self._board = np.empty((0, 0, 3), np.uint8)

    def behind(self, picture: Bytes, alpha: Alpha, out: Bytes, *, at: float) -> None:
        self.plain(out, at=at)

    def plain(self, out: Bytes, *, at: float) -> None:
        if self._board.shape != out.shape:
            height, width = out.shape[:2]
            squares = np.arange(height)[:, None] // SQUARE + np.arange(width) // SQUARE
            grey = np.where(squares % 2, LIGHT, DARK).astype(np.uint8)
            self._board = np.repeat(grey[..., None], 3, axis=2)
        np.copyto(out, self._board)
