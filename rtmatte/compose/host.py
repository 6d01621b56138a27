"""Pictures drawn from mattes on the CPU: the composite, the alpha, the cut-out person, and all of it side by side.

Frames that leave here are leases of a ring of `ComposeOptions.leases` buffers. Whatever happens, a composite shows
nothing of the room outside a trustworthy matte.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from rtmatte.clock import Clock
from rtmatte.compose.backgrounds import Background, BackgroundSpec, VideoSource, open_background
from rtmatte.compose.look import Look
from rtmatte.compose.paint import Painter
from rtmatte.compose.refine import Refiner
from rtmatte.compose.scratch import Bytes, Scratch
from rtmatte.errors import InputError
from rtmatte.frame import Alpha, Frame, Matte, Pixels
from rtmatte.imaging import Size
from rtmatte.ring import IN_FLIGHT, Ring

LONGEST_HOLD = 1.0


@dataclass(frozen=True, slots=True)
class ComposeOptions:
    """`hold`: seconds, 0 to 1, that the last composite stands when the matte is lost; `leases`: buffers of the ring."""

    hold: float = LONGEST_HOLD
    leases: int = IN_FLIGHT

    def __post_init__(self) -> None:
        if not 0 <= self.hold <= LONGEST_HOLD:
            raise InputError(f"expected a hold of 0 to {LONGEST_HOLD} seconds, found {self.hold}")
        if self.leases < 2:
            raise InputError(f"expected at least 2 leases, found {self.leases}")


class Compositor(Protocol):
    """Draws one picture of each matte."""

    def render(self, matte: Matte) -> Frame:
        """Returns the picture, with the matte's seq, capture time and pts; its pixels are a lease."""
        ...


class Drawing(Protocol):
    """Draws composites somewhere else than here, where it can: `compose.device` on a GPU.

    `fault` is a sentence for the user once it no longer can.
    """

    fault: str

    def draw(self, matte: Matte, background: Background, look: Look, out: Bytes, *, at: float) -> bool:
        """Draws the person of `matte`, which has an alpha, over `background` into `out` (H, W, 3); False when not."""
        ...


def open_compositor(
    spec: BackgroundSpec,
    options: ComposeOptions,
    clock: Clock,
    *,
    video_source: VideoSource | None = None,
    drawing: Drawing | None = None,
) -> Compositor:
    """Returns what draws `spec`: a composite, the cut-out for `transparent` and `side-by-side`, the frame for `none`.

    Composites are drawn by `drawing` as far as it can, the rest and everything else here.
    Raises SourceError for a background file that cannot be read.
    """
    match spec.kind:
        case "none":
            return PassThrough()
        case "transparent":
            return Foreground(options)
        case "side-by-side":
            return Foreground(options, layout=BESIDE)
        case _:
            return Composite(open_background(spec, video_source), options, clock, drawing=drawing)


class Composite:
    """The person before a background: (H, W, 3) uint8.

    Without a trustworthy matte the last composite is held for `options.hold` seconds, by the clock and by media time
    where there is one; then, at once when there is none of this size, comes the plain background.
    """

    def __init__(
        self,
        background: Background,
        options: ComposeOptions,
        clock: Clock,
        *,
        look: Look | None = None,
        drawing: Drawing | None = None,
    ) -> None:
        self._background = background
        self._drawing = drawing
        self._hold = options.hold
        self._clock = clock
        self._refiner = Refiner(look)
        self._painter = Painter()
        self._ring = Ring(options.leases)
        self._last: Frame | None = None  # no lease is taken while it is held, so its pixels stand
        self._last_at = 0.0

    @property
    def look(self) -> Look:
        """How the edge is drawn; it may be set between two frames."""
        return self._refiner.look

    @look.setter
    def look(self, look: Look) -> None:
        self._refiner.look = look

    def alpha(self, matte: Matte) -> Alpha:
        """Returns the alpha (H, W) float32 in 0..1 at frame size; zeros without one. A lease until the next matte."""
        return self._refiner.alpha(matte)

    def render(self, matte: Matte) -> Frame:
        """Returns the composite as a leased frame."""
        frame = matte.frame
        if matte.alpha is None:
            self._refiner.forget()
            return self._hidden(frame)
        out = self._ring.lease((frame.size[1], frame.size[0], 3))
        self._draw(matte, out)
        self._last, self._last_at = _drawn(frame, out), self._clock.now()
        return self._last

    def _draw(self, matte: Matte, out: Bytes) -> None:
        at = _time(matte.frame)
        if self._drawing is not None and self._drawing.draw(matte, self._background, self.look, out, at=at):
            self._refiner.forget()
            return
        cutout = self._refiner.cut(matte)
        assert cutout is not None  # it has an alpha
        self._background.behind(cutout.small, cutout.cover, out, at=at)
        self._painter.over(cutout, out, self.look)

    def _hidden(self, frame: Frame) -> Frame:
        if self._last is not None and self._last.size == frame.size and self._age(self._last, frame) < self._hold:
            return _drawn(frame, self._last.pixels)
        self._last = None
        out = self._ring.lease((frame.size[1], frame.size[0], 3))
        self._background.plain(out, at=_time(frame))
        return _drawn(frame, out)

    def _age(self, last: Frame, frame: Frame) -> float:
        waited = self._clock.now() - self._last_at
        if last.pts is None or frame.pts is None:
            return waited
        return max(waited, frame.pts - last.pts)


