"""A window on the screen as a sink (pygame-ce, loaded late). It shows frames as they come and reports keys."""

from __future__ import annotations

import os
import sys
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import EnvironmentFault, SinkError, StopRequested
from rtmatte.frame import Frame
from rtmatte.imaging import Fit
from rtmatte.sinks import rgb_of

NO_DISPLAY = "expected a screen for the preview window, found none; write to a file, or log in to a desktop"
# What SDL falls back to without a screen; whoever asks for one of them by name gets it.
INVISIBLE = frozenset({"offscreen", "dummy"})
LEFT, RIGHT = 1, 3  # mouse buttons
DRAG = 8  # pixels of the window from which on a click is a box
LETTERS, MARGIN = 22, 8  # pixels
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


class Hand(Protocol):
    """Whoever obeys the keys and the mouse; places are 0..1 of the picture, from its top left."""

    def key(self, name: str) -> None:
        """A key was pressed."""
        ...

    def point(self, x: float, y: float, *, wanted: bool) -> None:
        """The picture was clicked: with the left button, or `wanted` False with the right one."""
        ...

    def box(self, left: float, top: float, right: float, bottom: float) -> None:
        """A box was drawn."""
        ...


class PreviewSink:
    """A window that can be resized, frames fitted in. Closing it, or Escape, raises StopRequested from `write`.

    `hand` hears of every other key, of clicks and of boxes that are drawn. `mirror` shows the picture as a mirror does,
    `note` are lines over it; both may be set from any thread, and nobody but the one at the window sees them. The
    window belongs to the thread that writes; on macOS that has to be the main thread.
    """

    def __init__(self, title: str = "rtmatte", *, hand: Hand | None = None) -> None:
        """Checks that there is a screen; the window opens with the first frame, at its size or the screen's."""
        self.mirror = False
        self.note: tuple[str, ...] = ()
        self._title = title
        self._hand = hand
        self._canvas: NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)
        self._fit = Fit((1, 1), (0, 0, 1, 1))
        self._pressed_at: tuple[int, int] | None = None  # where the left button is held down since
        self._lines: dict[str, Any] = {}  # drawn letters are kept
        self._window: Any = None
        self._pygame = _load()

    def write(self, frame: Frame) -> None:
        if self._window is None:
            self._window = self._open(frame.size)
        self._heed()
        width, height = self._window.get_size()
        if self._canvas.shape[:2] != (height, width):
            self._canvas = np.empty((height, width, 3), np.uint8)
        self._fit = Fit.contain(frame.size, (width, height))
        self._fit.forward(rgb_of(frame), self._canvas)
        picture = self._pygame.image.frombuffer(self._canvas, (width, height), "RGB")
        self._window.blit(self._pygame.transform.flip(picture, True, False) if self.mirror else picture, (0, 0))
        self._draw_box()
        self._draw_note()
        self._pygame.display.flip()

    def close(self) -> None:
        if self._window is not None:
            self._window = None
            self._pygame.display.quit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self, size: tuple[int, int]) -> Any:
        display = self._pygame.display
        try:
            display.init()
            if display.get_driver() in INVISIBLE and os.environ.get("SDL_VIDEODRIVER") not in INVISIBLE:
                raise SinkError(NO_DISPLAY)
            screen = display.get_desktop_sizes()[0]
            _, _, width, height = Fit.contain(size, (min(size[0], screen[0]), min(size[1], screen[1]))).box
            window = display.set_mode((width, height), self._pygame.RESIZABLE)
        except self._pygame.error as reason:
            raise SinkError(f"{NO_DISPLAY} ({reason})") from reason
        display.set_caption(self._title)
        return window

    def _heed(self) -> None:
        pygame = self._pygame
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                raise StopRequested("the preview window was closed")
            if event.type == pygame.KEYDOWN:
                key = pygame.key.name(event.key)
                if key == "escape":
                    raise StopRequested("Escape was pressed")
                if self._hand is not None:
                    self._hand.key(key)
            elif event.type == pygame.MOUSEBUTTONDOWN and event.button == LEFT:
                self._pressed_at = event.pos
            elif event.type == pygame.MOUSEBUTTONUP and self._hand is not None:
                self._released(self._hand, event.button, event.pos)

    def _released(self, hand: Hand, button: int, at: tuple[int, int]) -> None:
        """Tells of a click where the button came up near to where it went down, else of a box."""
        began, self._pressed_at = self._pressed_at, None
        if button == RIGHT or (button == LEFT and began is not None and _near(began, at)):
            x, y = self._place(at)
            if 0 <= x <= 1 and 0 <= y <= 1:
                hand.point(x, y, wanted=button == LEFT)
        elif button == LEFT and began is not None:
            (x, y), (end_x, end_y) = ((_limited(x), _limited(y)) for x, y in (self._place(began), self._place(at)))
            if x != end_x and y != end_y:
                hand.box(min(x, end_x), min(y, end_y), max(x, end_x), max(y, end_y))

    def _place(self, at: tuple[int, int]) -> tuple[float, float]:
        """Returns where in the picture a pixel of the window is."""
        left, top, width, height = self._fit.box
        x = (at[0] + 0.5 - left) / width
        return 1.0 - x if self.mirror else x, (at[1] + 0.5 - top) / height

    def _draw_box(self) -> None:
        if self._pressed_at is None:
            return
        (x, y), (end_x, end_y) = self._pressed_at, self._pygame.mouse.get_pos()
        corners = (min(x, end_x), min(y, end_y), abs(x - end_x), abs(y - end_y))
        self._pygame.draw.rect(self._window, WHITE, corners, width=1)

    def _draw_note(self) -> None:
        y = MARGIN
        for text in self.note:
            letters = self._lines.get(text) or self._written(text)
            self._window.blit(letters, (MARGIN, y))
            y += letters.get_height()

    def _written(self, text: str) -> Any:
        font = self._pygame.font
        font.init()  # does nothing the second time
        self._lines[text] = font.Font(None, LETTERS).render(f" {text} ", True, WHITE, BLACK)
        return self._lines[text]


def _near(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) < DRAG


def _limited(value: float) -> float:
    return min(1.0, max(0.0, value))


def _load() -> Any:
    if sys.platform == "linux" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"))):
        raise SinkError(NO_DISPLAY)
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError as reason:
        raise EnvironmentFault(
            "the preview window needs the package pygame-ce; run: pip install 'rtmatte[preview]'"
        ) from reason
    return pygame
