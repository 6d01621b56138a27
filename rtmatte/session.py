"""A Session turns one stream's frames into mattes: it seeds the network, warms it up, tracks, and starts over when
the network's answer cannot be trusted.

It says when the network stores a frame, and never touches what is stored. It knows no thread, socket or file.
"""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from rtmatte.clock import Clock
from rtmatte.contract import FRAME, SEED, SETTLE, Gates
from rtmatte.errors import ContractError, EngineError, InputError
from rtmatte.frame import Alpha, Frame, Mask, Matte, Phase
from rtmatte.imaging import Fit, Size, dilate_then_erode, resize
from rtmatte.step import Array, Engine, State
from rtmatte.targets import Target

RECENT = 4  # frames: an alpha no older than this may seed again, and its buffer still stands
FAULTS_IN_A_ROW = 3  # so many untrustworthy alphas, and the network starts over
EMPTY_AREA = 0.001  # an alpha whose mean is below this shows nobody
OVERSHOOT = 1e-3  # half precision may leave 0..1 by this much; it is clipped


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session seeds, remembers and gives up; None takes the value the model was made for.

    `warmup` passes over the first frame follow the seed, and one more gives its alpha. A call of `process` runs the
    network at most `passes_per_frame` times (None: as often as needed, for files; 1: for live input, the picture
    stays hidden meanwhile). A given mask is dilated, then eroded, by ellipses of so many pixels across. Every
    `write_every`-th frame is stored. After `lost_after` seconds of an empty alpha the target counts as lost
    (None: never).
    """

    warmup: int | None = None
    passes_per_frame: int | None = None
    dilate: int = 0
    erode: int = 0
    write_every: int | None = None
    lost_after: float | None = 2.0

    def __post_init__(self) -> None:
        limits = {"warmup": 0, "passes_per_frame": 1, "dilate": 0, "erode": 0, "write_every": 1, "lost_after": 0}
        for name, least in limits.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise InputError(f"expected {name} of at least {least}, found {value}")


@dataclass(frozen=True, slots=True)
class Status:
    """Where a session stands: `hidden` frames of all `frames` had no alpha, `faults` counts what the network got
    wrong, `warnings` are sentences for the user, each told once."""

    phase: Phase
    target: str
    frames: int
    hidden: int
    faults: int
    last_error: str
    warnings: tuple[str, ...]


class Session:
    """One stream's way through a network.

    The engine may be shared, the session belongs to one thread; only `reseed` and `status` may be used from another.
    Without a target it waits for `reseed`. `clock` is the one its frames are stamped by.
    """

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

    def __init__(
        self, engine: Engine, target: Target | None, clock: Clock, options: SessionOptions = SessionOptions()
    ) -> None:
        self.clock = clock
        self._target = target
        self._options = options
        self._row = _Row(engine, options.write_every)
        self._fit = Fit.contain((1, 1), self._row.size)
        warmup = engine.contract.warmup if options.warmup is None else options.warmup
        self._passes = 0
        if engine.contract.takes(SEED):
            self._passes = 1 + (warmup + 1 if engine.contract.takes(SETTLE) else 0)
        self._requests: deque[Mask | None] = deque(maxlen=1)  # from any thread, the newest counts
        self.reset()

    def reset(self) -> None:
        """Forgets the stream and its counts: the next frame is the first of another one."""
        self._requests.clear()
        self._frames = self._hidden = self._faults = 0
        self._last_error, self._warnings = "", ()
        self._size = (0, 0)
        self._start_over(Phase.WAITING)

    def reseed(self, mask: Mask | None) -> None:
        """Makes the next frame a first one, cut out by `mask`, or by what the target proposes when it is None.

        The mask is of that frame; of another size it is scaled, with a warning. An empty mask is a legal one: nobody.
        """
        self._requests.append(mask)

    @property
    def status(self) -> Status:
        """The session's counts as they are now."""
        target = self._target.name if self._target else "none"
        return Status(self._phase(), target, self._frames, self._hidden, self._faults, self._last_error, self._warnings)

    def process(self, frame: Frame) -> Matte:
        """Returns the frame's own matte, its alpha None where there is none to trust.

        The alpha is the session's memory and good until the next call. A network that fails or answers nonsense is a
        fault: it is counted and the picture is hidden. After a failure, or nonsense three times in a row, the network
        is seeded again: from the last alpha that showed somebody while that is a few frames old, else by the target.
        Frames may change their size: when the picture keeps its shape all goes on, otherwise the network is seeded
        again from the last alpha, stretched like the picture.
        """
        self._frames += 1
        given = None
        if self._requests:
            given = self._requests.popleft()
            self._start_over(Phase.WAITING)
        self._fit_to(frame.size)
        try:
            alpha = self._advance(frame, given)
        except EngineError as error:
            self._fault(error)
            alpha = None
        self._hidden += alpha is None
        return Matte(frame, None if alpha is None else self._fit.crop(alpha), self._phase())

    def _advance(self, frame: Frame, given: Mask | None) -> Alpha | None:
        """Runs the passes that are due; returns the frame's own alpha at working size, if it comes to one."""
        row, calls = self._row, self._options.passes_per_frame or sys.maxsize
        begun = (self._lost or not self._known) and self._begin(frame, given)
        if not self._known:
            return None
        alpha: Alpha | None = None
        while self._todo and calls:
            alpha = row.seed() if self._todo == self._passes else row.settle()
            self._todo -= 1
            calls -= 1
        if self._todo:
            return None
        if alpha is None or not begun:  # those passes, if any, were over an earlier frame
            if not calls:
                return None
            self._fit.forward(frame.pixels, row.frame[0])
            alpha = row.ordinary()
        self._judge(alpha, frame)
        return None if self._lost else alpha

    def _begin(self, frame: Frame, given: Mask | None) -> bool:
        """Lays this frame and its mask out for the seed; False when nobody knows a mask."""
        recent = self._frames - self._trusted_at <= RECENT and not self._lost
        if given is None and self._trusted is not None and recent:
            np.copyto(self._row.mask[0, 0], self._trusted)
        else:
            if given is None and self._target is not None:
                given = self._target.propose(frame)
            if given is None:
                return False
            self._fit.forward(self._prepared(given, frame.size).values, self._row.mask[0, 0])
        self._fit.forward(frame.pixels, self._row.first[0])
        self._trusted, self._trusted_at = self._row.mask[0, 0], self._frames
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
        before, self._fit, self._size = self._fit, Fit.contain(size, self._row.size), size
        if before.box != self._fit.box and self._trusted is not None:
            stretched = before.crop(self._trusted).copy()
            self._fit.forward(stretched, self._row.mask[0, 0])
            self._trusted = self._row.mask[0, 0]
            self._let_go(Phase.LOST)

    def _phase(self) -> Phase:
        if not self._known:
            return self._idle
        if self._todo:
            return Phase.SEEDING if self._todo >= self._passes - 1 else Phase.WARMING
        return Phase.LOST if self._lost else Phase.TRACKING


