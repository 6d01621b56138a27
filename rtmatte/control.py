"""The hand on a live picture: settings that may change at any time, and commands that the line takes once a frame.

It may be used from any thread. It knows nobody that obeys: keys, a page and an API all speak to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from rtmatte.frame import Mask
from rtmatte.settings import Settings
from rtmatte.targets import Pick, Point

__all__ = ["Command", "Control", "FindPerson", "GivenMask", "Pick", "Point", "Reseed"]

LONGEST_UNDO = 64  # choices that can be taken back


@dataclass(frozen=True, slots=True)
class FindPerson:
    """Forget who was chosen: look for the person in the middle."""


@dataclass(frozen=True, slots=True)
class GivenMask:
    """Cut out this: a mask of the next frame, in any size."""

    mask: Mask


@dataclass(frozen=True, slots=True)
class Reseed:
    """Look afresh at the person who is followed now."""


Choice = Pick | GivenMask | FindPerson
Command = Choice | Reseed


class Control:
    """Settings and pending commands of one live line, and whether it is to be recorded."""

    def __init__(self, settings: Settings = Settings()) -> None:
        self._lock = Lock()
        self._settings = settings
        self._listeners: list[Callable[[Settings], None]] = []
        self._choices: list[Choice] = []
        self._who: Choice | Reseed | None = None
        self._recording = False

    @property
    def settings(self) -> Settings:
        """The settings as they are now."""
        return self._settings

    @property
    def recording(self) -> bool:
        """Whether a recording is asked for; whoever owns the sinks obeys."""
        return self._recording

    @property
    def choice(self) -> Choice:
        """Who was chosen last and not taken back."""
        choices = self._choices
        return choices[-1] if choices else FindPerson()

    def change(self, **values: Any) -> Settings:
        """Returns the settings with `values` in them, which hold from now on.

        Raises InputError, and changes nothing, for a wrong one. Whoever asked to be told is called, on this thread, if
        anything differs.
        """
        with self._lock:
            before, self._settings = self._settings, Settings.from_dict(values, self._settings)
            settings, listeners = self._settings, tuple(self._listeners)
        if settings != before:
            for listener in listeners:
                listener(settings)
        return settings

    def on_change(self, callback: Callable[[Settings], None]) -> Callable[[], None]:
        """Has `callback` called with the settings after each change; returns what ends that."""
        with self._lock:
            self._listeners.append(callback)

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._listeners:
                    self._listeners.remove(callback)

        return unsubscribe

    def pick(self, pick: Pick) -> None:
        """Chooses what was pointed at."""
        self._choose(pick)

    def give_mask(self, mask: Mask) -> None:
        """Chooses what a mask of the next frame shows."""
        self._choose(GivenMask(mask))

    def find_person(self) -> None:
        """Chooses whoever is found in the middle."""
        self._choose(FindPerson())

    def undo(self) -> None:
        """Takes the last choice back: the one before it holds again, and before the first one whoever is found."""
        with self._lock:
            self._choices = self._choices[:-1]
            self._who = self.choice

    def reseed(self) -> None:
        """Asks for a fresh look at the person who is followed; a choice that is pending is one already."""
        with self._lock:
            self._who = self._who or Reseed()

    def record(self, on: bool) -> None:
        """Asks for the recording to begin or to end."""
        self._recording = on

    def commands(self) -> list[Command]:
        """Returns what was asked for since the last call, once: of several choices the newest."""
        with self._lock:
            who, self._who = self._who, None
        return [] if who is None else [who]

    def _choose(self, choice: Choice) -> None:
        with self._lock:
            self._choices = [*self._choices, choice][-LONGEST_UNDO:]
            self._who = choice
