"""Picture buffers that are made once and lent out in turn, so that the hot path allocates nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IN_FLIGHT = 6  # one more than the stages of the line, so that one can be filled while each of them holds a frame


class Ring:
    """`count` pictures lent in turn: a lease ends when as many more were taken. Copy what must be kept longer.

    Another shape starts a new ring; leases of the old one stay as they are.
    """

    def __init__(self, count: int = IN_FLIGHT) -> None:
        self._count = count
        self._pictures: list[NDArray[np.uint8]] = []
        self._turn = 0

    def lease(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Returns the next uint8 picture of `shape`, holding whatever it held."""
        if not self._pictures or self._pictures[0].shape != shape:
            self._pictures = [np.empty(shape, np.uint8) for _ in range(self._count)]
        self._turn = (self._turn + 1) % self._count
        return self._pictures[self._turn]
