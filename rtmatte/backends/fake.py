"""An engine without a network: it follows a bright disc, obeys every gate and can be told to fail. For tests.

It has states of its own, so that whoever drives it can be caught when a seed is forgotten or a state used twice. It
is not fast and allocates as it likes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtmatte.clock import Clock
from rtmatte.contract import ALPHA, FRAME, MASK, SEED, SETTLE, WRITE, Contract, DType, Gates, TensorSpec
from rtmatte.errors import EngineError
from rtmatte.step import Array, State, check_call

BANK_LEVEL = "bank_level"  # [B,T] brightness of the disc when it was stored
BANK_VALID = "bank_valid"  # [B,T] 1: the slot holds something
PLACE = "place"  # [B,3] centre x, centre y and radius of the disc in the last frame, in pixels

# A pixel belongs to the disc when it is this bright beside the stored disc, and at most this many radii from where
# the disc was, plus a margin for small ones.
BRIGHT = 0.75
REACH = 2.0
MARGIN = 4.0
# Asked to find the disc by itself (a mask of -1), it takes nothing darker than this for one.
DIM = 128.0

Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Faults:
    """Which calls go wrong, counted from 0, and how long each takes on the engine's clock."""

    fail_at: Collection[int] = ()  # raises EngineError
    nan_at: Collection[int] = ()  # gives an alpha and a state of NaN
    step_seconds: float = 0.0


@dataclass(slots=True)
class _Stream:
    """Two sets of states and two alphas, used in turn; `now` is the set that holds the present."""

    states: tuple[Tensors, Tensors]
    alphas: tuple[NDArray[np.float32], NDArray[np.float32]]
    now: int = 0


def fake_contract(width: int, height: int, *, batch: int = 1, slots: int = 3, frame_dtype: DType = "uint8") -> Contract:
    """Returns the contract of a FakeEngine for frames of `width` x `height`."""
    return Contract(
        model="fake",
        role="step",
        inputs=(
            TensorSpec(FRAME, (batch, height, width, 3), frame_dtype),
            TensorSpec(MASK, (batch, 1, height, width)),
            TensorSpec(SEED, (batch, 1)),
            TensorSpec(SETTLE, (batch, 1)),
            TensorSpec(WRITE, (batch, slots)),
        ),
        states=(
            TensorSpec(BANK_LEVEL, (batch, slots)),
            TensorSpec(BANK_VALID, (batch, slots)),
            TensorSpec(PLACE, (batch, 3)),
        ),
        outputs=(TensorSpec(ALPHA, (batch, 1, height, width)),),
        slots=slots,
        licence="MIT",
    )


