"""A Follower keeps to one target of a stream: it seeds its row, warms it up, tracks, and starts over when the network's
answer cannot be trusted.

It lays calls out and waits for them, so that the rows of a batch can be stepped together. It says when the network
stores a frame, and never touches what is stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from rtmatte.contract import SEED, SETTLE, Contract
from rtmatte.errors import EngineError, InputError
from rtmatte.frame import Alpha, Frame, Mask, Phase
from rtmatte.imaging import Fit, Reduced, Size, dilate_then_erode, resize
from rtmatte.resampling import limited
from rtmatte.rows import RECENT, Row
from rtmatte.targets import Target

FAULTS_IN_A_ROW = 3  # so many untrustworthy alphas, and the network starts over
EMPTY_AREA = 0.001  # an alpha whose mean is below this shows nobody

# Yields whenever a call is laid out: whether another one on this frame would be of use. It is sent whether there may be
# one, None to begin with. Returns the alpha of the frame, or None.
Calls = Generator[bool, bool | None, Alpha | None]


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session seeds, remembers and gives up; None takes the value the model was made for.

    `warmup` passes over the first frame follow the seed, and one more gives its alpha. A call of `process` runs the
    network at most `passes_per_frame` times (None: as often as needed, for files; 1: for live input, the picture
    stays hidden meanwhile). A given mask is dilated, then eroded, by ellipses of so many pixels across. Every
    `write_every`-th frame is stored. After `lost_after` seconds of an empty alpha the target counts as lost
    (None: never). With `internal_size` the network sees frames whose shorter side is reduced to that many pixels, and
    the alpha is brought back to their size, both as MatAnyone does it; the model has to be one of the reduced size.
    With `lend` a matte holds what of it lies on a device, for who draws there.
    """

    warmup: int | None = None
    passes_per_frame: int | None = None
    dilate: int = 0
    erode: int = 0
    write_every: int | None = None
    lost_after: float | None = 2.0
    internal_size: int | None = None
    lend: bool = False

    def __post_init__(self) -> None:
        limits = {"warmup": 0, "passes_per_frame": 1, "dilate": 0, "erode": 0, "write_every": 1, "lost_after": 0}
        limits["internal_size"] = 1
        for name, least in limits.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise InputError(f"expected {name} of at least {least}, found {value}")


@dataclass(frozen=True, slots=True)
class Status:
    """Where a target stands: `hidden` frames of all `frames` had no alpha of it, `faults` counts what the network got
    wrong, `warnings` are sentences for the user, each told once."""

    phase: Phase
    target: str
    frames: int
    hidden: int
    faults: int
    last_error: str
    warnings: tuple[str, ...]


def together(statuses: Sequence[Status]) -> Status:
    """Returns one status for several targets: tracking when any is, hidden as often as the one hidden most."""
    return Status(
        phase=next((each.phase for each in statuses if each.phase is Phase.TRACKING), statuses[0].phase),
        target=" + ".join(each.target for each in statuses),
        frames=statuses[0].frames,
        hidden=max(each.hidden for each in statuses),
        faults=sum(each.faults for each in statuses),
        last_error=next((each.last_error for each in statuses if each.last_error), ""),
        warnings=tuple(dict.fromkeys(warning for each in statuses for warning in each.warnings)),
    )


