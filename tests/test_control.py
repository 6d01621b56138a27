"""The control: settings change for everybody at once, and of what was asked for the newest counts."""

from __future__ import annotations

from threading import Thread

import numpy as np
import pytest

from rtmatte.control import Control, FindPerson, GivenMask, Pick, Point, Reseed
from rtmatte.errors import InputError
from rtmatte.frame import Mask
from rtmatte.settings import Settings

LEFT = Pick((Point(0.2, 0.5),))
REFINED = Pick((*LEFT.points, Point(0.5, 0.5, wanted=False)))


def test_a_change_holds_and_is_told_once() -> None:
    control, told = Control(Settings(despill=0.5)), list[Settings]()
    control.on_change(told.append)

    control.change(mirror=True)
    control.change(mirror=True)

    assert control.settings == Settings(despill=0.5, mirror=True)
    assert told == [control.settings]


def test_a_wrong_change_changes_nothing() -> None:
    control = Control()

    with pytest.raises(InputError, match="edge_shift"):
        control.change(mirror=True, edge_shift=100)

    assert control.settings == Settings()


def test_nobody_is_told_after_unsubscribing() -> None:
    control, told = Control(), list[Settings]()
    unsubscribe = control.on_change(told.append)

    unsubscribe()
    unsubscribe()
    control.change(mirror=True)

    assert told == []


def test_changes_from_several_threads_are_all_kept() -> None:
    control = Control()
    changes: list[dict[str, object]] = [{"despill": 0.0}, {"mirror": True}, {"edge_shift": 1.0}, {"frozen": True}]
    threads = [Thread(target=lambda each=each: [control.change(**each) for _ in range(200)]) for each in changes]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert control.settings == Settings(despill=0.0, mirror=True, edge_shift=1.0, frozen=True)


def test_commands_are_taken_once_and_the_newest_choice_counts() -> None:
    control = Control()
    control.pick(LEFT)
    control.pick(REFINED)

    assert control.commands() == [REFINED]
    assert control.commands() == []


def test_a_recording_is_asked_for_until_it_is_ended() -> None:
    control = Control()

    control.record(True)
    asked = control.recording, control.recording
    control.record(False)

    assert asked == (True, True)
    assert not control.recording
    assert control.commands() == []  # whoever owns the sinks obeys, not the network


def test_a_reseed_does_not_take_the_place_of_a_choice() -> None:
    control = Control()
    control.reseed()
    assert control.commands() == [Reseed()]

    control.reseed()
    control.pick(LEFT)
    control.reseed()

    assert control.commands() == [LEFT]


def test_undo_goes_back_choice_by_choice_and_ends_at_whoever_is_found() -> None:
    control, mask = Control(), Mask(np.ones((2, 2), np.float32))
    control.give_mask(mask)
    control.pick(LEFT)
    control.pick(REFINED)

    undone = []
    for _ in range(4):
        control.undo()
        undone += control.commands()

    assert undone == [LEFT, GivenMask(mask), FindPerson(), FindPerson()]
    assert control.choice == FindPerson()


@pytest.mark.parametrize(
    ("points", "box"),
    [
        ((), None),
        ((Point(0.1, 0.1, wanted=False),), None),
        ((), (0.5, 0.1, 0.5, 0.9)),
        ((), (0.1, 0.1, 1.2, 0.9)),
        ((Point(0.5, 0.5),) * 65, None),
    ],
)
def test_a_pick_of_nothing_is_refused(points: tuple[Point, ...], box: tuple[float, float, float, float] | None) -> None:
    with pytest.raises(InputError, match="expected"):
        Pick(points, box)


@pytest.mark.parametrize("x", [-0.1, 1.1, float("nan")])
def test_a_point_is_inside_the_frame(x: float) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        Point(x, 0.5)
