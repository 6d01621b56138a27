"""Pictures of the matte itself: the alpha, the person cut out in either layout, and all of it side by side."""

from __future__ import annotations

import numpy as np

from rtmatte.clock import ManualClock
from rtmatte.compose.backgrounds import parse_background
from rtmatte.compose.host import (
    BESIDE,
    AlphaPicture,
    ComposeOptions,
    Foreground,
    SideBySide,
    open_compositor,
)
from rtmatte.compose.look import Look
from tests.composites import before, disc, matte


def test_the_alpha_picture_is_the_alpha_in_bytes() -> None:
    alpha = disc()

    found = AlphaPicture(ComposeOptions()).render(matte(alpha)).pixels

    assert found.shape == (90, 160, 1)
    np.testing.assert_array_equal(found[..., 0], np.rint(alpha * 255))


def test_the_alpha_picture_and_the_cut_out_are_empty_without_a_matte() -> None:
    for compositor in (
        AlphaPicture(ComposeOptions()),
        Foreground(ComposeOptions()),
        Foreground(ComposeOptions(), layout=BESIDE),
    ):
        compositor.render(matte(disc()))

        assert not compositor.render(matte(None)).pixels.any()


def test_the_cut_out_is_straight_colour_with_nothing_of_the_room_under_alpha_zero() -> None:
    alpha = disc()
    of = matte(alpha)

    found = Foreground(ComposeOptions(), look=Look(despill=0)).render(of).pixels

    assert found.shape == (90, 160, 4)
    np.testing.assert_array_equal(found[..., 3], np.rint(alpha * 255))
    inside = found[..., 3] > 0
    np.testing.assert_array_equal(found[..., :3][inside], of.frame.pixels[inside])
    assert not found[..., :3][~inside].any()


def test_colour_and_alpha_lie_side_by_side() -> None:
    of = matte(disc(), working=(64, 36))

    found = Foreground(ComposeOptions(), layout=BESIDE).render(of)

    assert found.size == (2 * 160, 90)
    cut = Foreground(ComposeOptions()).render(of).pixels
    np.testing.assert_array_equal(found.pixels[:, :160], cut[..., :3])
    np.testing.assert_array_equal(found.pixels[:, 160:], cut[..., 3:].repeat(3, axis=2))


def test_side_by_side_is_input_alpha_and_composite() -> None:
    of = matte(disc(), working=(64, 36))
    options = ComposeOptions()

    found = SideBySide(before("green"), options).render(of)

    assert found.size == (3 * 160, 90)
    first, second, third = np.split(found.pixels, 3, axis=1)
    np.testing.assert_array_equal(first, of.frame.pixels)
    np.testing.assert_array_equal(second, AlphaPicture(options).render(of).pixels.repeat(3, axis=2))
    np.testing.assert_array_equal(third, before("green").render(of).pixels)


def test_none_is_the_frame_itself_and_transparent_the_cut_out() -> None:
    of = matte(disc())
    for text, channels in (("none", 3), ("transparent", 4), ("side-by-side", 3), ("green", 3)):
        compositor = open_compositor(parse_background(text), ComposeOptions(), ManualClock())
        assert compositor.render(of).pixels.shape[2] == channels

    untouched = open_compositor(parse_background("none"), ComposeOptions(), ManualClock())
    assert untouched.render(of) is of.frame