class _Row:
    """One stream in an engine: its state, its buffers, and the calls of the network as the contract defines them.

    `first` is the frame of the seed, `frame` the current one, both [1,H,W,3]; `mask` is [1,1,H,W]. An answer is an
    alpha (H, W) in a ring of `RECENT` buffers, checked; EngineError when the call failed or the alpha is nonsense.
    """

    def __init__(self, engine: Engine, write_every: int | None) -> None:
        contract = engine.contract
        if contract.batch != 1:
            raise ContractError(f"a session runs one row, this model has {contract.batch}; export it with a batch of 1")
        width, height = self.size = contract.size
        self.first, self.frame = contract.input(FRAME).zeros(), contract.input(FRAME).zeros()
        self.mask = np.zeros((1, 1, height, width), np.float32)
        self._engine = engine
        self._state: State | None = None
        self._gates = Gates.for_contract(contract)
        self._alphas = cycle([np.empty((height, width), np.float32) for _ in range(RECENT)])
        self._slots = contract.slots
        self._write_every = contract.write_every if write_every is None else write_every
        self._since_seed = 0

    @property
    def broken(self) -> bool:
        """Whether the state was lost in a call that failed."""
        return self._state is None

    def forget(self) -> None:
        """Drops the state: the next call starts from zeros."""
        self._state = None

    def seed(self) -> Alpha:
        self._since_seed = 0
        self._gates.set_seed()
        return self._step(self.first, self.mask)

    def settle(self) -> Alpha:
        self._gates.set_settle()
        return self._step(self.first, None)

    def ordinary(self) -> Alpha:
        """Slot 0 is the first frame's for ever; every `write_every`-th frame goes to slots 1, 2, ... in turn."""
        self._since_seed += 1
        self._gates.clear()
        stores, rest = divmod(self._since_seed, self._write_every)
        if self._slots > 1 and not rest:
            self._gates.set_write(1 + (stores - 1) % (self._slots - 1))
        return self._step(self.frame, None)

    def _step(self, frame: Array, mask: Alpha | None) -> Alpha:
        state, self._state = self._state or self._engine.new_state(), None
        answer, self._state = self._engine.step(frame, mask, self._gates, state)
        return self._checked(answer[0, 0])

    def _checked(self, alpha: Array) -> Alpha:
        if alpha.dtype == np.uint8:
            return np.multiply(alpha, np.float32(1 / 255), out=next(self._alphas))
        low, high = float(alpha.min()), float(alpha.max())  # NaN comes through both
        if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):
            raise EngineError(f"expected an alpha in 0..1 from the network, found {low:g}..{high:g}")
        return np.clip(alpha, 0.0, 1.0, out=next(self._alphas))
