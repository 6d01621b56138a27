"""A better engine takes over while a stream runs: nobody sees it, and when it fails nobody loses anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from rtmatte import backends
from rtmatte.backends import Backend, Options
from rtmatte.backends.fake import FakeEngine, Faults
from rtmatte.clock import ManualClock
from rtmatte.contract import Gates
from rtmatte.engine import open_engine, self_test
from rtmatte.errors import BackendError, EngineError, PlanMissing
from rtmatte.frame import Alpha, Frame, Mask
from rtmatte.handover import Handover
from rtmatte.session import Session, SessionOptions
from rtmatte.step import Engine
from tests.toy_model import save_toy, toy_contract

SIZE = (64, 48)
LONG = 10.0  # seconds that a thread which has nothing to do may take


def named(name: str, *, faults: Faults | None = None, batch: int = 1) -> FakeEngine:
    engine = FakeEngine(*SIZE, batch=batch, faults=faults or Faults())
    engine.backend = name
    return engine


class Building:
    """A build that ends when it is told to, in `engine` or in `error`."""

    def __init__(self, engine: Engine | None = None, error: Exception | None = None) -> None:
        self.ended = Event()
        self._engine, self._error = engine, error

    def __call__(self) -> Engine:
        assert self.ended.wait(LONG)
        if self._error is not None:
            raise self._error
        assert self._engine is not None
        return self._engine


def picture(seq: int) -> Frame:
    across, down = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    light = np.where((across - 20 - seq) ** 2 + (down - 24) ** 2 < 100, 220, 20).astype(np.uint8)
    return Frame(seq, np.repeat(light[..., None], 3, axis=2), float(seq))


def mask_of(frame: Frame) -> Mask:
    return Mask((frame.pixels[..., 0] > 128).astype(np.float32))


def play(engine: Engine, frames: range, session: Session | None = None) -> tuple[list[Alpha], Session]:
    if session is None:
        session = Session(engine, None, ManualClock(), SessionOptions(warmup=1, lost_after=None))
        session.reseed(mask_of(picture(frames[0])))
    alphas = []
    for seq in frames:
        matte = session.process(picture(seq))
        assert matte.alpha is not None, session.status
        alphas.append(matte.alpha.copy())
    return alphas, session


def test_a_stream_changes_engines_between_two_frames_and_nobody_sees_it() -> None:
    better, notes = named("better"), list[str]()
    building = Building(better)
    engine = Handover(named("first"), building, notes.append)
    before, session = play(engine, range(5))
    assert (engine.backend, better.calls) == ("first", [])

    building.ended.set()
    assert engine.wait(LONG)
    after, _ = play(engine, range(5, 10), session)

    alone, _ = play(named("first"), range(10))
    np.testing.assert_array_equal(np.stack(before + after), np.stack(alone))
    assert engine.backend == "better"
    assert better.calls[:2] == [("seed",), ("settle",)]
    assert ("seed",) not in better.calls[2:]
    assert (session.status.faults, session.status.hidden) == (0, 0)
    assert notes == ["better has taken over from first"]


def test_a_new_stream_and_one_that_is_seeded_begin_on_the_better_engine() -> None:
    better = named("better")
    building = Building(better)
    engine = Handover(named("first"), building, print)
    _, session = play(engine, range(2))
    building.ended.set()
    assert engine.wait(LONG)

    session.reseed(mask_of(picture(2)))
    play(engine, range(2, 4), session)
    play(engine, range(2))

    assert better.calls.count(("seed",)) == 2


def test_every_row_of_a_batch_moves() -> None:
    better = named("better", batch=2)
    building = Building(better)
    engine = Handover(named("first", batch=2), building, print)
    gates, state = Gates.for_contract(engine.contract), engine.new_state()
    frames = np.stack([picture(0).pixels, picture(9).pixels])
    masks = np.stack([mask_of(picture(0)).values, mask_of(picture(9)).values])[:, None]
    for row in range(2):
        gates.set_seed(row)
    frames = frames.astype(engine.contract.input("frame").dtype)
    _, state = engine.step(frames, masks, gates, state)
    gates.clear()
    expected, state = engine.step(frames, None, gates, state)
    expected = expected.copy()
    building.ended.set()
    assert engine.wait(LONG)

    found, _ = engine.step(frames, None, gates, state)

    np.testing.assert_array_equal(found, expected)
    assert better.calls[0] == ("seed", "seed")


def test_a_build_that_fails_leaves_everything_as_it_is_and_is_told() -> None:
    notes: list[str] = []
    building = Building(error=BackendError("the disk is full"))
    engine = Handover(named("first"), building, notes.append)
    _, session = play(engine, range(2))

    building.ended.set()
    assert engine.wait(LONG)
    play(engine, range(2, 4), session)

    assert engine.backend == "first"
    assert notes == ["first goes on: the disk is full"]


def test_a_better_engine_that_fails_in_the_change_is_given_up_and_the_stream_goes_on() -> None:
    notes: list[str] = []
    building = Building(named("better", faults=Faults(fail_at=[0, 1])))
    engine = Handover(named("first"), building, notes.append)
    _, session = play(engine, range(2))
    building.ended.set()
    assert engine.wait(LONG)

    play(engine, range(2, 5), session)

    assert engine.backend == "first"
    assert session.status.faults == 0
    assert notes[-1].startswith("first goes on: ")


def test_an_engine_that_is_ready_after_the_end_is_closed() -> None:
    better = named("better")
    building = Building(better)
    engine = Handover(named("first"), building, print)

    engine.close()
    building.ended.set()
    assert engine.wait(LONG)

    with pytest.raises(EngineError, match="closed"):
        self_test(better)


def missing(name: str, build: Building | None, *, quick: bool = True) -> Backend:
    """Returns a backend whose plan is there once `build` has run."""
    built: list[bool] = []

    def make() -> None:
        if build is not None:
            build()
        built.append(True)

    def open_plan(path: Path, options: Options) -> Engine:
        if not built:
            raise PlanMissing(f"no plan of {path.name} yet", make, quick=quick)
        engine = FakeEngine(16, 8)
        engine.contract = replace(engine.contract, self_test=())
        engine.backend = name
        return engine

    return Backend(name, backends.ONNX, open_plan)


def test_the_next_backend_serves_while_a_plan_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    building, notes = Building(named("unused")), list[str]()
    cpu = Backend("cpu", backends.ONNX, lambda path, options: FakeEngine(16, 8))
    monkeypatch.setattr(backends, "BACKENDS", (missing("rtx", building), cpu))

    engine = open_engine(save_toy(tmp_path / "toy.onnx", toy_contract()), note=notes.append)

    assert isinstance(engine, Handover)
    assert engine.backend == FakeEngine(16, 8).backend
    assert notes[-1].endswith("serves while a faster plan of toy.onnx is built")
    building.ended.set()
    assert engine.wait(LONG)
    assert engine.backend == "rtx"


@pytest.mark.parametrize("quick", [True, False])
def test_a_backend_that_was_asked_for_is_built_at_once_where_that_takes_seconds(
    quick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "BACKENDS", (missing("rtx", None, quick=quick),))
    path = save_toy(tmp_path / "toy.onnx", toy_contract())

    if quick:
        assert open_engine(path, backend="rtx").backend == "rtx"
    else:
        with pytest.raises(BackendError, match=r"no plan of toy\.onnx yet"):
            open_engine(path, backend="rtx")
