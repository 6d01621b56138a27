"""Targets say who is to be cut out: a mask from a file, or a person found in the picture.

Only the protocol lives here; a session asks it, and never learns how the answer was made.
"""

from __future__ import annotations

from typing import Protocol

from rtmatte.frame import Frame, Mask


class Target(Protocol):
    """Someone to cut out."""

    name: str  # as shown to users: "mask", "person"

    def propose(self, frame: Frame) -> Mask | None:
        """Returns who is to be cut out of `frame`, a mask the caller owns, or None: nobody, or not sure yet.

        It is asked once per frame until it answers, and again when the session has lost its target.
        """
        ...
