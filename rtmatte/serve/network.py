"""The networks of a server: one engine for each kind of picture, all run by one worker, and what their time allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from rtmatte.clock import Clock
from rtmatte.contract import Contract, Gates
from rtmatte.engine import self_test
from rtmatte.errors import EngineError
from rtmatte.imaging import Size
from rtmatte.step import Array, Engine, State

FULL_LOAD = 0.8  # of the worker's time; beyond it streams wait for each other
PERIOD = 1 / 30  # seconds a publisher's picture lasts
RECENT = 300  # steps behind the measured time
WARM_UP, MEASURED = 2, 5  # steps at the start

Step = Callable[[Array, NDArray[np.float32] | None, Gates, State], tuple[Array, State]]


class Networks:
    """Opens an engine where none of that `kind` is open, and runs the steps of all of them on one thread.

    `kind_of` says which pictures share an engine. `open_smaller` opens one that may run where that is too slow, or
    says that there is none. Every stream has at most one step waiting, the newest.
    """

    def __init__(
        self,
        open_engine: Callable[[Size], Engine],
        kind_of: Callable[[Size], Hashable],
        clock: Clock,
        *,
        open_smaller: Callable[[Size], Engine | None] = lambda size: None,
    ) -> None:
        self._open, self._open_smaller, self._kind_of, self._clock = open_engine, open_smaller, kind_of, clock
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._opening = Lock()
        self._engines: dict[Hashable, Engine] = {}
        self._smaller: dict[Hashable, Engine | None] = {}
        self._steps: deque[float] = deque(maxlen=RECENT)
        self._at_rest = 0.0

    @property
    def backend(self) -> str:
        """What runs the networks; empty before the first is open."""
        return next((engine.backend for engine in self._engines.values()), "")

    @property
    def step_seconds(self) -> float:
        """The median time of the last steps, 0 before the first."""
        return float(np.median(self._steps)) if self._steps else 0.0

    @property
    def publishers(self) -> int:
        """How many publishers at 30 pictures a second the worker has time for, at least one.

        Steps slow down when the machine has more to do, so the time at rest and the time now both count.
        """
        slowest = max(self._at_rest, self.step_seconds)
        return max(1, int(FULL_LOAD * PERIOD / slowest)) if slowest > 0 else 1

    def measure(self, size: Size) -> None:
        """Opens the engines for pictures of `size` and measures the step of the best one at rest."""
        engine = self.engine(size)
        self.smaller(size)
        frame = np.zeros(engine.contract.inputs[0].shape, engine.contract.inputs[0].dtype)
        mask = np.ones((engine.contract.batch, 1, *frame.shape[1:3]), np.float32)
        gates, state = Gates.for_contract(engine.contract), engine.new_state()
        for row in range(engine.contract.batch):
            gates.set_seed(row)
        for number in range(WARM_UP + MEASURED):
            _, state = engine.step(frame, mask, gates, state)
            gates.clear()
            if number == WARM_UP - 1:
                self._steps.clear()
        self._at_rest = self.step_seconds

    def engine(self, size: Size) -> Engine:
        """Returns the engine for pictures of `size`, which may be used from any thread and need not be closed."""
        kind = self._kind_of(size)
        with self._opening:
            if kind not in self._engines:
                self._engines[kind] = self._worker.submit(self._open, size).result()
            return self._measured(self._engines[kind])

    def smaller(self, size: Size) -> Engine | None:
        """Returns the engine for fewer pixels for pictures of `size`, as `engine` does; None where there is none.

        Its steps are not counted as the networks' time: admitting more, because those here had to give something up,
        would make it worse.
        """
        kind = self._kind_of(size)
        with self._opening:
            if kind not in self._smaller:
                self._smaller[kind] = self._worker.submit(self._open_smaller, size).result()
            engine = self._smaller[kind]
            return None if engine is None else self._here(engine, engine.step)

    def canary(self) -> float:
        """Returns the seconds that the frames of the self-test take; EngineError when their alphas are not finite.

        It waits its turn behind the streams' steps, as they do.
        """
        if not self._engines:
            raise EngineError("no network is open yet; ask again")
        began = self._clock.now()
        self_test(self._measured(next(iter(self._engines.values()))))
        return self._clock.now() - began

    def close(self) -> None:
        """Ends the worker and frees the engines; streams have to have ended."""
        self._worker.shutdown(wait=True, cancel_futures=True)
        for engine in (*self._engines.values(), *self._smaller.values()):
            if engine is not None:
                engine.close()
        self._engines.clear()
        self._smaller.clear()

    def _measured(self, engine: Engine) -> Engine:
        return self._here(engine, partial(self._timed, engine.step))

    def _here(self, engine: Engine, step: Step) -> Engine:
        return _OnWorker(engine, partial(self._run, step))

    def _run(
        self, step: Step, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State
    ) -> tuple[Array, State]:
        try:
            return self._worker.submit(step, frame, mask, gates, state).result()
        except RuntimeError as error:  # the worker has ended
            raise EngineError("the server is ending; the step was not run") from error

    def _timed(
        self, step: Step, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State
    ) -> tuple[Array, State]:
        began = self._clock.now()
        try:
            return step(frame, mask, gates, state)
        finally:
            self._steps.append(self._clock.now() - began)


class _OnWorker:
    """An engine whose steps run elsewhere."""

    def __init__(self, engine: Engine, step: Step) -> None:
        self.contract: Contract = engine.contract
        self.backend = engine.backend
        self._engine, self._step = engine, step

    def new_state(self) -> State:
        return self._engine.new_state()

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        return self._step(frame, mask, gates, state)

    def close(self) -> None:
        """Does nothing: others may use it."""
