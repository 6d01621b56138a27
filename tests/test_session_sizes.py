"""Frames of any size and kind in one session, also in the middle of a stream."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmatte.clock import ManualClock
from rtmatte.frame import Frame, Mask, Phase
from rtmatte.imaging import Shrink
from rtmatte.session import Session
from rtmatte.targets.mask import MaskTarget
from tests.sessions import (
    HEIGHT,
    LIVE,
    WIDTH,
    Scripted,
    Watched,
    calls,
    disc,
    fake,
    frame,
    mask,
    session_of,
)


def test_an_alpha_covers_the_whole_frame_and_nothing_else() -> None:
    session = Session(fake(), MaskTarget(mask(0, (48, 36))), ManualClock())

    matte = session.process(frame(0, (48, 36)))

    assert matte.alpha is not None
    np.testing.assert_array_equal(matte.alpha, disc(0, (48, 36)))


def test_frames_of_another_size_and_the_same_shape_go_on() -> None:
    engine = fake()
    session = session_of(engine)
    session.process(frame(0))

    matte = session.process(frame(1, (2 * WIDTH, 2 * HEIGHT)))

    assert calls(engine).count("seed") == 1
    assert matte.alpha is not None
    assert np.abs(matte.alpha - disc(1)).mean() < 0.02


def test_a_picture_of_another_shape_is_seeded_from_the_last_alpha_stretched_likewise() -> None:
    engine = Watched(WIDTH, HEIGHT)
    session = session_of(engine)
    for seq in range(3):
        session.process(frame(seq))

    matte = session.process(frame(3, (48, 36)))

    assert calls(engine)[-3:] == ["seed", "settle", "settle"]
    stretched = np.empty((36, 48), np.float32)
    Shrink().into(disc(2).astype(np.float32), stretched)  # the disc of the wider picture, as a mask of this one is made
    np.testing.assert_allclose(engine.masks[1][:, 8:56], stretched, atol=0.01)
    assert engine.masks[1][:, :8].max() == engine.masks[1][:, 56:].max() == 0.0
    assert matte.phase is Phase.TRACKING
    assert matte.alpha is not None
    assert np.abs(matte.alpha - disc(3, (48, 36))).mean() < 0.02


@given(sizes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_any_sequence_of_sizes_gives_an_alpha_in_the_shape_of_each_frame(sizes: list[tuple[int, int]]) -> None:
    session = Session(fake(), None, ManualClock(), LIVE)
    session.reseed(Mask(np.ones((5, 7), np.float32)))

    for seq, size in enumerate(sizes):
        alpha = session.process(frame(seq, size)).alpha
        if alpha is not None:
            height, width = alpha.shape
            scale = max(width / size[0], height / size[1])
            assert abs(width - size[0] * scale) <= 1
            assert abs(height - size[1] * scale) <= 1


def test_a_graph_of_floats_gets_the_floats_of_its_frames() -> None:
    engine = Scripted([np.zeros((2, 3), np.float32)])
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 3, 3)).astype(np.float32)

    Session(engine, None, ManualClock()).process(Frame(0, pixels, captured_at=0.0))

    np.testing.assert_array_equal(engine.frames[0][0], pixels)
