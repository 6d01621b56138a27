"""Run-length masks as COCO, SA-V and YouTubeVIS store them: columns first, zeros first, counts as text or numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import SourceError

_OFFSET = 48  # the character "0"


def decode_mask(encoded: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Returns the mask (H, W) of zeros and ones in `{"size": [H, W], "counts": ...}`; SourceError when damaged."""
    height, width = encoded["size"]
    counts = encoded["counts"]
    runs = _from_text(counts) if isinstance(counts, str | bytes) else list(counts)
    if sum(runs) != height * width or any(run < 0 for run in runs):
        raise SourceError(f"expected runs that fill a mask of {width}x{height}, found {sum(runs)} pixels; get it again")
    values = np.repeat(np.arange(len(runs), dtype=np.uint8) & 1, runs)
    return np.ascontiguousarray(values.reshape(width, height).T)


def _from_text(text: str | bytes) -> Sequence[int]:
    """Runs from COCO's text: six bits a character, the lowest five a digit, the sixth says that more follow.

    From the fourth run on a number is the difference to the run two before.
    """
    characters = text.encode() if isinstance(text, str) else text
    runs: list[int] = []
    number, shift = 0, 0
    for character in characters:
        digit = character - _OFFSET
        if not 0 <= digit < 64:
            raise SourceError(f"expected the characters of a run-length mask, found {chr(character)!r}; get it again")
        number |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:  # the sign of the last digit
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number, shift = 0, 0
    return runs
