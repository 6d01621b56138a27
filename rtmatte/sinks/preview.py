"""A window on the screen as a sink (pygame-ce, loaded late). It shows frames as they come and reports keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import EnvironmentFault, SinkError, StopRequested
from rtmatte.frame import Frame
from rtmatte.imaging import Fit
from rtmatte.sinks import rgb_of

NO_DISPLAY = "expected a screen for the preview window, found none; write to a file, or log in to a desktop"
# What SDL falls back to without a screen; whoever asks for one of them by name gets it.
INVISIBLE = frozenset({"offscreen", "dummy"})


class PreviewSink:
    """A window that can be resized, frames fitted in. Closing it, or Escape, raises StopRequested from `write`.

    `on_key` gets the name of any other key. The window belongs to the thread that writes; on macOS that has to be the
    main thread.
    """

    def __init__(self, title: str = "rtmatte", *, on_key: Callable[[str], None] | None = None) -> None:
        """Checks that there is a screen; the window opens with the first frame, at its size or the screen's."""
        self._title = title
        self._on_key = on_key
        self._canvas: NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)
        self._window: Any = None
        self._pygame = _load()

    def write(self, frame: Frame) -> None:
        if self._window is None:
            self._window = self._open(frame.size)
        self._heed()
        width, height = self._window.get_size()
        if self._canvas.shape[:2] != (height, width):
            self._canvas = np.empty((height, width, 3), np.uint8)
        Fit.contain(frame.size, (width, height)).forward(rgb_of(frame), self._canvas)
        self._window.blit(self._pygame.image.frombuffer(self._canvas, (width, height), "RGB"), (0, 0))
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
        for event in self._pygame.event.get():
            if event.type == self._pygame.QUIT:
                raise StopRequested("the preview window was closed")
            if event.type == self._pygame.KEYDOWN:
                key = self._pygame.key.name(event.key)
                if key == "escape":
                    raise StopRequested("Escape was pressed")
                if self._on_key is not None:
                    self._on_key(key)


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
