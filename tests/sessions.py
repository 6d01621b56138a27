"""What the tests of a session share: a disc that moves, engines and a target whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtmatte.backends.fake import FakeEngine, Faults
from rtmatte.clock import ManualClock
from rtmatte.contract import ALPHA, FRAME, Contract, Gates, TensorSpec
from rtmatte.frame import Alpha, Frame, Mask, Matte
from rtmatte.session import Session, SessionOptions
from rtmatte.step import State
from rtmatte.targets.mask import MaskTarget

WIDTH, HEIGHT = 64, 36
FILE = SessionOptions()
LIVE = SessionOptions(passes_per_frame=1)


def disc(seq: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> NDArray[np.bool_]:
    """Returns where the disc is in frame `seq`: it moves right by a hundredth of the width a frame."""
    width, height = size
    y, x = np.ogrid[0:height, 0:width]
    inside: NDArray[np.bool_] = (x - width * (0.3 + seq / 100)) ** 2 + (y - height / 2) ** 2 < (height / 4) ** 2
    return inside


def frame(seq: int, size: tuple[int, int] = (WIDTH, HEIGHT), *, dark: bool = False) -> Frame:
    pixels = np.full((size[1], size[0], 3), 20, np.uint8)
    if not dark:
        pixels[disc(seq, size)] = 220
    return Frame(seq, pixels, captured_at=seq / 10)


def mask(seq: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Mask:
    return Mask(disc(seq, size).astype(np.float32))


class Looks:
    """A target that answers from a list, then with nobody; it counts how often it was asked."""

    name = "looks"

    def __init__(self, *answers: Mask | None) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []

    def propose(self, frame: Frame) -> Mask | None:
        self.asked.append(frame.seq)
        return self.answers.pop(0) if self.answers else None


def fake(*, warmup: int = 1, write_every: int = 5, faults: Faults | None = None) -> FakeEngine:
    engine = FakeEngine(WIDTH, HEIGHT, faults=faults)
    engine.contract = replace(engine.contract, warmup=warmup, write_every=write_every)
    return engine


def session_of(engine: FakeEngine, options: SessionOptions = FILE) -> Session:
    return Session(engine, MaskTarget(mask()), ManualClock(), options)


def calls(engine: FakeEngine) -> list[str]:
    return [kind for (kind,) in engine.calls]


def shows_disc(matte: Matte) -> bool:
    return matte.alpha is not None and bool((np.abs(matte.alpha - disc(matte.frame.seq)) < 0.1).all())


class Watched(FakeEngine):
    """Keeps the masks it was seeded with."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height)
        self.masks: list[Alpha] = []

    def step(self, frame: NDArray[Any], mask: Alpha | None, gates: Gates, state: State) -> tuple[NDArray[Any], State]:
        if mask is not None:
            self.masks.append(mask[0, 0].copy())
        return super().step(frame, mask, gates, state)


class Scripted:
    """An engine without gates or mask whose alphas come from a list; its contract can be another."""

    backend = "scripted"

    def __init__(self, alphas: Sequence[NDArray[Any]], contract: Contract | None = None) -> None:
        height, width = alphas[0].shape
        self.contract = contract or Contract(
            model="stateless",
            role="step",
            inputs=(TensorSpec(FRAME, (1, height, width, 3), "float32"),),
            states=(),
            outputs=(TensorSpec(ALPHA, (1, 1, height, width)),),
        )
        self.frames: list[NDArray[Any]] = []
        self._alphas = list(alphas)

    def new_state(self) -> State:
        return State(self, None)

    def step(
        self, frame: NDArray[Any], mask: NDArray[np.float32] | None, gates: Gates, state: State
    ) -> tuple[NDArray[Any], State]:
        state.take(self)
        self.frames.append(frame.copy())
        return self._alphas[(len(self.frames) - 1) % len(self._alphas)][None, None], State(self, None)

    def close(self) -> None:
        pass