class Follower:
    """One target's way through one row of a network."""

    _frames: int
    _hidden: int
    _faults: int
    _faults_in_a_row: int
    _last_error: str
    _warnings: tuple[str, ...]
    _size: Size  # of the last frame
    _known: bool  # somebody is being followed; a model without seeds always follows
    _idle: Phase  # while nobody is
    _todo: int  # passes over the first frame still to run
    _lost: bool  # followed, but out of sight
    _empty_since: float | None
    _trusted: Alpha | None  # the last alpha that showed somebody, at working size
    _trusted_at: int  # the frame it was of

    def __init__(self, row: Row, target: Target | None, contract: Contract, options: SessionOptions) -> None:
        self._row = row
        self._target = target
        self._options = options
        self._working = contract.size
        self._fit: Fit | Reduced = Fit.contain((1, 1), self._working)
        warmup = contract.warmup if options.warmup is None else options.warmup
        self._passes = 0
        if contract.takes(SEED):
            self._passes = 1 + (warmup + 1 if contract.takes(SETTLE) else 0)
        self._requests: deque[Mask | None] = deque(maxlen=1)  # from any thread, the newest counts
        self.reset()

    def reset(self) -> None:
        """Forgets the stream and its counts."""
        self._requests.clear()
        self._frames = self._hidden = self._faults = 0
        self._last_error, self._warnings = "", ()
        self._size = (0, 0)
        self._start_over(Phase.WAITING)

    def reseed(self, mask: Mask | None) -> None:
        """Makes the next frame a first one; from any thread."""
        self._requests.append(mask)

    def interrupt(self) -> None:
        """Counts a frame that did not come: nobody knows who will be there afterwards, or where."""
        self._frames += 1
        self._hidden += 1
        self._start_over(Phase.LOST)

    @property
    def status(self) -> Status:
        """The target's counts as they are now."""
        target = self._target.name if self._target else "none"
        return Status(self._phase(), target, self._frames, self._hidden, self._faults, self._last_error, self._warnings)

    def follow(self, frame: Frame) -> Calls:
        """Returns, call by call, the frame's own alpha in the row's memory; None where there is none to trust."""
        self._frames += 1
        given = None
        if self._requests:
            given = self._requests.popleft()
            self._start_over(Phase.WAITING)
        self._fit_to(frame.size)
        try:
            alpha = yield from self._advance(frame, given)
        except EngineError as error:
            self._fault(error)
            alpha = None
        self._hidden += alpha is None
        return None if alpha is None else self._fit.restored(alpha)

    def _advance(self, frame: Frame, given: Mask | None) -> Calls:
        """Lays out the passes that are due, and then the frame's own call."""
        row = self._row
        if self._known and not self._todo and row.broken and self._passes:
            self._let_go(Phase.LOST)  # by a call in which this row had no part
        begun = (self._lost or not self._known) and self._begin(frame, given)
        if not self._known:
            return None
        alpha: Alpha | None = None
        more: bool | None = True
        while self._todo and more:
            if self._todo == self._passes:
                row.seed()
            else:
                row.settle()
            more = yield self._todo > 1 or not begun
            alpha = row.alpha()
            self._todo -= 1
        if self._todo or (alpha is not None and not begun and not more):
            return None
        if alpha is None or not begun:  # those passes, if any, were over an earlier frame
            self._fit.forward(frame.pixels, row.frame)
            row.ordinary()
            yield False
            alpha = row.alpha()
        self._judge(alpha, frame)
        return None if self._lost else alpha

    def _begin(self, frame: Frame, given: Mask | None) -> bool:
        """Lays this frame and its mask out for the seed; False when nobody knows a mask."""
        recent = self._frames - self._trusted_at <= RECENT and not self._lost
        if given is None and self._trusted is not None and recent:
            np.copyto(self._row.mask, self._trusted)
        else:
            if given is None and self._target is not None:
                given = self._target.propose(frame)
            if given is None:
                return False
            self._fit.forward(self._prepared(given, frame.size).values, self._row.mask)
        self._fit.forward(frame.pixels, self._row.first)
        self._trusted, self._trusted_at = self._row.mask, self._frames
        self._known, self._todo = True, self._passes
        self._lost, self._empty_since = False, None
        return True

    def _prepared(self, mask: Mask, size: Size) -> Mask:
        if mask.size != size:
            warning = f"the mask is {mask.size[0]}x{mask.size[1]}, the frame {size[0]}x{size[1]}: the mask was scaled"
            if warning not in self._warnings:
                self._warnings += (warning,)
            mask = Mask(resize(mask.values, size))
        return dilate_then_erode(mask, dilate=self._options.dilate, erode=self._options.erode)

    def _judge(self, alpha: Alpha, frame: Frame) -> None:
        """Notes a sound alpha, and for how long it has shown nobody."""
        self._faults_in_a_row = 0
        now = frame.captured_at if frame.pts is None else frame.pts
        if self._fit.crop(alpha).mean() >= EMPTY_AREA:
            self._trusted, self._trusted_at = alpha, self._frames
            self._lost, self._empty_since = False, None
        elif self._empty_since is None:
            self._empty_since = now
        elif self._options.lost_after is not None:
            self._lost = now - self._empty_since >= self._options.lost_after

    def _fault(self, error: EngineError) -> None:
        self._faults += 1
        self._faults_in_a_row += 1
        self._last_error = str(error)
        too_many = self._faults_in_a_row >= FAULTS_IN_A_ROW
        if self._todo and not too_many:
            self._todo = self._passes  # the first frame and its mask are still there: try them again
        elif self._todo:
            self._start_over(Phase.LOST)
        elif too_many or self._row.broken:
            self._let_go(Phase.LOST)

    def _start_over(self, phase: Phase) -> None:
        """Forgets who was followed, so that only a given mask or the target can say."""
        self._let_go(phase)
        self._trusted, self._trusted_at = None, 0

    def _let_go(self, phase: Phase) -> None:
        """Makes the next frame a first one."""
        self._row.forget()
        self._known, self._idle = self._passes == 0, phase
        self._todo = self._faults_in_a_row = 0
        self._lost, self._empty_since = False, None

    def _fit_to(self, size: Size) -> None:
        """Fits frames of a new size; a picture of another shape has to be seeded again."""
        if size == self._size:
            return
        before, self._fit, self._size = self._fit, self._fit_for(size), size
        if before.box != self._fit.box and self._trusted is not None:
            stretched = before.crop(self._trusted).copy()
            self._fit.forward(stretched, self._row.mask)
            self._trusted = self._row.mask
            self._let_go(Phase.LOST)

    def _fit_for(self, size: Size) -> Fit | Reduced:
        shorter = self._options.internal_size
        if shorter is None:
            return Fit.contain(size, self._working)
        (width, height), found = limited(size, shorter), self._working
        if (width, height) != found:
            raise InputError(
                f"expected a model for {width}x{height}, a frame of {size[0]}x{size[1]} with internal size {shorter}, "
                f"found one for {found[0]}x{found[1]}; export it: python -m export CHECKPOINT --size {width}x{height}"
            )
        return Reduced(size, found)

    def _phase(self) -> Phase:
        if not self._known:
            return self._idle
        if self._todo:
            return Phase.SEEDING if self._todo >= self._passes - 1 else Phase.WARMING
        return Phase.LOST if self._lost else Phase.TRACKING
