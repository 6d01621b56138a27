"""The side of a live line that draws: a compositor that follows the settings, and copies for previews."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock

from rtmatte.clock import Clock
from rtmatte.compose.backgrounds import BackgroundSpec, VideoSource, parse_background
from rtmatte.compose.checkerboard import Checkerboard
from rtmatte.compose.host import (
    AlphaPicture,
    ComposeOptions,
    Composite,
    Compositor,
    Drawing,
    Foreground,
    open_compositor,
)
from rtmatte.compose.look import Look
from rtmatte.control import Control
from rtmatte.errors import InputError
from rtmatte.frame import Frame, Matte, Pixels
from rtmatte.live.status import View
from rtmatte.settings import Settings

ALONE = ("transparent", "side-by-side")  # backgrounds whose pictures have another size or an alpha
WANTED = 1.0  # seconds after its last request for which a view is copied


class Painter:
    """Draws mattes as the settings say: background, look, the slate and the standing picture.

    A background that cannot be opened, or would change the size or the transparency of what goes out, leaves the one
    before it, and a warning. `render` belongs to one thread.
    """

    def __init__(
        self, control: Control, clock: Clock, video_source: VideoSource | None, drawing: Drawing | None
    ) -> None:
        """Opens the background of the settings; InputError when there is none such."""
        self.warnings: tuple[str, ...] = ()
        self._control, self._clock, self._video_source = control, clock, video_source
        self._drawing = drawing
        self._heard = self._followed = control.settings  # as they were given, and as they could be followed
        self._compositor = self._open(self._followed.background, ComposeOptions())
        self._slate: Compositor | None = None
        self._standing: Frame | None = None  # in memory of its own
        self._views = Views(clock)
        self._set_look(self._followed)

    def render(self, matte: Matte) -> Frame:
        """Returns the picture as a leased frame."""
        settings = self._control.settings
        if settings is not self._heard:
            self._heard = settings
            self._follow(settings)
        picture = self._drawn(matte, settings)
        if self._drawing is not None and self._drawing.fault:
            self._warn(self._drawing.fault)
        self._views.take(matte, picture)
        return picture

    def picture(self, view: View) -> Pixels | None:
        """Returns the newest copy of a view, which is kept up as long as somebody asks for it; None at first."""
        return self._views.newest(view)

    def _drawn(self, matte: Matte, settings: Settings) -> Frame:
        if settings.privacy:
            if self._slate is None:
                self._slate = self._open(self._followed.background, ComposeOptions(hold=0))
            return self._slate.render(replace(matte, alpha=None))
        self._slate = None
        if not settings.frozen:
            self._standing = None
            return self._compositor.render(matte)
        if self._standing is None or self._standing.size != matte.frame.size:
            drawn = self._compositor.render(matte)
            self._standing = replace(drawn, pixels=drawn.pixels.copy())
        frame = matte.frame
        return replace(self._standing, seq=frame.seq, captured_at=frame.captured_at, pts=frame.pts)

    def _follow(self, settings: Settings) -> None:
        if settings.background != self._followed.background:
            try:
                _check_alike(settings.background, self._followed.background)
                self._compositor = self._open(settings.background, ComposeOptions())
                self._slate = None
            except InputError as error:
                self._warn(str(error))
                settings = replace(settings, background=self._followed.background)
        self._followed = settings
        self._set_look(settings)

    def _set_look(self, settings: Settings) -> None:
        look = Look(
            edge_shift=settings.edge_shift,
            edge_softness=settings.edge_softness,
            despill=settings.despill,
            light_wrap=settings.light_wrap,
            steadiness=settings.steadiness,
        )
        self._views.set_look(look)
        if isinstance(self._compositor, Composite | Foreground):
            self._compositor.look = look

    def _open(self, background: str, options: ComposeOptions) -> Compositor:
        return open_compositor(
            live_background(background), options, self._clock, video_source=self._video_source, drawing=self._drawing
        )

    def _warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings += (sentence,)


def live_background(text: str) -> BackgroundSpec:
    """Returns the background that `text` names; InputError for none such, and for one that shows the room."""
    spec = parse_background(text)
    if spec.kind == "none":
        raise InputError("expected a background that hides the room, found none; `rtmatte file` knows that one")
    return spec


def _check_alike(new: str, old: str) -> None:
    """Raises InputError when pictures before the one background are no pictures for whoever gets those before the
    other."""
    if any(text.strip().lower() in ALONE for text in (new, old)):
        raise InputError(f"an output cannot change from {old} to {new} on its way; start again with --background {new}")


class Views:
    """Copies of what was drawn, made only while somebody asks: nobody pays for a preview that is not seen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._wanted: dict[View, float] = {}
        self._copies: dict[View, Pixels] = {}
        self._alpha = AlphaPicture(ComposeOptions())
        self._cutout = Composite(Checkerboard(), ComposeOptions(hold=0), clock)

    def set_look(self, look: Look) -> None:
        """Draws the edge of the cut-out like that; nothing comes from behind, so no light of it."""
        self._cutout.look = replace(look, light_wrap=0.0)

    def newest(self, view: View) -> Pixels | None:
        """Returns the newest copy, the caller's to keep and to change; None until the next frame was drawn."""
        with self._lock:
            self._wanted[view] = self._clock.now()
            copy = self._copies.get(view)
        return None if copy is None else copy.copy()

    def take(self, matte: Matte, picture: Frame) -> None:
        """Copies what is wanted, forgets what no longer is."""
        if not self._wanted:
            return
        now = self._clock.now()
        with self._lock:
            self._wanted = {view: asked for view, asked in self._wanted.items() if now - asked <= WANTED}
            wanted = tuple(self._wanted)
        copies = {view: self._copy_of(view, matte, picture) for view in wanted}
        with self._lock:
            self._copies = copies

    def _copy_of(self, view: View, matte: Matte, picture: Frame) -> Pixels:
        match view:
            case "composite":
                return picture.pixels.copy()
            case "matte":
                return self._alpha.render(matte).pixels.copy()
            case "checkerboard":
                return self._cutout.render(matte).pixels.copy()
            case "original":
                return matte.frame.pixels.copy()
