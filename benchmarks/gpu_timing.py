"""Seconds of an engine's frames at camera pace: until the alpha is there, and until the composite is."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from export.check import moving_clip
from rtmatte.clock import MonotonicClock
from rtmatte.compose.blur import Blur
from rtmatte.compose.host import ComposeOptions, Composite, Drawing
from rtmatte.contract import Gates, self_test_frames
from rtmatte.errors import EngineError
from rtmatte.frame import Frame, Mask
from rtmatte.session import Session, SessionOptions
from rtmatte.step import Engine
from rtmatte.targets.mask import MaskTarget

PERIOD = 1 / 30  # seconds between the frames of a camera
WARM = 30  # frames before the clock counts

Now = Callable[[], float]
Sleep = Callable[[float], None]


def paced_steps(
    engine: Engine, frames: int, *, now: Now = time.perf_counter, sleep: Sleep = time.sleep
) -> NDArray[np.float64]:
    """Returns the seconds from frame to alpha of each of `frames` ordinary steps that begin `PERIOD` apart."""
    contract = engine.contract
    (picture,), mask = self_test_frames(contract, 1)
    gates, state = Gates.for_contract(contract), engine.new_state()
    for row in range(contract.batch):
        gates.set_seed(row)
    _, state = engine.step(picture, mask, gates, state)
    gates.clear()
    seconds = np.empty(frames)
    due = now()
    for index in range(frames):
        due += PERIOD
        sleep(max(0.0, due - now()))
        began = now()
        _, state = engine.step(picture, None, gates, state)
        seconds[index] = now() - began
    return seconds


def paced_composites(
    engine: Engine,
    drawing: Drawing | None,
    frames: int,
    *,
    now: Now = time.perf_counter,
    sleep: Sleep = time.sleep,
) -> NDArray[np.float64]:
    """Returns the seconds from frame in to composite out, over the blurred room, of `frames` frames `PERIOD` apart.

    `drawing` draws the composites; None draws them on the CPU. EngineError when a frame has no matte: nothing would be
    drawn then.
    """
    clock, contract = MonotonicClock(), engine.contract
    clip, mask = moving_clip(contract, WARM + frames)
    options = SessionOptions(lost_after=None, lend=drawing is not None)
    session = Session(engine, MaskTarget(Mask(mask[0, 0])), clock, options)
    composite = Composite(Blur(50), ComposeOptions(), clock, drawing=drawing)
    seconds = np.empty(WARM + frames)
    due = now()
    for index, picture in enumerate(clip):
        due = max(due + PERIOD, now())
        sleep(max(0.0, due - now()))
        began = now()
        matte = session.process(Frame(index, picture[0], clock.now()))
        composite.render(matte)
        seconds[index] = now() - began
        if matte.alpha is None:
            raise EngineError(f"frame {index} has no matte ({session.status.last_error or 'nobody is shown'})")
    if drawing is not None and drawing.fault:
        raise EngineError(drawing.fault)
    return seconds[WARM:]
