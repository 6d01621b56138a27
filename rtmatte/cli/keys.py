"""What the keys and the mouse of the preview window do. Each is one call on the control; `h` lists them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from rtmatte.control import Control, Pick, Point
from rtmatte.errors import InputError

HELP = (
    "click: cut out who is there",
    "right click: not that",
    "drag: cut out what is in the box",
    "u: undo     a: whoever is in the middle",
    "r: look afresh",
    "b: next background",
    "f: freeze     p: privacy slate",
    "m: mirror this window",
    "v: record, or end it",
    "h: help     Escape: end",
)


class Window(Protocol):
    """The preview, as far as it is told something."""

    mirror: bool
    note: tuple[str, ...]


class Keys:
    """Speaks for the user to `control`. `backgrounds` come one after another; `recording` says whether it is on."""

    def __init__(self, control: Control, backgrounds: Sequence[str], *, recording: Callable[[], bool]) -> None:
        self._control = control
        self._backgrounds = tuple(dict.fromkeys(backgrounds))
        self._recording = recording
        self._helping = False
        self._does: dict[str, Callable[[], object]] = {
            "r": control.reseed,
            "f": lambda: control.change(frozen=not control.settings.frozen),
            "p": lambda: control.change(privacy=not control.settings.privacy),
            "m": lambda: control.change(mirror=not control.settings.mirror),
            "b": self._next_background,
            "u": control.undo,
            "a": control.find_person,
            "v": lambda: control.record(not recording()),
            "h": self._help,
        }

    def tell(self, window: Window) -> None:
        """Has the window show how things stand."""
        settings = self._control.settings
        states = {"standing still": settings.frozen, "slate": settings.privacy, "recording": self._recording()}
        told = tuple(name for name, on in states.items() if on)
        window.mirror = settings.mirror
        window.note = (*told, *HELP) if self._helping else told

    def key(self, name: str) -> None:
        if (action := self._does.get(name)) is not None:
            action()

    def point(self, x: float, y: float, *, wanted: bool) -> None:
        """Chooses who is at a place; an unwanted one refines the choice before it, and is nothing without one."""
        point, choice = Point(x, y, wanted), self._control.choice
        if wanted:
            self._control.pick(Pick((point,)))
        elif isinstance(choice, Pick):
            try:
                self._control.pick(replace(choice, points=(*choice.points, point)))
            except InputError:  # too many points: the next choice starts over
                return

    def box(self, left: float, top: float, right: float, bottom: float) -> None:
        self._control.pick(Pick((), (left, top, right, bottom)))

    def _next_background(self) -> None:
        now, known = self._control.settings.background, self._backgrounds
        following = known[(known.index(now) + 1) % len(known)] if now in known else known[0]
        self._control.change(background=following)

    def _help(self) -> None:
        self._helping = not self._helping
