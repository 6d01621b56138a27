"""The ladder: when it goes down, when it dares to go up, and what it does not mistake for overload."""

from __future__ import annotations

import numpy as np
import pytest

from rtmatte.ladder import BAD, LONGEST, SHORTEST, WINDOW, Ladder, Rung

RATE = 30


class Machine:
    """Tells a ladder second after second what came and what was lost."""

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.now = 0.0
        self.came = self.lost = 0
        ladder.observe(0.0, came=0, lost=0)

    def run(self, seconds: float, *, share: float) -> list[Rung]:
        """Returns the rung after each window of `seconds`, in which a share of the frames is lost."""
        rungs = []
        for _ in range(round(seconds / WINDOW)):
            self.now += WINDOW
            self.came += RATE
            self.lost += round(RATE * share)
            rungs.append(self.ladder.observe(self.now, came=self.came, lost=self.lost))
        return rungs


def test_overload_goes_down_rung_by_rung() -> None:
    machine = Machine(Ladder())

    rungs = machine.run(20, share=0.66)

    assert list(dict.fromkeys(rungs)) == list(Rung)
    assert rungs[: 2 * BAD] == [Rung.FULL] * (BAD - 1) + [Rung.SMALLER] * BAD + [Rung.SPARSE]
    assert rungs[-1] is Rung.BLUR_ALL


def test_half_of_a_halved_rate_is_still_a_picture() -> None:
    machine = Machine(Ladder([Rung.FULL, Rung.HALF_RATE, Rung.BLUR_ALL]))

    assert machine.run(20, share=0.4)[-1] is Rung.HALF_RATE


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_few_losses_cost_nothing(share: float) -> None:
    assert set(Machine(Ladder()).run(60, share=share)) == {Rung.FULL}


def test_one_hiccup_is_no_overload() -> None:
    machine = Machine(Ladder())

    for _ in range(10):
        machine.run(1, share=0.9)
        machine.run(3, share=0.0)

    assert machine.ladder.rung is Rung.FULL


def test_with_room_again_it_climbs_one_rung_at_a_time() -> None:
    machine = Machine(Ladder())
    machine.run(4, share=0.9)
    assert machine.ladder.rung is Rung.SPARSE

    rungs = machine.run(60, share=0.0)

    assert list(dict.fromkeys(rungs)) == [Rung.SPARSE, Rung.SMALLER, Rung.FULL]
    assert rungs.count(Rung.SPARSE) == pytest.approx(SHORTEST / WINDOW, abs=1)


def test_losses_that_are_borne_are_no_reason_to_climb() -> None:
    machine = Machine(Ladder())
    machine.run(2, share=0.9)

    assert set(machine.run(120, share=0.07)) == {Rung.SMALLER}


def test_a_climb_that_fails_waits_longer_each_time() -> None:
    ladder = Ladder([Rung.FULL, Rung.HALF_RATE])
    machine, climbs = Machine(ladder), list[float]()
    while machine.now < 1500:
        before = ladder.rung
        machine.run(1, share=0.5 if before is Rung.FULL else 0.0)
        if before is Rung.HALF_RATE and ladder.rung is Rung.FULL:
            climbs.append(machine.now)

    waits = np.diff(climbs) - BAD * WINDOW
    assert waits[:5] == pytest.approx([20, 40, 80, 160, LONGEST], abs=2 * WINDOW)
    assert max(waits) <= LONGEST + WINDOW


def test_a_climb_that_holds_is_forgotten() -> None:
    ladder = Ladder([Rung.FULL, Rung.HALF_RATE])
    machine = Machine(ladder)
    for _ in range(3):  # two climbs that fail
        machine.run(2, share=0.9)
        while ladder.rung is Rung.HALF_RATE:
            machine.run(1, share=0.0)
    machine.run(2 * SHORTEST, share=0.0)
    machine.run(2, share=0.9)

    rungs = machine.run(2 * SHORTEST, share=0.0)

    assert rungs.count(Rung.HALF_RATE) <= SHORTEST / WINDOW + 1


def test_rungs_that_are_not_there_are_passed_over() -> None:
    machine = Machine(Ladder([Rung.FULL, Rung.HALF_RATE]))

    assert list(dict.fromkeys(machine.run(20, share=0.9))) == [Rung.FULL, Rung.HALF_RATE]


def test_a_pause_is_no_window() -> None:
    ladder = Ladder()
    ladder.observe(0.0, came=0, lost=0)
    ladder.pause()

    ladder.observe(5.0, came=100, lost=90)
    ladder.observe(6.0, came=130, lost=90)
    ladder.observe(7.0, came=160, lost=90)

    assert ladder.rung is Rung.FULL


def test_too_few_frames_say_nothing() -> None:
    ladder = Ladder()
    for second in range(20):
        ladder.observe(float(second), came=2 * second, lost=2 * second)

    assert ladder.rung is Rung.FULL


def test_each_rung_keeps_what_those_above_gave_up() -> None:
    assert Rung.HALF_RATE.gives_up(Rung.SMALLER)
    assert Rung.SMALLER.gives_up(Rung.SMALLER)
    assert not Rung.FULL.gives_up(Rung.SMALLER)
    assert all(rung.warning for rung in list(Rung)[1:])
