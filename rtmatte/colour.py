"""What the numbers of a YCbCr picture mean: its matrix and range. Plain values; the edges convert the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

HD_HEIGHT = 720


class Matrix(IntEnum):
    """A matrix between RGB and YCbCr, by its code in video files (ITU-T H.273, MatrixCoefficients)."""

    BT709 = 1
    BT601 = 6
    SMPTE240M = 7
    BT2020 = 9


# Codes that stand for (nearly) the same matrix: FCC, BT.601 with 625 lines, BT.2020 with constant luminance.
_SAME = {4: Matrix.BT601, 5: Matrix.BT601, 10: Matrix.BT2020}


@dataclass(frozen=True, slots=True)
class Colour:
    """A matrix, and whether black and white are 0 and 255 (full range) or 16 and 235 (limited)."""

    matrix: Matrix
    full_range: bool = False

    @classmethod
    def of(cls, code: int, *, full_range: bool, height: int) -> Colour:
        """Returns what a picture tagged with the H.273 `code` means; a missing or unknown one is guessed by height.

        The guess is what players do: BT.709 from 720 lines on, BT.601 below.
        """
        known = {int(matrix): matrix for matrix in Matrix} | _SAME
        return cls(known.get(code) or cls.usual(height).matrix, full_range)

    @classmethod
    def usual(cls, height: int) -> Colour:
        """Returns how a video of `height` lines is written: limited range, BT.709 from 720 lines on, else BT.601."""
        return cls(Matrix.BT709 if height >= HD_HEIGHT else Matrix.BT601)
