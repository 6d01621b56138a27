"""Frames and alphas lent on a device: copies that stand while the network has the next frame, until nobody holds them.

A copy on the device costs microseconds, where one more upload of the frame would cost as much as the first.
"""

from __future__ import annotations

import weakref
from collections import deque

from rtmatte.contract import ALPHA, FRAME, Contract
from rtmatte.cuda import Device, Memory
from rtmatte.frame import OnDevice

MOST = 8  # copies: five parcels of the line, the session's, the drawing's, and one to fill
ALIGNMENT = 256  # bytes


class Lending:
    """The copies of one engine. What is let go of may be filled again at once: who reads it waits for the reading."""

    def __init__(self, contract: Contract, device: Device) -> None:
        self._frame, self._alpha = (
            spec.nbytes // contract.batch for spec in (contract.input(FRAME), contract.output(ALPHA))
        )
        self._behind = -(-self._frame // ALIGNMENT) * ALIGNMENT  # where the alpha lies in a copy
        self._in_bytes = contract.output(ALPHA).dtype == "uint8"
        self._device = device
        self._spare: deque[Memory] = deque()
        self._made = 0
        self._filled: Memory | None = None

    @staticmethod
    def fits(contract: Contract) -> bool:
        """Whether the frame and the alpha of a step are of the kinds that are lent: bytes, and bytes or float32."""
        return contract.input(FRAME).dtype == "uint8" and contract.output(ALPHA).dtype in ("uint8", "float32")

    def keep(self, frame: int, alpha: int) -> None:
        """Puts the copying of both, from their addresses, on the stream; nothing where too many are lent."""
        memory = self._filled or self._take()
        self._filled = memory
        if memory is not None:
            self._device.copy(frame, memory.address, self._frame)
            self._device.copy(alpha, memory.address + self._behind, self._alpha)

    def lend(self) -> OnDevice | None:
        """Returns what was kept last and not lent yet."""
        memory, self._filled = self._filled, None
        if memory is None:
            return None
        lent = OnDevice(memory.address, memory.address + self._behind, self._in_bytes)
        weakref.finalize(lent, self._spare.append, memory).atexit = False
        return lent

    def _take(self) -> Memory | None:
        if self._spare:
            return self._spare.popleft()
        if self._made == MOST:
            return None
        self._made += 1
        return self._device.allocate(self._behind + self._alpha)
