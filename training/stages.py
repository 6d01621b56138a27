"""The paper's three stages, its ablations as variations of them, and both at a small scale.

A stage says what one iteration sees and learns; `training.strategy` runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from training.passes import Weighing

Matter = Literal["video", "stills"]
Scale = Literal["published", "small"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a strategy. Sizes are (height, width), multiples of 16; `batch` is per process."""

    name: str
    steps: int  # iterations, each of up to three optimiser steps
    size: tuple[int, int]
    frames: int
    batch: int
    rate: float
    skip: int = 5  # the most frames of the source from one frame of a clip to the next
    skips: tuple[int, ...] = ()  # the same in equal parts of the stage, one after the other
    matting: Matter = "video"  # stills are given a made motion
    core: bool = False  # the third pass
    fused: bool = True  # memory fusion
    unclamped: int = 0  # first iterations without the clamp, for an untrained head
    weighing: Weighing = field(default_factory=Weighing)

    def at(self, within: int) -> Stage:
        """Returns the stage as it is in its iteration `within`, counted from 0."""
        if not self.skips:
            return self
        return replace(self, skip=self.skips[min(within * len(self.skips) // self.steps, len(self.skips) - 1)])


Stages = tuple[Stage, ...]

SKIPS = (5, 10, 15, 5)

# MatAnyone's training, as its configuration has it: 8 processes of 2 clips, a constant rate. That clips skip more and
# more frames, and few again at the end, is its, too; that these parts are equally long is ours.
PUBLISHED: Stages = (
    Stage("video", 80_000, (384, 384), frames=3, batch=2, rate=1e-4, skips=SKIPS, unclamped=100),
    Stage("longer", 40_000, (480, 480), frames=8, batch=2, rate=1e-4, skips=SKIPS, core=True),
    Stage("stills", 20_000, (480, 480), frames=8, batch=2, rate=1e-5, skips=SKIPS, matting="stills", core=True),
)


def _without_fusion(stage: Stage) -> Stage:
    return replace(stage, fused=False)


def _without_core(stage: Stage) -> Stage:
    return replace(stage, core=False)


def _plain_ddc(stage: Stage) -> Stage:
    return replace(stage, weighing=replace(stage.weighing, consistency="ddc"))


def _whole_picture(stage: Stage) -> Stage:
    return replace(stage, weighing=replace(stage.weighing, where="everywhere"))


def _as_it_is(stage: Stage) -> Stage:
    return stage


STRATEGIES: dict[str, Callable[[Stage], Stage]] = {
    "full": _as_it_is,
    "no-fusion": _without_fusion,
    "no-core": _without_core,
    "ddc": _plain_ddc,
    "whole-picture": _whole_picture,
}


def stages(strategy: str, scale: Scale) -> Stages:
    """Returns the stages of one of `STRATEGIES`, in the order in which they are trained.

    "small" compares them on one machine without a GPU: clips of 3 to 4 frames of 96x128 pixels, 600 iterations each.
    """
    chosen = PUBLISHED if scale == "published" else tuple(_small(stage) for stage in PUBLISHED)
    return tuple(STRATEGIES[strategy](stage) for stage in chosen)


def _small(stage: Stage) -> Stage:
    frames = min(stage.frames, 4)
    weighing = replace(stage.weighing, band_pixels=128, points=256, auxiliary=0.1)
    # Ten times the rate: the networks start from nothing and see a hundredth of the clips.
    return replace(
        stage,
        steps=600,
        size=(96, 128),
        frames=frames,
        rate=10 * stage.rate,
        weighing=weighing,
    )
