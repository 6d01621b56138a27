"""Plays a clip through a session and keeps what every call gave the network: the tensors of a recurrent graph as they
are in use, seed and settling passes, ordinary frames and stores, each with the state that led to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from export.check import answered, calls
from rtmatte.clock import ManualClock
from rtmatte.contract import Gates
from rtmatte.errors import InputError
from rtmatte.graph import read_step_contract
from rtmatte.session import Session, SessionOptions
from rtmatte.sources import open_source
from rtmatte.step import Array, Inputs, State
from rtmatte.targets import Target

FRAMES = 48  # spread over the clip; more changed no range that mattered


@dataclass(frozen=True, slots=True)
class Recorded:
    """The tensors a graph was given, inputs and states by name, and the alpha it answered with."""

    given: dict[str, Array]
    alpha: Array


class Recorder:
    """A float32 graph in ONNX Runtime behind the Engine protocol that keeps every call in `calls`; slow, and hungry."""

    backend = "onnxruntime cpu, recorded"

    def __init__(self, graph: Path) -> None:
        """Raises ContractError or ModelError for a file that cannot be used."""
        self.contract = read_step_contract(graph)
        self.calls: list[Recorded] = []
        self._session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
        self._inputs = Inputs(self.contract)

    def new_state(self) -> State:
        return State(self, {spec.name: spec.zeros() for spec in self.contract.states})

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        self._inputs.fill(frame, mask, gates)
        given = {name: array.copy() for name, array in self._inputs.arrays.items()} | state.take(self)
        alpha, *states = self._session.run([spec.name for spec in self.contract.results], given)
        self.calls.append(Recorded(given, alpha))
        names = (spec.name for spec in self.contract.states)
        return alpha, State(self, dict(zip(names, states, strict=True)))

    def close(self) -> None:
        """Keeps the calls; there is nothing else to free before the recorder goes."""


def rehearse(recorder: Recorder, clip: str | Path, target: Target, *, frames: int = FRAMES) -> Iterator[Recorded]:
    """Yields the calls that `frames` frames, spread over the clip, make of the recorder's network.

    `clip` is a video file, a folder of pictures or `synthetic`; `target` says who is followed. Raises SourceError for
    a clip that cannot be read, InputError when nobody to follow is found in it.
    """
    recorder.calls.clear()  # those that a rehearsal broken off has left
    clock = ManualClock()
    session = Session(recorder, target, clock, SessionOptions(warmup=1, lost_after=None))
    with open_source(clip, clock, size=recorder.contract.size) as source:
        stride = max(1, (source.frame_count or 0) // frames)
        for frame in islice(source, 0, frames * stride, stride):
            session.process(frame)
            yield from recorder.calls
            recorder.calls.clear()
        status = session.status
    if status.hidden == status.frames:
        reason = status.last_error or "nobody to follow was found"
        raise InputError(f"expected a clip of a person, {clip} has none in {status.frames} frames ({reason})")


def improvise(recorder: Recorder, *, frames: int) -> Iterator[Recorded]:
    """Yields the calls that `frames` made pictures make of the recorder's network: a moving scene unlike any clip."""
    recorder.calls.clear()
    state = recorder.new_state()
    for call in calls(recorder.contract, frames):
        _, state = answered(recorder, call, state)
        yield from recorder.calls
        recorder.calls.clear()
