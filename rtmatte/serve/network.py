"""The networks of a server: one engine for each kind of picture, all run by one worker, and what their time allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
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


class Networks:
    """Opens an engine where none of that `kind` is open, and runs the steps of all of them on one thread.

    `kind_of` says which pictures share an engine. Every stream has at most one step waiting, the newest.
    """

    def __init__(
        self, open_engine: Callable[[Size], Engine], kind_of: Callable[[Size], Hashable], clock: Clock
    ) -> None:
        self._open, self._kind_of, self._clock = open_engine, kind_of, clock
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._opening = Lock()
        self._engines: dict[Hashable, Engine] = {}
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
        """Opens the engine for pictures of `size` and measures its step at rest."""
        engine = self.engine(size)
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
            return _OnWorker(self._engines[kind], self._run)

    def canary(self) -> float:
        """Returns the seconds that the frames of the self-test take; EngineError when their alphas are not finite.

        It waits its turn behind the streams' steps, as they do.
        """
        if not self._engines:
            raise EngineError("no network is open yet; ask again")
        began = self._clock.now()
        self_test(_OnWorker(next(iter(self._engines.values())), self._run))
        return self._clock.now() - began

    def close(self) -> None:
        """Ends the worker and frees the engines; streams have to have ended."""
        self._worker.shutdown(wait=True, cancel_futures=True)
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def _run(
        self, engine: Engine, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State
    ) -> tuple[Array, State]:
        try:
            return self._worker.submit(self._timed, engine, frame, mask, gates, state).result()
        except RuntimeError as error:  # the worker has ended
            raise EngineError("the server is ending; the step was not run") from error

    def _timed(
        self, engine: Engine, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State
    ) -> tuple[Array, State]:
        began = self._clock.now()
        try:
            return engine.step(frame, mask, gates, state)
        finally:
            self._steps.append(self._clock.now() - began)


Run = Callable[[Engine, Array, NDArray[np.float32] | None, Gates, State], tuple[Array, State]]


class _OnWorker:
    """An engine whose steps run elsewhere."""

    def __init__(self, engine: Engine, run: Run) -> None:
        self.contract: Contract = engine.contract
        self.backend = engine.backend
        self._engine, self._run = engine, run

    def new_state(self) -> State:
        return self._engine.new_state()

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        return self._run(self._engine, frame, mask, gates, state)

    def close(self) -> None:
        """Does nothing: others may use it."""
