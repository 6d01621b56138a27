"""The networks of a server: shared by streams, run by one worker, and what their time allows."""

from __future__ import annotations

import numpy as np
import pytest

from rtmatte.backends.fake import FakeEngine, Faults
from rtmatte.clock import ManualClock, MonotonicClock
from rtmatte.contract import Gates
from rtmatte.errors import EngineError
from rtmatte.serve.network import Networks
from rtmatte.step import Engine
from tests.serving import SIZE


def test_a_network_that_answers_nonsense_is_not_healthy() -> None:
    networks = Networks(lambda size: FakeEngine(*size, faults=Faults(nan_at=range(99))), hash, MonotonicClock())
    networks.engine(SIZE)

    with pytest.raises(EngineError):
        networks.canary()

    networks.close()


def test_the_budget_follows_from_the_time_of_a_step() -> None:
    clock = ManualClock()
    slow = Networks(lambda size: FakeEngine(*size, faults=Faults(step_seconds=0.005), clock=clock), hash, clock)
    assert slow.publishers == 1  # nothing is known yet

    slow.measure(SIZE)

    assert slow.step_seconds == pytest.approx(0.005)
    assert slow.publishers == 5  # 0.8 of a 30th of a second
    slow.close()


def test_engines_are_shared_by_pictures_of_a_kind_and_end_with_the_worker() -> None:
    opened = []

    def open_engine(size: tuple[int, int]) -> FakeEngine:
        opened.append(size)
        return FakeEngine(*size)

    networks = Networks(open_engine, lambda size: size[0] > size[1], MonotonicClock())
    for size in ((160, 120), (320, 240), (120, 160)):
        engine = networks.engine(size)
    networks.close()

    assert opened == [(160, 120), (120, 160)]
    frame, gates, state = np.zeros((1, 160, 120, 3), np.uint8), Gates.for_contract(engine.contract), engine.new_state()
    with pytest.raises(EngineError):
        engine.step(frame, None, gates, state)


def step(engine: Engine) -> None:
    height, width = engine.contract.inputs[0].shape[1:3]
    engine.step(
        np.zeros((1, height, width, 3), np.uint8), None, Gates.for_contract(engine.contract), engine.new_state()
    )


def test_a_smaller_network_is_opened_once_for_a_kind_and_ends_with_the_rest() -> None:
    opened: list[FakeEngine] = []

    def open_smaller(size: tuple[int, int]) -> FakeEngine:
        opened.append(FakeEngine(size[0] // 2, size[1] // 2))
        return opened[-1]

    networks = Networks(lambda size: FakeEngine(*size), lambda size: "any", MonotonicClock(), open_smaller=open_smaller)
    networks.measure(SIZE)
    smaller = networks.smaller((SIZE[0] * 2, SIZE[1] * 2))

    assert smaller is not None
    assert smaller.contract.size == (SIZE[0] // 2, SIZE[1] // 2)
    assert len(opened) == 1
    networks.close()
    with pytest.raises(EngineError):
        step(smaller)


def test_where_there_is_no_smaller_network_none_is_used() -> None:
    networks = Networks(lambda size: FakeEngine(*size), hash, MonotonicClock())

    assert networks.smaller(SIZE) is None

    networks.close()


def test_streams_that_fell_back_on_a_smaller_network_make_no_room_for_more() -> None:
    clock = ManualClock()

    def open_engine(size: tuple[int, int]) -> FakeEngine:
        return FakeEngine(*size, faults=Faults(step_seconds=size[0] / 1e5), clock=clock)

    networks = Networks(open_engine, hash, clock, open_smaller=lambda size: open_engine((size[0] // 4, size[1] // 4)))
    full, smaller = networks.engine((800, 400)), networks.smaller((800, 400))
    assert smaller is not None
    step(full)
    room = networks.publishers

    for _ in range(20):
        step(smaller)

    assert networks.publishers == room == 3
    assert networks.step_seconds == pytest.approx(0.008)
    networks.close()
