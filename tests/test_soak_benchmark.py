"""The soak run: it counts every frame, tells how it goes, and can be cut without losing what it saw."""

from __future__ import annotations

import signal
from threading import Event

import numpy as np
import pytest

from benchmarks.loop import Pictures
from benchmarks.soak import Standing, cut_by_signals, soak
from rtmatte.contract import Gates
from rtmatte.frame import Mask
from rtmatte.targets.mask import MaskTarget

SIZE = (160, 96)
FRAMES = 600


def pictures() -> Pictures:
    return Pictures([np.full((SIZE[1], SIZE[0], 3), level, np.uint8) for level in (60, 90, 120)], (20, 20))


def everywhere() -> MaskTarget:
    return MaskTarget(Mask(np.ones((SIZE[1], SIZE[0]), np.float32)))


def test_every_frame_goes_through_the_line_and_the_process_is_watched() -> None:
    told = list[str]()

    found = soak(pictures(), Standing(SIZE), everywhere(), frames=FRAMES, fast=True, tell=told.append)

    assert (found["frames"], found["of"], found["cut"]) == (FRAMES, FRAMES, False)
    assert found["sent"] + sum(found["dropped"].values()) == FRAMES
    assert isinstance(found["growth_mb_per_hour"], float)
    assert len(found["memory_mb"]) == 2
    assert found["threads"]
    assert found["descriptors"]
    assert len(told) >= 10
    assert f"of {FRAMES} frames" in told[0]


@pytest.mark.parametrize("lines", [1, 8])
def test_a_run_that_is_cut_tells_what_it_saw(lines: int) -> None:
    stop, told = Event(), list[str]()

    def tell(line: str) -> None:
        told.append(line)
        if len(told) == lines:
            stop.set()

    found = soak(pictures(), Standing(SIZE), everywhere(), frames=FRAMES, fast=True, stop=stop, tell=tell)

    assert found["cut"]
    assert 0 < found["frames"] < FRAMES
    assert (found["growth_mb_per_hour"] is None) == (lines == 1), "no slope through a handful of looks"


def test_a_run_that_is_cut_before_the_first_look_has_no_figures() -> None:
    stop = Event()
    stop.set()

    found = soak(pictures(), Standing(SIZE), everywhere(), frames=FRAMES, fast=True, stop=stop)

    assert (found["growth_mb_per_hour"], found["memory_mb"], found["threads"]) == (None, [], [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_cuts_and_the_second_is_as_before(number: signal.Signals) -> None:
    stop, before = Event(), signal.getsignal(number)

    with cut_by_signals(stop) as came:
        handler = signal.getsignal(number)
        assert callable(handler)
        assert handler is not before
        handler(number, None)  # called, not sent: after AMX products a signal can end a process on some machines
        assert signal.getsignal(number) is before

    assert stop.is_set()
    assert came == [number]
    assert signal.getsignal(number) is before


def test_the_standing_matte_is_the_mask_of_the_last_seed() -> None:
    engine = Standing((4, 2))
    state = engine.new_state()
    mask, frame = np.full((1, 1, 2, 4), 0.5, np.float32), np.zeros((1, 2, 4, 3), np.uint8)

    seeded, state = engine.step(frame, mask, Gates.for_contract(engine.contract), state)
    seeded = seeded.copy()
    after, _ = engine.step(frame, None, Gates.for_contract(engine.contract), state)

    assert (seeded == 0.5).all()
    assert (after == 0.5).all()
