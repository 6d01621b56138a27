"""What a user may change about the edge: each does what it says, and nothing where it says nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.clock import ManualClock
from rtmatte.compose.backgrounds import Still
from rtmatte.compose.host import ComposeOptions, Composite, Foreground
from rtmatte.compose.look import LIMITS, Look
from rtmatte.compose.refine import Refiner
from rtmatte.errors import InputError
from rtmatte.frame import Alpha, Frame, Matte, Phase
from rtmatte.imaging import Size, resize
from tests.assertions import DESPILLED, EDGE_PLACE, assert_equal_but_rounding

FRAME: Size = (640, 360)
WORKING: Size = (256, 144)
PERSON = (60, 120, 200)
ROOM = (220, 60, 40)


def disc(size: Size = FRAME, *, softness: float = 8.0) -> Alpha:
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    reach = height * 0.3 - np.hypot(x - width / 2, y - height / 2)
    alpha: Alpha = np.clip(reach / softness + 0.5, 0, 1).astype(np.float32)
    return alpha


def mixed(alpha: Alpha, room: Any = ROOM) -> NDArray[np.uint8]:
    weight = alpha[..., None]
    both: NDArray[np.uint8] = np.rint(weight * np.array(PERSON) + (1 - weight) * np.array(room)).astype(np.uint8)
    return both


def matte(alpha: Alpha, *, pixels: NDArray[np.uint8] | None = None, working: Size = WORKING) -> Matte:
    shown = mixed(alpha) if pixels is None else pixels
    return Matte(Frame(0, shown, 0.0), resize(alpha, working), Phase.TRACKING)


def drawn(of: Matte, look: Look, behind: int = 0) -> NDArray[np.uint8]:
    flat = np.full((*of.frame.size[::-1], 3), behind, np.uint8)
    return np.asarray(Composite(Still(flat), ComposeOptions(), ManualClock(), look=look).render(of).pixels, np.uint8)


def radius(alpha: Alpha) -> float:
    """Of a disc, by its area at 0.5 and more."""
    return float(np.sqrt((alpha > 0.5).sum() / np.pi))


@pytest.mark.parametrize("name", LIMITS)
def test_a_value_out_of_its_range_is_refused_by_name(name: str) -> None:
    for wrong in (LIMITS[name][0] - 0.1, LIMITS[name][1] + 0.1, float("nan")):
        with pytest.raises(InputError, match=name):
            replace(Look(), **{name: wrong})


@pytest.mark.parametrize("working", [WORKING, FRAME])
def test_the_rooms_colour_is_taken_out_of_the_edge(working: Size) -> None:
    alpha = disc()
    of = matte(alpha, working=working)
    band = (alpha > 0.05) & (alpha < 0.95)

    before, after = (Foreground(ComposeOptions(), look=Look(despill=s)).render(of).pixels[..., :3] for s in (0.0, 1.0))

    error_before, error_after = (np.abs(cut[band].astype(float) - PERSON).mean() for cut in (before, after))
    assert error_before > 30, "the check must see the room's colour where it is"
    assert error_after < DESPILLED * error_before


def test_half_of_it_is_half_way() -> None:
    of = matte(disc(), working=FRAME)

    none, half, all_of_it = (drawn(of, Look(despill=strength)).astype(float) for strength in (0, 0.5, 1))

    np.testing.assert_allclose(half, (none + all_of_it) / 2, atol=1)


def test_pure_pixels_keep_their_colours() -> None:
    alpha, texture = disc(), np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)

    found = Foreground(ComposeOptions()).render(matte(alpha, pixels=texture, working=FRAME)).pixels

    np.testing.assert_array_equal(found[alpha == 1][:, :3], texture[alpha == 1])
    assert not found[alpha == 0].any()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_an_alpha_that_is_the_same_everywhere_is_drawn(alpha: float) -> None:
    flat = np.full((36, 64), alpha, np.float32)

    found = drawn(matte(flat, working=(64, 36)), Look(light_wrap=1, edge_shift=1, edge_softness=2), behind=90)

    assert found.shape == (36, 64, 3)


@pytest.mark.parametrize("shift", [-4.0, -1.5, 1.0, 2.5, 4.0])
def test_the_edge_moves_by_working_pixels_and_stays_soft(shift: float) -> None:
    of = matte(disc(softness=20))

    before, after = (Refiner(Look(edge_shift=by)).alpha(of).copy() for by in (0.0, shift))

    assert radius(after) - radius(before) == pytest.approx(2.5 * shift, abs=EDGE_PLACE)
    soft = [((alpha > 0.02) & (alpha < 0.98)).sum() / radius(alpha) for alpha in (before, after)]
    assert soft[1] == pytest.approx(soft[0], rel=0.15)


@pytest.mark.parametrize("softness", [2.0, 8.0])
def test_a_softer_edge_keeps_its_place(softness: float) -> None:
    of = matte(disc(softness=2))

    before, after = (Refiner(Look(edge_softness=by)).alpha(of).copy() for by in (0.0, softness))

    assert radius(after) == pytest.approx(radius(before), abs=EDGE_PLACE)
    widths = [((alpha > 0.1) & (alpha < 0.9)).sum() / (2 * np.pi * radius(alpha)) for alpha in (before, after)]
    assert widths[1] > widths[0] + 0.5 * softness


def test_a_person_cut_by_the_border_does_not_fade_there() -> None:
    alpha = np.zeros((360, 640), np.float32)
    alpha[200:, 200:440] = 1

    found = Refiner(Look(edge_shift=-3, edge_softness=8)).alpha(matte(alpha))

    assert_equal_but_rounding(found[-1, 300:340], np.ones(40, np.float32))


def test_a_grown_edge_shows_the_persons_colour_and_not_the_room() -> None:
    alpha, rng = disc(softness=4), np.random.default_rng(0)
    room = rng.integers(0, 2, (360, 640, 1), np.uint8) * np.array(ROOM, np.uint8)
    of = matte(alpha, pixels=mixed(alpha, room))
    ring = (cv2.dilate(alpha, np.ones((3, 3))) == 0) & (Refiner(Look(edge_shift=4)).alpha(of) > 0.99)

    found = drawn(of, Look(edge_shift=4))

    assert ring.sum() > 100
    assert np.abs(found[ring].astype(float) - PERSON).mean() < DESPILLED * np.abs(of.frame.pixels[ring] - PERSON).mean()


def test_light_of_the_background_falls_on_the_edge_alone_and_only_adds() -> None:
    alpha = disc()
    of = matte(alpha)
    edge = (alpha > 0.9) & (cv2.erode(alpha, np.ones((9, 9))) < 0.9)
    deep = cv2.erode(alpha, np.ones((61, 61))) > 0.9

    plain, lit, dark = (drawn(of, Look(light_wrap=w), b) for w, b in ((0, 255), (1, 255), (1, 0)))

    assert lit[edge].astype(float).mean() > plain[edge].mean() + 20
    np.testing.assert_array_equal(lit[deep], plain[deep])
    np.testing.assert_array_equal(dark, drawn(of, Look()))


def flickering(look: Look, *, moving: bool) -> float:
    """How far the edge goes from frame to frame when the matte is noisy, in a picture that stands still or does not."""
    rng, refiner, last, change = np.random.default_rng(0), Refiner(look), None, []
    for number in range(8):
        alpha = np.clip(disc(WORKING) + rng.normal(0, 0.1, WORKING[::-1]), 0, 1).astype(np.float32)
        pixels = mixed(disc(WORKING)) + rng.integers(0, 4, (*WORKING[::-1], 3), np.uint8)
        if moving:
            pixels //= 1 + number % 2
        found = refiner.alpha(Matte(Frame(number, pixels, 0.0), alpha, Phase.TRACKING)).copy()
        if last is not None:
            change.append(float(np.abs(found - last).mean()))
        last = found
    return float(np.mean(change[3:]))


def test_a_still_picture_has_a_still_edge_and_a_moving_one_follows_at_once() -> None:
    as_it_is = flickering(Look(), moving=False)

    assert flickering(Look(steadiness=1), moving=False) < 0.3 * as_it_is
    assert flickering(Look(steadiness=0.5), moving=False) < 0.8 * as_it_is
    assert flickering(Look(steadiness=1), moving=True) == pytest.approx(flickering(Look(), moving=True), rel=0.05)


def test_what_was_steadied_before_a_lost_matte_is_forgotten() -> None:
    refiner, pixels = Refiner(Look(steadiness=1)), mixed(disc(WORKING))
    frame = Frame(0, pixels, 0.0)
    refiner.alpha(Matte(frame, np.ones(WORKING[::-1], np.float32), Phase.TRACKING))
    refiner.alpha(Matte(frame, None, Phase.LOST))

    found = refiner.alpha(Matte(frame, disc(WORKING), Phase.TRACKING))

    np.testing.assert_array_equal(found, disc(WORKING))


def test_steadying_leaves_the_engines_memory_alone() -> None:
    refiner, pixels = Refiner(Look(steadiness=1)), mixed(disc(WORKING))
    for scale in (1.0, 0.5):
        alpha = disc(WORKING) * np.float32(scale)
        kept = alpha.copy()
        refiner.alpha(Matte(Frame(0, pixels, 0.0), alpha, Phase.TRACKING))
        np.testing.assert_array_equal(alpha, kept)


def test_a_look_may_be_set_between_two_frames() -> None:
    composite = Composite(Still(np.zeros((360, 640, 3), np.uint8)), ComposeOptions(), ManualClock())
    of = matte(disc())
    composite.render(of)

    composite.look = Look(edge_shift=2, despill=0.5)

    again = Matte(of.frame, of.alpha, of.phase)
    np.testing.assert_array_equal(composite.render(again).pixels, drawn(of, Look(edge_shift=2, despill=0.5)))


def test_a_plain_look_is_the_matte_itself() -> None:
    assert_equal_but_rounding(Refiner().alpha(matte(disc(), working=FRAME)), disc())
