"""Runs two engines of one network side by side, free-running, and measures how far they drift apart.

Both start from zero states and feed on their own states; a wrong gate or a lost state shows within a few frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtmatte.contract import FRAME, Contract, Gates
from rtmatte.step import Engine

MEAN_TOLERANCE, MAX_TOLERANCE = 1e-5, 2e-3


@dataclass(frozen=True, slots=True)
class Drift:
    """Mean and greatest |difference| of the alphas, over all frames and over the last quarter."""

    frames: int
    mean: float
    greatest: float
    last_mean: float
    last_greatest: float

    @property
    def within(self) -> bool:
        """Whether the graph counts as the same network."""
        return max(self.mean, self.last_mean) <= MEAN_TOLERANCE and self.greatest <= MAX_TOLERANCE

    def __str__(self) -> str:
        return (
            f"{self.frames} frames: mean {self.mean:.1e}, max {self.greatest:.1e}; "
            f"last quarter: mean {self.last_mean:.1e}, max {self.last_greatest:.1e}"
        )


def measure_drift(engine: Engine, reference: Engine, *, frames: int) -> Drift:
    """Returns the drift of `engine` from `reference` over `frames` recurrent calls: seed, settle, ordinary, stores.

    Raises EngineError when one of them cannot run.
    """
    contract = engine.contract
    gates = Gates.for_contract(contract)
    state, expected_state = engine.new_state(), reference.new_state()
    clip, mask = moving_clip(contract, frames)
    means, greatest = [], []
    for index, frame in enumerate(clip):
        _set_gates(gates, contract, index)
        alpha, state = engine.step(frame, mask, gates, state)
        expected, expected_state = reference.step(frame, mask, gates, expected_state)
        difference = np.abs(alpha.astype(np.float64) - expected)
        means.append(float(difference.mean()))
        greatest.append(float(difference.max()))
    last = max(1, frames // 4)
    return Drift(frames, float(np.mean(means)), max(greatest), float(np.mean(means[-last:])), max(greatest[-last:]))


def _set_gates(gates: Gates, contract: Contract, index: int) -> None:
    """Call 0 seeds, call 1 settles, the others are ordinary."""
    gates.clear()
    slot = contract.slot_of(index - 1)
    for row in range(contract.batch):
        if index == 0:
            gates.set_seed(row)
        elif index == 1:
            gates.set_settle(row)
        elif slot is not None:
            gates.set_write(slot, row)


def moving_clip(contract: Contract, frames: int) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
    """Returns textured frames [B,H,W,3] in which a blob swings before a still wall, and its first mask [B,1,H,W]."""
    batch, height, width, _ = contract.input(FRAME).shape
    rng = np.random.default_rng(0)
    wall = rng.integers(20, 120, (height, width, 3))
    skin = rng.integers(120, 250, (height, width, 3))
    y, x = np.mgrid[0:height, 0:width]
    dtype = np.dtype(contract.input(FRAME).dtype)
    clip, first = [], np.zeros((height, width), bool)
    for n in range(frames):
        cx = width * (0.5 + 0.2 * np.sin(0.2 * max(0, n - 1)))
        inside = ((x - cx) / (0.18 * width)) ** 2 + ((y - 0.6 * height) / (0.42 * height)) ** 2 < 1
        first = inside if n == 0 else first
        picture = np.where(inside[..., None], skin, wall).astype(dtype)
        clip.append(np.repeat(picture[None], batch, axis=0))
    return clip, np.repeat(first[None, None].astype(np.float32), batch, axis=0)
