"""A session under `internal_size`, and reduced clips: the resizes are the protocol's, there and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.backends.eager import EagerEngine
from rtmatte.backends.fake import FakeEngine
from rtmatte.clock import ManualClock
from rtmatte.contract import Gates
from rtmatte.errors import InputError
from rtmatte.frame import Alpha, Frame, Mask
from rtmatte.network.matanyone.step import Step, contract_of
from rtmatte.resampling import limited, resize_linear
from rtmatte.session import Session, SessionOptions
from rtmatte.step import State
from tests.assertions import assert_equal_but_rounding, assert_golden_alpha
from tests.golden_clip import GoldenClip, golden_files

FRAMES = 4  # of a golden clip; the step itself is checked over all of them


class Keeping(FakeEngine):
    """Keeps what it was given and what it answered."""

    def step(self, frame: NDArray[Any], mask: Alpha | None, gates: Gates, state: State) -> tuple[NDArray[Any], State]:
        alpha, after = super().step(frame, mask, gates, state)
        self.frame, self.alpha = frame[0].copy(), alpha[0, 0].copy()
        if mask is not None:
            self.mask = mask[0, 0].copy()
        return alpha, after


def scene() -> tuple[Frame, Mask]:
    y, x = np.ogrid[0:57, 0:101]
    disc = (x - 50) ** 2 + (y - 28) ** 2 < 200
    pixels = np.where(disc[..., None], 220, np.random.default_rng(0).integers(0, 40, (57, 101, 3))).astype(np.float32)
    return Frame(0, pixels, captured_at=0.0), Mask(disc.astype(np.float32))


def test_frame_mask_and_alpha_go_through_the_linear_resize_of_the_protocol() -> None:
    engine = Keeping(70, 40, frame_dtype="float32")
    session = Session(engine, None, ManualClock(), SessionOptions(internal_size=40))
    frame, mask = scene()
    session.reseed(mask)

    alpha = session.process(frame).alpha

    np.testing.assert_array_equal(engine.frame, resize_linear(frame.pixels, (70, 40)))
    assert_equal_but_rounding(engine.mask, resize_linear(mask.values, (70, 40)))
    assert alpha is not None
    assert_equal_but_rounding(alpha, resize_linear(engine.alpha, (101, 57)))


def test_a_model_of_another_size_than_the_reduced_one_names_the_export() -> None:
    session = Session(FakeEngine(64, 36), None, ManualClock(), SessionOptions(internal_size=40))

    with pytest.raises(InputError, match="--size 70x40"):
        session.process(scene()[0])


def test_frames_that_are_small_enough_pass_as_they_are() -> None:
    engine = Keeping(101, 57, frame_dtype="float32")
    session = Session(engine, None, ManualClock(), SessionOptions(internal_size=60))
    frame, mask = scene()
    session.reseed(mask)

    session.process(frame)

    np.testing.assert_array_equal(engine.frame, frame.pixels)


def eager_engine(clip: GoldenClip, size: tuple[int, int]) -> EagerEngine:
    (width, height), slots = size, clip.params.max_mem_frames
    step = Step(clip.network(), width=width, height=height, read="topk", top_k=clip.params.top_k)
    return EagerEngine(step, contract_of(width=width, height=height, slots=slots, frame_dtype="float32"))


def mattes(clip: GoldenClip) -> Iterator[Alpha]:
    """Yields the alphas of a session that is given the clip as a user has it; only `max_size` is done before."""
    params, frames = clip.params, [pixels.astype(np.float32) for pixels in clip.arrays["frames"][:FRAMES]]
    options = SessionOptions(params.n_warmup, write_every=params.mem_every, lost_after=None)
    mask = clip.arrays["mask"].astype(np.float32)
    if params.max_size > 0:
        frames, mask = list(clip.frames()[:FRAMES]), clip.mask()
    else:
        options = replace(options, dilate=params.r_dilate, erode=params.r_erode)
    if params.max_internal_size > 0:
        options = replace(options, internal_size=params.max_internal_size)
    height, width = frames[0].shape[:2]
    engine = eager_engine(clip, limited((width, height), params.max_internal_size))
    session = Session(engine, None, ManualClock(), options)
    session.reseed(Mask(mask / np.float32(255)))
    for number, pixels in enumerate(frames):
        alpha = session.process(Frame(number, pixels, captured_at=0.0)).alpha
        assert alpha is not None, session.status
        yield alpha.copy()


@pytest.mark.parametrize("path", golden_files(), ids=lambda path: f"golden-{path.stem}")
def test_a_session_gives_the_alphas_of_the_reference_at_every_size(path: Path) -> None:
    clip = GoldenClip.load(path)

    assert_golden_alpha(np.stack(list(mattes(clip))), clip.arrays["alpha"][:FRAMES], path.stem)
