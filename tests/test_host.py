"""What leaves a compositor: exact pictures, leases, and never the room without a trustworthy matte."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from rtmatte.clock import ManualClock
from rtmatte.compose.backgrounds import Looped, Still
from rtmatte.compose.blur import SLATE
from rtmatte.compose.host import (
    BESIDE,
    AlphaPicture,
    ComposeOptions,
    Composite,
    Compositor,
    Foreground,
    SideBySide,
)
from rtmatte.compose.look import Look
from rtmatte.errors import InputError
from rtmatte.frame import Frame, Matte, Phase
from rtmatte.imaging import Size
from tests.assertions import assert_within_a_level
from tests.composites import BEHIND, SIZE, before, disc, matte, scene, shows_the_room


def test_alpha_one_is_the_frame_and_alpha_zero_the_background_exactly() -> None:
    rng = np.random.default_rng(0)
    room, behind = (rng.integers(0, 256, (90, 160, 3), np.uint8) for _ in range(2))
    composite = Composite(Still(behind), ComposeOptions(), ManualClock())
    alpha = np.zeros((90, 160), np.float32)
    alpha[:, 80:] = 1

    drawn = composite.render(Matte(Frame(0, room, 0.0), alpha, Phase.TRACKING)).pixels

    np.testing.assert_array_equal(drawn[:, 80:], room[:, 80:])
    np.testing.assert_array_equal(drawn[:, :80], behind[:, :80])


def test_every_alpha_between_is_rounded_once() -> None:
    rng = np.random.default_rng(0)
    room, behind = (rng.integers(0, 256, (90, 160, 3), np.uint8) for _ in range(2))
    alpha = rng.random((90, 160), np.float32)
    composite = Composite(Still(behind), ComposeOptions(), ManualClock(), look=Look(despill=0))

    drawn = composite.render(Matte(Frame(0, room, 0.0), alpha, Phase.TRACKING)).pixels

    weight = alpha[..., None].astype(np.float64)
    assert_within_a_level(drawn, weight * room + (1 - weight) * behind)


def test_the_picture_carries_the_frames_own_number_and_times() -> None:
    composite = before("green")
    found = [composite.render(m) for m in (matte(disc(), seq=41, pts=1.5), matte(None, seq=42, pts=1.6))]

    assert [(f.seq, f.captured_at, f.pts) for f in found] == [(41, 7.0, 1.5), (42, 7.0, 1.6)]


def test_float_frames_are_drawn_as_their_rounded_bytes() -> None:
    alpha = disc()
    pixels = scene(alpha)
    floats = Frame(0, pixels.astype(np.float32) + np.float32(0.3), 0.0)

    drawn = before("green").render(Matte(floats, alpha, Phase.TRACKING)).pixels

    np.testing.assert_array_equal(
        drawn, before("green").render(Matte(Frame(0, pixels, 0.0), alpha, Phase.TRACKING)).pixels
    )


@pytest.mark.parametrize("background", ["green", "blur"])
@pytest.mark.parametrize("size", [(1, 1), (101, 57), (57, 301), (301, 3)])
def test_any_size_is_drawn(background: str, size: Size) -> None:
    alpha = np.random.default_rng(0).random(size[::-1], np.float32)

    for working in ((1, 1), (32, 18), size):
        assert before(background).render(matte(alpha, size=size, working=working)).size == size


@pytest.mark.parametrize("background", ["green", "blur"])
def test_a_size_that_changes_midway_gives_what_a_new_compositor_gives(background: str) -> None:
    composite = before(background)

    for size in (SIZE, (90, 160), (64, 64), SIZE):
        of_size = matte(disc(size), size=size, working=(64, 36))
        np.testing.assert_array_equal(composite.render(of_size).pixels, before(background).render(of_size).pixels)


def test_a_lost_matte_holds_the_last_composite_for_a_second_and_then_hides_the_room() -> None:
    clock = ManualClock()
    composite = before("#1e1ec8", clock)
    last = composite.render(matte(disc())).pixels.copy()

    held = []
    for _ in range(12):
        clock.advance(0.09)
        held.append(composite.render(matte(None)).pixels.copy())

    np.testing.assert_array_equal(held[0], last)
    np.testing.assert_array_equal(held[10], last)  # 0.99 s
    assert (held[11] == BEHIND).all()  # 1.08 s


def test_in_a_file_a_second_of_media_time_ends_the_hold() -> None:
    composite = before("#1e1ec8")
    composite.render(matte(disc(), pts=3.0))

    assert (composite.render(matte(None, pts=3.9)).pixels != BEHIND).any()
    assert (composite.render(matte(None, pts=4.1)).pixels == BEHIND).all()
    assert (composite.render(matte(None, pts=3.2)).pixels == BEHIND).all(), "a hold that ended does not begin again"


def test_the_hold_ends_on_the_clock_when_media_time_stands_still() -> None:
    clock = ManualClock()
    composite = before("#1e1ec8", clock)
    composite.render(matte(disc(), pts=3.0))
    clock.advance(1.01)

    assert (composite.render(matte(None, pts=3.0)).pixels == BEHIND).all()


def test_a_composite_of_another_size_is_not_held() -> None:
    composite = before("#1e1ec8")
    composite.render(matte(disc()))

    found = composite.render(matte(None, size=(90, 160)))

    assert found.size == (90, 160)
    assert (found.pixels == BEHIND).all()


def test_a_hold_of_zero_hides_at_once() -> None:
    composite = before("#1e1ec8", options=ComposeOptions(hold=0))
    composite.render(matte(disc()))

    assert (composite.render(matte(None)).pixels == BEHIND).all()


def test_without_a_matte_a_blur_is_a_slate() -> None:
    assert (before("blur").render(matte(None)).pixels == SLATE).all()


def looped() -> Looped:
    def play(_: Path) -> Iterator[Frame]:
        picture = np.full((36, 64, 3), BEHIND, np.uint8)
        return (Frame(number, picture, 0.0, pts=number / 30) for number in count())

    return Looped(Path("waves.mp4"), play)


COMPOSITORS: dict[str, Callable[[], Compositor]] = {
    "colour": lambda: before("#1e1ec8"),
    "image": lambda: Composite(Still(np.full((9, 16, 3), BEHIND, np.uint8)), ComposeOptions(), ManualClock()),
    "video": lambda: Composite(looped(), ComposeOptions(), ManualClock()),
    "blur": lambda: before("blur"),
    "alpha": lambda: AlphaPicture(ComposeOptions()),
    "foreground": lambda: Foreground(ComposeOptions()),
    "colour and alpha": lambda: Foreground(ComposeOptions(), layout=BESIDE),
}


@pytest.mark.parametrize("name", COMPOSITORS)
def test_the_room_never_shows_without_a_matte(name: str) -> None:
    compositor = COMPOSITORS[name]()
    trusted = matte(np.zeros((90, 160), np.float32), working=(64, 36))
    assert shows_the_room(trusted.frame.pixels), "the check must see the room where it is"

    # a blur shows the room, blurred, but only where a matte says that it is room
    pictures = [] if name == "blur" else [compositor.render(trusted).pixels.copy()]
    pictures.append(compositor.render(matte(None, size=(80, 45))).pixels.copy())
    pictures.append(compositor.render(matte(None)).pixels.copy())

    for pixels in pictures:
        assert not shows_the_room(pixels)


def test_a_lease_stands_until_the_ring_comes_round() -> None:
    composite = before("green", options=ComposeOptions(leases=3))
    leased = [composite.render(matte(disc())).pixels for _ in range(4)]

    assert len({id(pixels) for pixels in leased[:3]}) == 3
    assert leased[3] is leased[0]


def test_a_held_composite_is_not_drawn_over() -> None:
    composite = before("green", options=ComposeOptions(leases=2))
    last = composite.render(matte(disc())).pixels
    before_hold = last.copy()

    for _ in range(5):
        np.testing.assert_array_equal(composite.render(matte(None)).pixels, before_hold)


@pytest.mark.parametrize("name", [*COMPOSITORS, "side by side"])
def test_nothing_is_allocated_per_frame(name: str) -> None:
    compositor = (COMPOSITORS | {"side by side": lambda: SideBySide(before("blur"), ComposeOptions())})[name]()
    size = (640, 360)
    shown = matte(disc(size), size=size, working=(256, 144))
    hidden = matte(None, size=size)
    again = [Matte(shown.frame, shown.alpha, shown.phase) for _ in range(12)]
    for warm in (again.pop(), again.pop(), again.pop(), again.pop(), again.pop(), again.pop(), hidden):
        compositor.render(warm)

    tracemalloc.start()
    try:
        compositor.render(again.pop())
        before_frames = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for one in (*again, hidden):
            compositor.render(one)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    smallest_picture = 256 * 144  # one byte per working pixel: less than any buffer of the hot path
    assert peak - before_frames < smallest_picture
    assert after - before_frames < smallest_picture / 8


@pytest.mark.parametrize(("hold", "leases"), [(-0.1, 4), (1.1, 4), (float("nan"), 4), (1.0, 1)])
def test_options_out_of_range_are_refused(hold: float, leases: int) -> None:
    with pytest.raises(InputError, match="expected"):
        ComposeOptions(hold=hold, leases=leases)
