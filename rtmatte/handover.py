"""An engine that serves while a better one is made, and then hands its streams over: what a plan's build is hidden by.

A state cannot move between engines, so a stream is seeded anew from its own last frame and alpha, between two frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock, Thread

import numpy as np
from numpy.typing import NDArray

from rtmatte.contract import SEED, Contract, Gates
from rtmatte.errors import EngineError, RtmatteError
from rtmatte.frame import OnDevice
from rtmatte.step import Array, Engine, Lender, State


@dataclass(slots=True)
class _Stream:
    """A stream on `engine`; `frame` and `alpha` are copies of its last call's, None before the first."""

    engine: Engine
    state: State
    frame: Array | None = None
    alpha: Array | None = None


class Handover:
    """Two engines of one model behind the Engine protocol: `first`, until what `make` returns is there.

    `make` runs on a thread of its own, once; when it fails, `first` goes on, and `note` hears why.
    """

    def __init__(self, first: Engine, make: Callable[[], Engine], note: Callable[[str], None]) -> None:
        self.contract: Contract = first.contract
        self.backend = first.backend  # what runs now
        self._first = first
        self._better: Engine | None = None
        self._making = True
        self._closed = False
        self._stepped: Engine = first  # the one that ran the last step
        self._make, self._note = make, note
        self._lock = Lock()
        self._maker = Thread(target=self._run, name="rtmatte handover", daemon=True)
        self._maker.start()

    def new_state(self) -> State:
        """Returns a zero state of the engine that runs now."""
        return State(self, self._fresh(self._better or self._first))

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        """Runs one call, as the Engine protocol says; three in a stream's first call after the better one is there."""
        stream: _Stream = state.take(self)
        better = self._better
        if better is not None and stream.engine is not better:
            stream = self._moved(stream, better, begins=bool(gates.seed.all()))
        self._stepped = stream.engine
        alpha, stream.state = stream.engine.step(frame, mask, gates, stream.state)
        if self._making:
            stream.frame, stream.alpha = _kept(stream.frame, frame), _kept(stream.alpha, alpha)
        return alpha, State(self, stream)

    def lent(self) -> OnDevice | None:
        """Returns what the engine of the last step lends, if it does."""
        return self._stepped.lent() if isinstance(self._stepped, Lender) else None

    def close(self) -> None:
        """Frees both engines; one that is still being made is freed when it is."""
        with self._lock:
            self._closed = True
            engines = [self._first, *filter(None, [self._better])]
        for engine in engines:
            engine.close()

    def wait(self, timeout: float | None = None) -> bool:
        """Returns whether the making is over, by success or failure, within `timeout` seconds."""
        self._maker.join(timeout)
        return not self._maker.is_alive()

    def _run(self) -> None:
        try:
            better = self._make()
        except RtmatteError as error:
            self._note(f"{self._first.backend} goes on: {error}")
        else:
            with self._lock:
                if not self._closed:
                    self._better, self.backend = better, better.backend
            if self._better is None:
                better.close()
            else:
                self._note(f"{better.backend} has taken over from {self._first.backend}")
        finally:
            self._making = False

    def _moved(self, stream: _Stream, better: Engine, *, begins: bool) -> _Stream:
        """Returns the stream on the better engine, or as it was when that one fails, which is then given up."""
        moved = self._fresh(better)
        if stream.frame is None or stream.alpha is None or begins:
            return moved
        gates = Gates.for_contract(self.contract)
        mask = _as_mask(stream.alpha)
        try:
            if self.contract.takes(SEED):
                for prepare in (gates.set_seed, gates.set_settle):
                    for row in range(self.contract.batch):
                        prepare(row)
                    _, moved.state = better.step(stream.frame, mask, gates, moved.state)
            else:
                _, moved.state = better.step(stream.frame, None, gates, moved.state)
        except EngineError as error:
            self._better, self.backend = None, self._first.backend
            self._note(f"{self._first.backend} goes on: {error}")
            return stream
        return moved

    @staticmethod
    def _fresh(engine: Engine) -> _Stream:
        return _Stream(engine, engine.new_state())


def _kept(memory: Array | None, values: Array) -> Array:
    """Returns `values` in memory of the stream's own."""
    if memory is None:
        return values.copy()
    np.copyto(memory, values)
    return memory


def _as_mask(alpha: Array) -> NDArray[np.float32]:
    """Returns an alpha of any backend as a mask: float32 in 0..1, and nobody where it is no number."""
    scale = 255 if alpha.dtype == np.uint8 else 1
    return np.nan_to_num(alpha.astype(np.float32) / scale, nan=0.0).clip(0, 1)
