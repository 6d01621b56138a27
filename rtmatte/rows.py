"""The calls of a network as the contract defines them: a Batch steps an engine, each of its Rows is one target's.

What a call is for, and what to do when it fails, is the follower's business.
"""

from __future__ import annotations

from itertools import cycle

import numpy as np

from rtmatte.contract import FRAME, Gates
from rtmatte.errors import EngineError
from rtmatte.frame import Alpha
from rtmatte.step import Array, Engine, State

RECENT = 4  # buffers of a row's alphas: one still stands three calls later
OVERSHOOT = 1e-3  # half precision may leave 0..1 by this much; it is clipped


class Batch:
    """The state of all rows of one step of `engine`, and the arrays they enter by."""

    def __init__(self, engine: Engine, write_every: int | None) -> None:
        contract = engine.contract
        width, height = contract.size
        self.contract = contract
        self.frames = contract.input(FRAME).zeros()
        self.masks = np.zeros((contract.batch, 1, height, width), np.float32)
        self.gates = Gates.for_contract(contract)
        self.write_every = write_every  # None: as the model was made for
        self.rows = tuple(Row(self, number) for number in range(contract.batch))
        self._engine = engine
        self._state: State | None = None
        self._answer: Array | EngineError = EngineError("no call was made yet")

    @property
    def broken(self) -> bool:
        """Whether there is no state: nothing was called yet, or it was lost in a call that failed."""
        return self._state is None

    def forget(self) -> None:
        """Drops the state: the next call starts from zeros."""
        self._state = None

    def step(self) -> None:
        """Makes the call that the rows laid out; a row that laid none out sees its last frame as an ordinary one.

        Every row reads its own answer, a failure too.
        """
        masks = self.masks if self.gates.seed.any() else None
        state, self._state = self._state or self._engine.new_state(), None
        try:
            self._answer, self._state = self._engine.step(self.frames, masks, self.gates, state)
        except EngineError as error:
            self._answer = error
        self.gates.clear()

    def answer(self, row: int) -> Array:
        """Returns the alpha (H, W) of `row`, the engine's memory, or raises the error of the call."""
        if isinstance(self._answer, EngineError):
            raise self._answer
        answer: Array = self._answer[row, 0]
        return answer


class Row:
    """One target's part in a batch: `frame` (H, W, 3) and `mask` (H, W) are what it enters, `first` what it was seeded
    on. A call is laid out by one of three methods, made by `Batch.step`, and read by `alpha`."""

    def __init__(self, batch: Batch, number: int) -> None:
        self.frame, self.mask = batch.frames[number], batch.masks[number, 0]
        self.first = np.zeros_like(self.frame)
        self._batch = batch
        self._number = number
        self._alphas = cycle([np.empty(self.mask.shape, np.float32) for _ in range(RECENT)])
        self._since_seed = 0

    @property
    def broken(self) -> bool:
        """Whether its state was lost, or never made."""
        return self._batch.broken

    def forget(self) -> None:
        """Gives the state up. Among others it stays, since a seed clears the row's part of it."""
        if len(self._batch.rows) == 1:
            self._batch.forget()

    def seed(self) -> None:
        """Lays out the start over from `first` and `mask`."""
        self._since_seed = 0
        np.copyto(self.frame, self.first)
        self._batch.gates.set_seed(self._number)

    def settle(self) -> None:
        """Lays out another pass over `first`."""
        np.copyto(self.frame, self.first)
        self._batch.gates.set_settle(self._number)

    def ordinary(self) -> None:
        """Lays out `frame` as the next one; the contract says when it is stored, and in which slot."""
        self._since_seed += 1
        slot = self._batch.contract.slot_of(self._since_seed, every=self._batch.write_every)
        if slot is not None:
            self._batch.gates.set_write(slot, self._number)

    def alpha(self) -> Alpha:
        """Returns the call's alpha (H, W) in 0..1, in a ring of `RECENT` buffers.

        Raises EngineError when the call failed or the alpha is nonsense.
        """
        alpha = self._batch.answer(self._number)
        if alpha.dtype == np.uint8:
            return np.multiply(alpha, np.float32(1 / 255), out=next(self._alphas))
        low, high = float(alpha.min()), float(alpha.max())  # NaN comes through both
        if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):
            raise EngineError(f"expected an alpha in 0..1 from the network, found {low:g}..{high:g}")
        return np.clip(alpha, 0.0, 1.0, out=next(self._alphas))
