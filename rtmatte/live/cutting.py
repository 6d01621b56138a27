"""The side of a live line that runs on the network's thread: a session, and who it is told to follow."""

from __future__ import annotations

import numpy as np

from rtmatte.clock import Clock
from rtmatte.control import Control, FindPerson, GivenMask, Reseed
from rtmatte.errors import EngineError
from rtmatte.frame import Alpha, Frame, Mask, Matte
from rtmatte.imaging import resize
from rtmatte.session import Session, SessionOptions
from rtmatte.step import Engine
from rtmatte.targets import Pick, Picker, Target

SAME = 0.5  # least overlap (intersection over union, at 0.5) of a fresh look with the person who is followed


class Choice:
    """A target that gives the user's mask once, and from then on looks for somebody."""

    def __init__(self, mask: Mask | None, finder: Target | None) -> None:
        self.name = "mask" if mask is not None else finder.name if finder is not None else "none"
        self._mask = mask
        self._finder = finder

    def propose(self, frame: Frame) -> Mask | None:
        mask, self._mask = self._mask, None
        if mask is not None or self._finder is None:
            return mask
        return self._finder.propose(frame)


class LiveCutter:
    """Mattes of a live stream: what the control asks for is done between two frames.

    `finder` looks for somebody without being asked: it should be sure, as SteadyGate is. `looker` answers at once, and
    is asked about the person who is followed. Used by one thread; its attributes may be read by others.
    """

    def __init__(
        self,
        engine: Engine,
        control: Control,
        clock: Clock,
        *,
        first_mask: Mask | None,
        finder: Target | None,
        looker: Target | None,
        picker: Picker | None,
    ) -> None:
        self.clock = clock
        self.recording = False
        self.warnings: tuple[str, ...] = ()
        self._control = control
        self._looker, self._picker = looker, picker
        self.session = Session(engine, Choice(first_mask, finder), clock, SessionOptions(passes_per_frame=1))
        self._trusted: Alpha | None = None  # memory of its own: a session's alphas do not last

    def process(self, frame: Frame) -> Matte:
        """Returns the frame's own matte, its alpha None where there is none to trust."""
        if not frame.blank:
            self._obey(frame)
        matte = self.session.process(frame)
        if frame.blank:
            self._trusted = None
        elif matte.alpha is not None:
            self._keep(matte.alpha)
        return matte

    def _keep(self, alpha: Alpha) -> None:
        if self._trusted is None or self._trusted.shape != alpha.shape:
            self._trusted = np.empty_like(alpha)
        np.copyto(self._trusted, alpha)

    def _obey(self, frame: Frame) -> None:
        for command in self._control.commands():
            match command:
                case GivenMask(mask):
                    self.session.reseed(mask)
                case Pick():
                    self._pick(frame, command)
                case FindPerson():
                    self.session.reseed(None)
                case Reseed():
                    self.session.reseed(self._fresh(frame))
                case _:
                    self.recording = command.on

    def _pick(self, frame: Frame, pick: Pick) -> None:
        found = None if self._picker is None else self._picker.pick(frame, pick)
        if found is None:
            self.warn("nothing was found where you pointed; point at the middle of the person, or draw a box")
        else:
            self.session.reseed(found)

    def _fresh(self, frame: Frame) -> Mask | None:
        """Returns a fresh look at the person who is followed: the finder's where it means the same one, else the last
        alpha; None, for the finder to say, when nobody is followed."""
        if self._trusted is None:
            return None
        last = Mask(resize(self._trusted, frame.size))
        try:
            look = None if self._looker is None else self._looker.propose(frame)
        except EngineError:  # the session's own calls will tell whether the network is gone
            look = None
        return look if look is not None and overlap(look, last) >= SAME else last

    def warn(self, sentence: str) -> None:
        """Notes a sentence for the user, once."""
        if sentence not in self.warnings:
            self.warnings += (sentence,)


def overlap(one: Mask, other: Mask) -> float:
    """Returns intersection over union of two masks of one size, at 0.5; 0 where nothing is in either."""
    a, b = one.values > 0.5, other.values > 0.5
    return int(np.count_nonzero(a & b)) / max(1, int(np.count_nonzero(a | b)))
