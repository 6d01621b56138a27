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

BANK = "bank"  # [B,T,2] brightness of the disc and of the ground about it when the frame was stored
BANK_VALID = "bank_valid"  # [B,T] 1: the slot holds something
PLACE = "place"  # [B,3] centre x, centre y and radius of the disc in the last frame, in pixels

REACH = 2.0  # the disc is looked for within so many radii of its last place,
MARGIN = 4.0  # and so many pixels more
EDGE = 3.0  # pixels beyond its radius over which a soft edge may run
DIM = 128.0  # asked to find the disc by itself (a mask of -1), the engine takes nothing darker for one

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Faults:
    """Which calls go wrong, counted from 0, and how long each takes on the engine's clock."""

    fail_at: Collection[int] = ()  # raises EngineError
    nan_at: Collection[int] = ()  # gives an alpha and a state of NaN
    step_seconds: float = 0.0


@dataclass(slots=True)
class _Stream:
    """Two sets of states and two alphas, used in turn; `now` is the set that holds the present."""

    states: tuple[dict[str, Floats], dict[str, Floats]]
    alphas: tuple[Floats, Floats]
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
            TensorSpec(BANK, (batch, slots, 2)),
            TensorSpec(BANK_VALID, (batch, slots)),
            TensorSpec(PLACE, (batch, 3)),
        ),
        outputs=(TensorSpec(ALPHA, (batch, 1, height, width)),),
        slots=slots,
        licence="MIT",
    )


class FakeEngine:
    """Follows the bright disc that its mask covers: its alpha is exact before a room of one colour, soft edges too.

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

    def step(self, frame: Array, mask: Floats | None, gates: Gates, state: State) -> tuple[Array, State]:
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
            for name, tensor in old.items():
                new[name][row] = tensor[row]
            memory = _Row(new[BANK][row], new[BANK_VALID][row], new[PLACE][row])
            alpha[row, 0] = memory.step(frame[row].mean(axis=2, dtype=np.float32), given, gates, row)
            if number in self._faults.nan_at:
                memory.fill(np.nan)
                alpha[row] = np.nan
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


@dataclass(frozen=True, slots=True)
class _Row:
    """One row's next states, which start as a copy of its present ones: views that a step rewrites."""

    bank: Floats
    valid: Floats
    place: Floats

    def fill(self, value: float) -> None:
        for tensor in (self.bank, self.valid, self.place):
            tensor.fill(value)

    def step(self, light: Floats, mask: Floats | None, gates: Gates, row: int) -> Floats | float:
        """Returns the alpha of the call, (H, W) or one value for all of it. `light` is the frame's brightness."""
        seed, settle = bool(gates.seed[row, 0]), bool(gates.settle[row, 0])
        alpha: Floats
        if seed:
            assert mask is not None, "check_call lets no seed pass without a mask"
            self.fill(0.0)
            alpha = mask.clip(0.0, 1.0)
            seen = _central(light) if mask.min() < 0 else mask > 0.5
        elif not all(np.isfinite(tensor).all() for tensor in (self.bank, self.valid, self.place)):
            self.fill(np.nan)
            return np.nan
        elif not self.valid.any():
            return 0.0
        else:
            disc, ground = self.bank[self.valid > 0.5].mean(axis=0)
            alpha = ((light - ground) / max(disc - ground, 1.0)).clip(0.0, 1.0)
            seen = _about(alpha > 0.5, self.place)
            alpha[~_within(light.shape, _place_of(seen), EDGE)] = 0.0
        if seen.any():
            self.place[:] = _place_of(seen)
            self._store(light, seen, start=seed or settle, write=gates.write[row])
        return alpha

    def _store(self, light: Floats, seen: NDArray[np.bool_], *, start: bool, write: Floats) -> None:
        if start:
            self.bank.fill(0.0)
            self.valid.fill(0.0)
        elif not write.any():
            return
        slot = 0 if start else int(write.argmax())
        about = _within(light.shape, self.place, EDGE + MARGIN) & ~_within(light.shape, self.place, EDGE)
        self.bank[slot] = np.median(light[seen]), np.median(light[about]) if about.any() else 0.0
        self.valid[slot] = 1.0


def _about(bright: NDArray[np.bool_], place: Floats) -> NDArray[np.bool_]:
    """Returns the bright pixels about `place`, looked for once more about where they are."""
    for _ in range(2):
        found = bright & _within(bright.shape, place, (REACH - 1) * float(place[2]) + MARGIN)
        place = _place_of(found)
    return found


def _central(light: Floats) -> NDArray[np.bool_]:
    """Returns the bright thing in the middle half of the picture: what a mask of -1 asks for."""
    height, width = light.shape
    middle = light[height // 4 : height - height // 4, width // 4 : width - width // 4]
    bright = light >= max(0.75 * float(middle.max()), DIM)
    return _about(bright, np.array([(width - 1) / 2, (height - 1) / 2, min(width, height) / 4], np.float32))


def _within(shape: tuple[int, ...], place: Floats, margin: float) -> NDArray[np.bool_]:
    """Returns where a picture of `shape` is within the disc at `place`, made larger by `margin` pixels."""
    y, x = np.ogrid[0 : shape[0], 0 : shape[1]]
    inside: NDArray[np.bool_] = (x - place[0]) ** 2 + (y - place[1]) ** 2 <= (place[2] + margin) ** 2
    return inside


def _place_of(seen: NDArray[np.bool_]) -> Floats:
    """Returns centre x, centre y and radius of what is seen; far outside where nothing is."""
    y, x = np.nonzero(seen)
    return np.array([x.mean(), y.mean(), np.sqrt(len(x) / np.pi)] if len(x) else [-1e4, -1e4, 0], np.float32)