class AlphaPicture:
    """The alpha itself: (H, W, 1) uint8, black without a trustworthy matte."""

    def __init__(self, options: ComposeOptions) -> None:
        self._refiner = Refiner()
        self._ring = Ring(options.leases)

    def render(self, matte: Matte) -> Frame:
        """Returns the alpha, 0..255, as a leased frame."""
        width, height = matte.frame.size
        out = self._ring.lease((height, width, 1))
        quantise(self._refiner.alpha(matte), out[..., 0])
        return _drawn(matte.frame, out)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the person's colours (H, W, 3) and the alpha (H, W), both bytes, lie in one picture.

    `shape` returns that picture's shape for a frame of (width, height); `pack(colours, alpha, picture)` fills it.
    """

    shape: Callable[[Size], tuple[int, int, int]]
    pack: Callable[[Bytes, Bytes, Bytes], None]


def _pack_rgba(colours: Bytes, alpha: Bytes, out: Bytes) -> None:
    cv2.mixChannels([colours, alpha], [out], [0, 0, 1, 1, 2, 2, 3, 3])


def _pack_beside(colours: Bytes, alpha: Bytes, out: Bytes) -> None:
    width = alpha.shape[1]
    np.copyto(out[:, :width], colours)
    cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB, out[:, width:])


RGBA = Layout(lambda size: (size[1], size[0], 4), _pack_rgba)
BESIDE = Layout(lambda size: (size[1], 2 * size[0], 3), _pack_beside)  # for outputs that hold no alpha


class Foreground:
    """The person cut out, straight alpha, and black where nothing of the person is: in `RGBA` (H, W, 4) uint8, or
    `BESIDE` each other (H, 2W, 3), on the left the colours, on the right the alpha as grey.

    At the edge the colours are the person's own, as far as `look.despill` goes. Without a trustworthy matte it is all
    zero.
    """

    def __init__(self, options: ComposeOptions, *, look: Look | None = None, layout: Layout = RGBA) -> None:
        self._refiner = Refiner(look)
        self._layout = layout
        self._painter = Painter()
        self._scratch = Scratch()
        self._ring = Ring(options.leases)

    @property
    def look(self) -> Look:
        """How the edge is drawn; it may be set between two frames."""
        return self._refiner.look

    @look.setter
    def look(self, look: Look) -> None:
        self._refiner.look = look

    def render(self, matte: Matte) -> Frame:
        """Returns the cut-out as a leased frame."""
        width, height = matte.frame.size
        out = self._ring.lease(self._layout.shape(matte.frame.size))
        cutout = self._refiner.cut(matte)
        if cutout is None:
            out.fill(0)
            return _drawn(matte.frame, out)
        alpha: Bytes = self._scratch.array("alpha", (height, width), np.uint8)
        quantise(self._refiner.alpha(matte), alpha)
        person: Bytes = self._scratch.array("person", (height, width, 3), np.uint8)
        self._painter.alone(cutout, alpha, person, self.look)
        self._layout.pack(person, alpha, out)
        return _drawn(matte.frame, out)


class SideBySide:
    """Input, alpha and composite in one (H, 3W, 3) uint8 picture. It shows the room: for demos, never for a call."""

    def __init__(self, composite: Composite, options: ComposeOptions) -> None:
        self._composite = composite
        self._scratch = Scratch()
        self._ring = Ring(options.leases)

    def render(self, matte: Matte) -> Frame:
        """Returns the three pictures as a leased frame."""
        width, height = matte.frame.size
        out = self._ring.lease((height, 3 * width, 3))
        grey: Bytes = self._scratch.array("grey", (height, width), np.uint8)
        quantise(self._composite.alpha(matte), grey)
        np.copyto(out[:, :width], self._scratch.as_bytes(matte.frame.pixels))
        cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB, out[:, width : 2 * width])
        np.copyto(out[:, 2 * width :], self._composite.render(matte).pixels, casting="unsafe")
        return _drawn(matte.frame, out)


class PassThrough:
    """The frame untouched, room and all: for checking colours on the way through a file."""

    def render(self, matte: Matte) -> Frame:
        """Returns the matte's own frame."""
        return matte.frame


def quantise(alpha: Alpha, out: Bytes) -> None:
    """Writes `alpha` (H, W) in 0..1 as 0..255 into `out` (H, W), rounded."""
    cv2.convertScaleAbs(alpha, out, 255.0)


def _drawn(frame: Frame, pixels: Pixels) -> Frame:
    return Frame(frame.seq, pixels, frame.captured_at, frame.pts)


def _time(frame: Frame) -> float:
    return frame.captured_at if frame.pts is None else frame.pts
