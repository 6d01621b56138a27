"""The person target: the lite network proposes the most central person, for whatever network then follows them."""

from __future__ import annotations

import numpy as np

from rtmatte.contract import FRAME, MASK, Gates
from rtmatte.errors import ContractError
from rtmatte.frame import Alpha, Frame, Mask, Pixels
from rtmatte.imaging import Fit, largest_part, resize
from rtmatte.step import Engine, State

SMALLEST, LARGEST = 0.01, 0.95  # of the picture; beyond these it is nobody, or a network that took everything
SURE = 0.6  # least mean certainty |2 alpha - 1| of what is more than a trace
TRACE = 0.1


class PersonTarget:
    """Asks `engine`, a network that finds a person when its mask is -1, and keeps a state of its own in it.

    The engine may be the one that follows the person too. Raises ContractError for a model that takes no mask.
    """

    name = "person"

    def __init__(self, engine: Engine) -> None:
        contract = engine.contract
        if not contract.takes(MASK):
            raise ContractError(f"expected a model that takes a mask, {contract.model} does not; use a lite model")
        self._engine = engine
        self._state: State | None = None
        self._gates = Gates.for_contract(contract)
        self._frame = contract.input(FRAME).zeros()
        self._anyone = np.full(contract.input(MASK).shape, -1.0, np.float32)

    def propose(self, frame: Frame) -> Mask | None:
        """Returns the person in the middle, at the frame's size, or None when there is nobody or it is not sure.

        Raises EngineError when the network fails.
        """
        found = largest_part(self.look(frame.pixels), trace=TRACE)  # one person: no face on a screen or poster beside
        return Mask(resize(found, frame.size)) if _is_somebody(found) else None

    def look(self, pixels: Pixels) -> Alpha:
        """Returns what is seen of whoever is in the middle of `pixels` (H, W, 3), and of what touches them.

        It is (h, w) at working size, in 0..1 or NaN, and the caller's. Raises EngineError when the network fails.
        """
        fit = Fit.contain((pixels.shape[1], pixels.shape[0]), self._engine.contract.size)
        fit.forward(pixels, self._frame[0])
        self._gates.set_seed()
        self._step()
        self._gates.set_settle()
        for _ in range(self._engine.contract.warmup):
            self._step()
        return fit.crop(self._step())

    def _step(self) -> Alpha:
        state, self._state = self._state or self._engine.new_state(), None
        alpha, self._state = self._engine.step(self._frame, self._anyone, self._gates, state)
        scale = np.float32(1 / 255 if alpha.dtype == np.uint8 else 1)
        found: Alpha = alpha[0, 0] * scale
        return found.clip(0.0, 1.0)


def _is_somebody(alpha: Alpha) -> bool:
    """Whether an alpha shows one clear thing of a person's size; NaN is nobody."""
    seen = alpha[alpha > TRACE]
    if not seen.size or not SMALLEST <= alpha.mean() <= LARGEST:
        return False
    return bool(np.abs(2.0 * seen - 1.0).mean() >= SURE)
