"""The baselines on a disc that moves over a textured ground, 4 px a frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.baselines import BASELINES, FlowMask, GrabCut, HeldMask, Method
from rtmatte.frame import Alpha, Mask

Pixels8 = NDArray[np.uint8]
FRAMES = 6


def texture(seed: int, low: int, high: int) -> Pixels8:
    rough = np.random.default_rng(seed).integers(low, high, (96, 128, 3), np.uint8)
    return cv2.GaussianBlur(rough, (0, 0), 2).astype(np.uint8)


def disc_clip(step: int = 4) -> tuple[list[Pixels8], list[Alpha]]:
    """Returns frames (96, 128, 3) and true alphas: a bright disc over a dark ground, both with detail to track."""
    y, x = np.mgrid[0:96, 0:128].astype(np.float32)
    ground, skin = texture(0, 0, 120), texture(1, 130, 255)
    frames, alphas = [], []
    for n in range(FRAMES):
        alpha = np.clip(22 - np.hypot(x - 40 - step * n, y - 48), 0, 1)
        moved = np.roll(skin, step * n, axis=1)
        frames.append((alpha[..., None] * moved + (1 - alpha[..., None]) * ground).astype(np.uint8))
        alphas.append(alpha.astype(np.float32))
    return frames, alphas


def last_error(method: Method, frames: list[Pixels8], alphas: list[Alpha]) -> float:
    alpha = method.start(frames[0], Mask((alphas[0] > 0.5).astype(np.float32)))
    for frame in frames[1:]:
        alpha = method.step(frame)
    return float(np.abs(alpha - alphas[-1]).mean())


def test_flow_and_grabcut_follow_what_the_held_mask_loses() -> None:
    held, flow, cut = (last_error(m, *disc_clip()) for m in (HeldMask(), FlowMask(), GrabCut()))

    assert flow < held / 5
    assert cut < held / 5


@pytest.mark.parametrize("make", BASELINES.values(), ids=BASELINES)
def test_an_alpha_is_float32_in_0_to_1_at_the_size_of_the_frame(make: type[HeldMask]) -> None:
    frames, alphas = disc_clip()
    method = make()

    first = method.start(frames[0], Mask((alphas[0] > 0.5).astype(np.float32)))
    second = method.step(frames[1])

    for alpha in (first, second):
        assert alpha.shape == (96, 128)
        assert alpha.dtype == np.float32
        assert alpha.min() >= 0
        assert alpha.max() <= 1


@pytest.mark.parametrize("make", BASELINES.values(), ids=BASELINES)
def test_a_second_start_forgets_the_first_clip(make: type[HeldMask]) -> None:
    method, frames, alphas = make(), *disc_clip()
    fresh = last_error(make(), frames, alphas)

    last_error(method, frames[::-1], alphas[::-1])

    assert last_error(method, frames, alphas) == fresh


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_grabcut_keeps_a_mask_it_cannot_learn_from(value: float) -> None:
    frames, _ = disc_clip()
    cut = GrabCut()

    cut.start(frames[0], Mask(np.full((96, 128), value, np.float32)))

    np.testing.assert_array_equal(cut.step(frames[1]), np.float32(value))


def test_no_baseline_writes_into_the_mask_it_was_given() -> None:
    frames, alphas = disc_clip()
    for make in BASELINES.values():
        mask = Mask((alphas[0] > 0.5).astype(np.float32))
        method = make()
        method.start(frames[0], mask)
        method.step(frames[1])[:] = 7
        np.testing.assert_array_equal(mask.values, alphas[0] > 0.5)
