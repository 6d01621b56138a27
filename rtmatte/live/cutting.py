"""The side of a live line that runs on the network's thread: a session, and who it is told to follow."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import numpy as np

from rtmatte.clock import Clock
from rtmatte.control import Control, FindPerson, GivenMask, Reseed
from rtmatte.errors import EngineError
from rtmatte.frame import Alpha, Frame, Mask, Matte, Phase
from rtmatte.imaging import Size, resize
from rtmatte.ladder import Rung
from rtmatte.session import Session, SessionOptions
from rtmatte.step import Engine
from rtmatte.targets import Looker, Pick, Picker, Target
from rtmatte.targets.drift import DriftWatch

SPARSER = 3  # times as many frames between two that are remembered, on the rung of that name


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
    """Mattes of a live stream: what the control and the ladder ask for is done between two frames.

    `finder` looks for somebody without being asked: it should be sure, as SteadyGate is. `looker` sees the person who
    is followed afresh, when that is asked for or they have drifted away. `smaller` is what runs in place of `engine` on
    the rung of that name; `lend` says that mattes are drawn on the device of the engines.
    One thread cuts; `interrupt` and the attributes are for any.
    """

    def __init__(
        self,
        engine: Engine,
        control: Control,
        clock: Clock,
        *,
        smaller: Engine | None,
        first_mask: Mask | None,
        finder: Target | None,
        looker: Looker | None,
        picker: Picker | None,
        lend: bool = False,
    ) -> None:
        self.clock = clock
        self.warnings: tuple[str, ...] = ()
        self.rung = Rung.FULL  # where to stand from the next frame on
        self._stood_on = Rung.FULL
        self._control = control
        self._picker = picker
        self._watch = None if looker is None else DriftWatch(looker, clock)
        self._engines = [engine, *([smaller] if smaller is not None else [])]
        options = SessionOptions(passes_per_frame=1, lend=lend)
        self._sessions = [Session(each, Choice(first_mask, finder), clock, options) for each in self._engines]
        self.session = self._sessions[0]
        self._interrupted = Event()
        self._trusted: Alpha | None = None  # memory of its own: a session's alphas do not last
        self._looked_at = clock.now()  # when the person was last looked at afresh
        self._nobody = np.zeros(engine.contract.size[::-1], np.float32)

    @property
    def backend(self) -> str:
        """What runs now."""
        return self._engines[self._sessions.index(self.session)].backend

    @property
    def drift(self) -> float | None:
        """The last drift score, 0..1; None where none was taken."""
        return None if self._watch is None else self._watch.score

    @property
    def faults(self) -> int:
        """What the networks got wrong."""
        return sum(session.status.faults for session in self._sessions)

    def followed(self, size: Size) -> Mask | None:
        """Returns who is followed, as a mask for frames of `size`; None when nobody is. For between two runs."""
        return None if self._trusted is None else Mask(resize(self._trusted, size))

    def interrupt(self) -> None:
        """Says that a frame to come did not come after the one before it, so whoever it shows is to be found anew."""
        self._interrupted.set()

    def process(self, frame: Frame) -> Matte:
        """Returns the frame's own matte, its alpha None where there is none to trust."""
        if self._interrupted.is_set():
            self._interrupted.clear()
            frame = replace(frame, blank=True)
        if self.rung is not self._stood_on:
            self._stand_on(self.rung, frame)
        if frame.blank:
            self._forget()
            return self.session.process(frame)
        self._obey(frame)
        if self._stood_on is Rung.BLUR_ALL:
            return Matte(frame, self._nobody, Phase.LOST)
        matte = self.session.process(frame)
        if matte.alpha is not None:
            self._keep(matte.alpha)
            self._watch_drift(frame, matte.alpha)
        return matte

    def _stand_on(self, rung: Rung, frame: Frame) -> None:
        """Changes what runs. The network that takes over starts from the last alpha, or looks for somebody."""
        if self._stood_on is Rung.BLUR_ALL:
            self._follow(None)
        session = self._sessions[-1 if rung.gives_up(Rung.SMALLER) else 0]
        if session is not self.session:
            session.reseed(self.followed(frame.size))
            self.session = session
        every = self._engines[0].contract.write_every
        session.remember_every(every * SPARSER if rung.gives_up(Rung.SPARSE) else None)
        self._stood_on = rung

    def _keep(self, alpha: Alpha) -> None:
        if self._trusted is None or self._trusted.shape != alpha.shape:
            self._trusted = np.empty_like(alpha)
        np.copyto(self._trusted, alpha)

    def _obey(self, frame: Frame) -> None:
        for command in self._control.commands():
            match command:
                case GivenMask(mask):
                    self._follow(mask)
                case Pick():
                    self._pick(frame, command)
                case FindPerson():
                    self._follow(None)
                case Reseed():
                    self._look_afresh(frame)
        every = self._control.settings.reseed_every
        if every and self._trusted is not None and self.clock.now() - self._looked_at >= every:
            self._look_afresh(frame)

    def _pick(self, frame: Frame, pick: Pick) -> None:
        try:
            found = None if self._picker is None else self._picker.pick(frame, pick)
        except EngineError:  # as in a fresh look
            found = None
        if found is None:
            self.warn("nothing was found where you pointed; point at the middle of the person, or draw a box")
        else:
            self._follow(found)

    def _follow(self, mask: Mask | None) -> None:
        """Follows somebody else from the next frame on: who `mask` shows, or whoever is found."""
        self._forget()
        self.session.reseed(mask)

    def _forget(self) -> None:
        self._trusted = None
        if self._watch is not None:
            self._watch.begin()

    def _watch_drift(self, frame: Frame, alpha: Alpha) -> None:
        if self._watch is None or not self._control.settings.reseed_on_drift:
            return
        try:
            fresh = self._watch.observe(frame, alpha)
        except EngineError:  # the session's own calls will tell whether the network is gone
            return
        if fresh is not None:
            self._watch.begin()
            self.session.reseed(fresh)

    def _look_afresh(self, frame: Frame) -> None:
        """Seeds again: as the person who is followed is seen afresh, else from the last alpha; when nobody is followed
        the finder is to say who it is."""
        self._looked_at = self.clock.now()
        if self._trusted is None:
            self.session.reseed(None)
            return
        try:
            fresh = None if self._watch is None else self._watch.fresh(frame, self._trusted)
        except EngineError:  # as above
            fresh = None
        self.session.reseed(fresh or self.followed(frame.size))

    def warn(self, sentence: str) -> None:
        """Notes a sentence for the user, once."""
        if sentence not in self.warnings:
            self.warnings += (sentence,)
