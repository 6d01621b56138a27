"""Runs two engines of one network side by side and measures how far their alphas lie apart.

Free-running, both start from zero states and feed on their own: a wrong gate or a lost state shows within a few
frames. Step by step, each call starts from the reference's state: what is measured is one step's own error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtmatte.backends.eager import EagerEngine
from rtmatte.contract import FRAME, Contract, Gates
from rtmatte.step import Array, Engine, State


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Limits of the mean |difference| of the alphas over a run, its last quarter included, and of the greatest."""

    mean: float
    greatest: float = 1.0


SAME = Tolerance(1e-5, 2e-3)  # one network in float32, written in two ways
ONE_STEP_IN_HALF = Tolerance(1e-3)  # a comparison that half precision decides the other way may show anywhere


@dataclass(frozen=True, slots=True)
class Drift:
    """Mean and greatest |difference| of the alphas, frame by frame."""

    means: tuple[float, ...]
    greatests: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over all frames."""
        return float(np.mean(self.means))

    @property
    def greatest(self) -> float:
        """Over all frames."""
        return max(self.greatests)

    @property
    def last_mean(self) -> float:
        """Over the last quarter of the frames."""
        return float(np.mean(self.means[-self._quarter :]))

    @property
    def last_greatest(self) -> float:
        """Over the last quarter of the frames."""
        return max(self.greatests[-self._quarter :])

    def within(self, tolerance: Tolerance) -> bool:
        """Whether the errors stay inside `tolerance`; NaN does not."""
        return self.mean <= tolerance.mean and self.last_mean <= tolerance.mean and self.greatest <= tolerance.greatest

    def __str__(self) -> str:
        return (
            f"{len(self.means)} frames: mean {self.mean:.1e}, max {self.greatest:.1e}; "
            f"last quarter: mean {self.last_mean:.1e}, max {self.last_greatest:.1e}"
        )

    @property
    def _quarter(self) -> int:
        return max(1, len(self.means) // 4)


class Startable(Engine, Protocol):
    """An engine that can go on from any state."""

    def state_of(self, values: Mapping[str, Array]) -> State:
        """Returns a state that holds copies of `values`, by state name, rounded to the contract's dtypes."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """What both engines are given: a frame [B,H,W,3] of whole numbers, the first mask [B,1,H,W], the gates."""

    frame: NDArray[np.uint8]
    mask: NDArray[np.float32]
    gates: Gates


def measure_drift(engine: Engine, reference: Engine, *, frames: int) -> Drift:
    """Returns the drift of `engine` from `reference` over `frames` recurrent calls: seed, settle, ordinary, stores.

    The two may differ in the dtype of frame and alpha. Raises EngineError when one of them cannot run.
    """
    state, expected_state = engine.new_state(), reference.new_state()
    errors = []
    for call in calls(reference.contract, frames):
        alpha, state = answered(engine, call, state)
        expected, expected_state = answered(reference, call, expected_state)
        errors.append(error_of(alpha, expected))
    return drift_of(errors)


def measure_steps(engine: Startable, reference: EagerEngine, *, frames: int) -> Drift:
    """Returns the error of `engine` where every call starts from the state of `reference`, which runs free.

    Raises EngineError when one of them cannot run.
    """
    state = reference.new_state()
    errors = []
    for call in calls(reference.contract, frames):
        values, state = reference.opened(state)
        alpha, _ = answered(engine, call, engine.state_of(values))
        expected, state = answered(reference, call, state)
        errors.append(error_of(alpha, expected))
    return drift_of(errors)


def answered(engine: Engine, call: Call, state: State) -> tuple[Array, State]:
    """Returns alpha and next state, the frame given in the dtype that the engine takes."""
    frame = call.frame.astype(engine.contract.input(FRAME).dtype)
    return engine.step(frame, call.mask, call.gates, state)


def error_of(alpha: Array, expected: Array) -> tuple[float, float]:
    """Returns mean and greatest |difference|. Bytes are compared with the reference's bytes: rounding is no error."""
    found, right = alpha.astype(np.float64), expected.astype(np.float64)
    if alpha.dtype == np.uint8:
        found, right = found / 255, np.rint(right * 255) / 255
    difference = np.abs(found - right)
    return float(difference.mean()), float(difference.max())


def drift_of(errors: Sequence[tuple[float, float]]) -> Drift:
    """Returns the drift over calls with these errors, one at least."""
    means, greatests = zip(*errors, strict=True)
    return Drift(means, greatests)


def calls(contract: Contract, frames: int) -> Iterator[Call]:
    """Yields `frames` calls over a moving clip: call 0 seeds, call 1 settles, the others are ordinary, stores included.

    The gates are the same arrays each time.
    """
    gates = Gates.for_contract(contract)
    clip, mask = moving_clip(contract, frames)
    for index, frame in enumerate(clip):
        gates.clear()
        slot = contract.slot_of(index - 1)
        for row in range(contract.batch):
            if index == 0:
                gates.set_seed(row)
            elif index == 1:
                gates.set_settle(row)
            elif slot is not None:
                gates.set_write(slot, row)
        yield Call(frame, mask, gates)


def moving_clip(contract: Contract, frames: int) -> tuple[Iterator[NDArray[np.uint8]], NDArray[np.float32]]:
    """Returns textured frames [B,H,W,3] in which a blob swings before a still wall, and its first mask [B,1,H,W]."""
    batch, height, width, _ = contract.input(FRAME).shape
    rng = np.random.default_rng(0)
    wall = rng.integers(20, 120, (height, width, 3), np.uint8)
    skin = rng.integers(120, 250, (height, width, 3), np.uint8)
    y, x = np.mgrid[0:height, 0:width]

    def inside(n: int) -> NDArray[np.bool_]:
        cx = width * (0.5 + 0.2 * np.sin(0.2 * max(0, n - 1)))
        return np.asarray(((x - cx) / (0.18 * width)) ** 2 + ((y - 0.6 * height) / (0.42 * height)) ** 2 < 1)

    clip = (np.repeat(np.where(inside(n)[..., None], skin, wall)[None], batch, axis=0) for n in range(frames))
    return clip, np.repeat(inside(0)[None, None].astype(np.float32), batch, axis=0)
