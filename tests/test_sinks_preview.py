"""The preview window on SDL's dummy screen: what is drawn, which keys are heard, how it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rtmatte.errors import EnvironmentFault, SinkError, StopRequested
from rtmatte.frame import Frame
from rtmatte.sinks.preview import PreviewSink

pygame = pytest.importorskip("pygame", reason="needs rtmatte[preview]")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.display.quit()


def frame(level: int = 200, width: int = 64, height: int = 48) -> Frame:
    return Frame(0, np.full((height, width, 3), level, np.uint8), 0.0)


class FakeHand:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def key(self, name: str) -> None:
        self.heard.append(name)

    def point(self, x: float, y: float, *, wanted: bool) -> None:
        self.heard.append((x, y, wanted))

    def box(self, left: float, top: float, right: float, bottom: float) -> None:
        self.heard.append((left, top, right, bottom))


def mouse(kind: int, button: int, at: tuple[int, int]) -> None:
    pygame.event.post(pygame.event.Event(kind, button=button, pos=at))


def shown() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Returns what the window shows, (H, W, 3)."""
    return np.asarray(pygame.surfarray.array3d(pygame.display.get_surface())).swapaxes(0, 1)


@pytest.mark.usefixtures("screen")
def test_the_window_has_the_size_of_the_first_frame_and_shows_it() -> None:
    with PreviewSink("matte") as sink:
        sink.write(frame(200))

        assert shown().shape == (48, 64, 3)
        assert shown().min() == 200
        assert pygame.display.get_caption()[0] == "matte"
    assert not pygame.display.get_init()


@pytest.mark.usefixtures("screen")
def test_other_sizes_are_fitted_in() -> None:
    with PreviewSink() as sink:
        sink.write(frame())
        sink.write(frame(width=24, height=48))

        assert shown()[:, 20:44].min() == 200
        assert shown()[:, :20].max() == shown()[:, 44:].max() == 0


@pytest.mark.usefixtures("screen")
def test_keys_are_reported_by_name() -> None:
    hand = FakeHand()

    with PreviewSink(hand=hand) as sink:
        sink.write(frame())
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_r))
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_SPACE))
        sink.write(frame())

    assert hand.heard == ["r", "space"]


@pytest.mark.usefixtures("screen")
@pytest.mark.parametrize(("mirror", "x"), [(False, 0.75), (True, 0.25)])
def test_a_click_is_a_place_in_the_picture_as_it_was_filmed(mirror: bool, x: float) -> None:
    hand = FakeHand()

    with PreviewSink(hand=hand) as sink:
        sink.mirror = mirror
        sink.write(frame(width=64, height=48))
        mouse(pygame.MOUSEBUTTONDOWN, 1, (47, 23))
        mouse(pygame.MOUSEBUTTONUP, 1, (48, 24))
        mouse(pygame.MOUSEBUTTONUP, 3, (48, 24))
        sink.write(frame())

    assert hand.heard == [pytest.approx((x, 0.5, True), abs=0.02), pytest.approx((x, 0.5, False), abs=0.02)]


@pytest.mark.usefixtures("screen")
def test_a_box_may_be_drawn_from_any_corner_and_ends_with_the_picture() -> None:
    hand = FakeHand()

    with PreviewSink(hand=hand) as sink:
        sink.write(frame())
        sink.write(frame(width=24, height=48))  # from 20 to 44 in the window
        mouse(pygame.MOUSEBUTTONDOWN, 1, (60, 36))
        sink.write(frame(width=24, height=48))
        mouse(pygame.MOUSEBUTTONUP, 1, (32, 12))
        sink.write(frame(width=24, height=48))

    assert hand.heard == [pytest.approx((0.5, 0.25, 1.0, 0.75), abs=0.03)]


@pytest.mark.usefixtures("screen")
def test_clicks_beside_the_picture_mean_nothing() -> None:
    hand = FakeHand()

    with PreviewSink(hand=hand) as sink:
        sink.write(frame())
        sink.write(frame(width=24, height=48))
        for button, at in ((1, (5, 10)), (3, (60, 10))):
            mouse(pygame.MOUSEBUTTONDOWN, button, at)
            mouse(pygame.MOUSEBUTTONUP, button, at)
        sink.write(frame())

    assert hand.heard == []


@pytest.mark.usefixtures("screen")
def test_a_mirror_turns_what_is_shown_and_not_what_was_given() -> None:
    given = frame(0)
    given.pixels[:, :32] = 200

    with PreviewSink() as sink:
        sink.mirror = True
        sink.write(given)

        assert shown()[:, 32:].min() == 200
        assert shown()[:, :32].max() == 0
    assert given.pixels[:, :32].min() == 200


@pytest.mark.usefixtures("screen")
def test_a_note_is_over_the_picture_until_it_is_taken_away() -> None:
    with PreviewSink() as sink:
        sink.note = ("one", "two")
        sink.write(frame(100))
        noted = shown().copy()
        sink.note = ()
        sink.write(frame(100))

        assert noted.max() == 255
        assert shown().max() == shown().min() == 100


@pytest.mark.usefixtures("screen")
@pytest.mark.parametrize(
    "event",
    [pygame.event.Event(pygame.QUIT), pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE)],
    ids=["closed", "escape"],
)
def test_closing_the_window_asks_for_the_end(event: Any) -> None:
    with PreviewSink() as sink:
        sink.write(frame())
        pygame.event.post(event)

        with pytest.raises(StopRequested):
            sink.write(frame())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_without_a_screen_it_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(SinkError, match="expected a screen"):
        PreviewSink()


def test_a_screen_that_cannot_be_reached_is_an_error_and_no_invisible_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":987")

    with PreviewSink() as sink, pytest.raises(SinkError, match="expected a screen"):
        sink.write(frame())


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(sys.modules, "pygame", None)

    with pytest.raises(EnvironmentFault, match=r"pip install 'rtmatte\[preview\]'"):
        PreviewSink()
