"""Targets say who is to be cut out: a mask from a file, a person found in the picture, or somebody pointed at.

Only the protocols and the values they share live here; a session asks a target, and never learns how the answer was
made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rtmatte.errors import InputError
from rtmatte.frame import Alpha, Frame, Mask, Pixels

MOST_POINTS = 64


class Target(Protocol):
    """Someone to cut out."""

    name: str  # as shown to users: "mask", "person"

    def propose(self, frame: Frame) -> Mask | None:
        """Returns who is to be cut out of `frame`, a mask the caller owns, or None: nobody, or not sure yet.

        It is asked once per frame until it answers, and again when the session has lost its target.
        """
        ...


@runtime_checkable
class Looker(Protocol):
    """Sees people without being told who is wanted."""

    def look(self, pixels: Pixels) -> Alpha:
        """Returns how much of each pixel is of somebody: (h, w) float32 in 0..1 that covers `pixels`, in any size.

        The array is the caller's. It may hold NaN, and more people than one.
        """
        ...


@dataclass(frozen=True, slots=True)
class Point:
    """A place in a frame, both ways 0..1 from the top left, that is of the person who is wanted, or is not."""

    x: float
    y: float
    wanted: bool = True

    def __post_init__(self) -> None:
        if not (0 <= self.x <= 1 and 0 <= self.y <= 1):
            raise InputError(f"expected a point with x and y from 0 to 1, found {self.x}, {self.y}")


@dataclass(frozen=True, slots=True)
class Pick:
    """What a user pointed at: points, and a box (left, top, right, bottom) in 0..1 of the frame, around the person.

    Raises InputError for a box without area, for more than MOST_POINTS, and for neither a wanted point nor a box.
    """

    points: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if len(self.points) > MOST_POINTS:
            raise InputError(f"expected at most {MOST_POINTS} points, found {len(self.points)}; undo some")
        if self.box is not None:
            left, top, right, bottom = self.box
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise InputError(f"expected a box (left, top, right, bottom) inside 0 to 1, found {self.box}")
        elif not any(point.wanted for point in self.points):
            raise InputError("expected a point on the person, or a box around them; found neither")


class Picker(Protocol):
    """Knows how to cut out what was pointed at."""

    def pick(self, frame: Frame, pick: Pick) -> Mask | None:
        """Returns what `pick` means in `frame`, a mask of its size that the caller owns; None when nothing is there."""
        ...