class FakeEngine:
    """Follows the bright disc that its mask covers; deterministic, and exact where disc and ground are far apart.

    `calls` lists what every call was, row by row: "seed", "settle", "write 2" or "frame".
    """

    backend = "fake"

    def __init__(
        self,
        width: int,
        height: int,
        *,
        batch: int = 1,
        slots: int = 3,
        frame_dtype: DType = "uint8",
        faults: Faults | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.contract = fake_contract(width, height, batch=batch, slots=slots, frame_dtype=frame_dtype)
        self.calls: list[tuple[str, ...]] = []
        self._faults = faults or Faults()
        self._clock = clock
        self._closed = False

    def new_state(self) -> State:
        """Returns a zero state; unseeded, its alphas are zero."""
        sets = [{spec.name: spec.zeros() for spec in self.contract.states} for _ in range(2)]
        alphas = [self.contract.outputs[0].zeros() for _ in range(2)]
        return State(self, _Stream((sets[0], sets[1]), (alphas[0], alphas[1])))

    def poison(self, state: State) -> State:
        """Returns `state` with NaN in every tensor, as a network that broke leaves it; `state` is consumed."""
        stream: _Stream = state.take(self)
        for tensor in stream.states[stream.now].values():
            tensor.fill(np.nan)
        return State(self, stream)

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        """Runs one call as the Engine protocol says, or goes wrong as `faults` says."""
        if self._closed:
            raise EngineError("the engine is closed; open it again")
        check_call(self.contract, frame, mask, gates)
        stream: _Stream = state.take(self)
        number = len(self.calls)
        self.calls.append(tuple(_kind(gates, row) for row in range(self.contract.batch)))
        if self._clock is not None:
            self._clock.sleep(self._faults.step_seconds)
        if number in self._faults.fail_at:
            raise EngineError(f"the fake engine was told to fail at call {number}")
        old, new = stream.states[stream.now], stream.states[1 - stream.now]
        alpha = stream.alphas[stream.now]
        for row in range(self.contract.batch):
            given = None if mask is None else mask[row, 0]
            memory = _Row(*(old[name][row].copy() for name in (BANK_LEVEL, BANK_VALID, PLACE)))
            alpha[row, 0] = memory.step(frame[row], given, gates, row)
            if number in self._faults.nan_at:
                memory.fill(np.nan)
                alpha[row] = np.nan
            new[BANK_LEVEL][row], new[BANK_VALID][row], new[PLACE][row] = memory.level, memory.valid, memory.place
        stream.now = 1 - stream.now
        return alpha, State(self, stream)

    def close(self) -> None:
        """Ends the engine's life."""
        self._closed = True


def _kind(gates: Gates, row: int) -> str:
    if gates.seed[row, 0]:
        return "seed"
    if gates.settle[row, 0]:
        return "settle"
    return f"write {gates.write[row].argmax()}" if gates.write[row].any() else "frame"


@dataclass(slots=True)
class _Row:
    """One row's states while its call runs."""

    level: NDArray[np.float32]
    valid: NDArray[np.float32]
    place: NDArray[np.float32]

    def fill(self, value: float) -> None:
        for tensor in (self.level, self.valid, self.place):
            tensor.fill(value)

    def step(
        self, pixels: Array, mask: NDArray[np.float32] | None, gates: Gates, row: int
    ) -> NDArray[np.float32] | float:
        """Returns the alpha of the call, (H, W) or one value for all of it, and updates the states."""
        light = pixels.mean(axis=2, dtype=np.float32)
        seed, settle, write = bool(gates.seed[row, 0]), bool(gates.settle[row, 0]), gates.write[row]
        if seed and mask is not None:
            self.fill(0.0)
            seen = _central(light) if mask.min() < 0 else mask > 0.5
            alpha = mask.clip(0.0, 1.0)
        elif not (np.isfinite(self.level).all() and np.isfinite(self.place).all()):
            self.fill(np.nan)
            return np.nan
        elif not self.valid.any():
            return 0.0
        else:
            stored = float(self.level[self.valid > 0.5].mean())
            seen = _near(light >= BRIGHT * stored, self.place)
            alpha = seen.astype(np.float32)
        if seen.any():
            self.place[:] = _place(seen)
            self._store(float(light[seen].mean()), start=seed or settle, write=write)
        return alpha

    def _store(self, level: float, *, start: bool, write: NDArray[np.float32]) -> None:
        if start:
            self.level.fill(0.0)
            self.valid.fill(0.0)
        elif not write.any():
            return
        slot = 0 if start else int(write.argmax())
        self.level[slot], self.valid[slot] = level, 1.0


def _near(bright: NDArray[np.bool_], place: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns the bright pixels about `place`, looked for once more about where they are."""
    found = bright & _within(bright.shape, place)
    return bright & _within(bright.shape, _place(found)) if found.any() else found


def _central(light: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns the bright thing in the middle half of the picture: what a mask of -1 asks for."""
    height, width = light.shape
    middle = light[height // 4 : height - height // 4, width // 4 : width - width // 4]
    bright = light >= max(BRIGHT * middle.max(), DIM)
    return _near(bright, np.array([width / 2, height / 2, min(width, height) / 4], np.float32))


def _within(shape: tuple[int, ...], place: NDArray[np.float32]) -> NDArray[np.bool_]:
    y, x = np.ogrid[0 : shape[0], 0 : shape[1]]
    reach = REACH * place[2] + MARGIN
    inside: NDArray[np.bool_] = (x - place[0]) ** 2 + (y - place[1]) ** 2 <= reach**2
    return inside


def _place(seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    y, x = np.nonzero(seen)
    return np.array([x.mean(), y.mean(), np.sqrt(len(x) / np.pi)], np.float32)
