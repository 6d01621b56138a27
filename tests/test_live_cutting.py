"""The cutter of a live line: what each command and each rung makes of the session, and that no alpha is reused."""

from __future__ import annotations

import numpy as np
import pytest

from rtmatte.backends.fake import FakeEngine, Faults
from rtmatte.clock import ManualClock
from rtmatte.control import Control
from rtmatte.frame import Alpha, Frame, Mask, Matte, Phase, Pixels
from rtmatte.imaging import resize
from rtmatte.ladder import Rung
from rtmatte.live.cutting import SPARSER, LiveCutter
from rtmatte.sources.synthetic import SyntheticSource
from rtmatte.targets import Pick, Point, Target

SIZE = (128, 72)
SMALL = (64, 36)


class Known:
    """A target, picker and looker that knows the scene; `asked` counts how often it was asked who to follow."""

    name = "known"

    def __init__(self, scene: SyntheticSource) -> None:
        self._scene = scene
        self.asked = 0
        self.seen: list[Alpha] = []  # what looks are answered with, the last one again and again

    def look(self, pixels: Pixels) -> Alpha:
        return self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]

    def propose(self, frame: Frame) -> Mask | None:
        self.asked += 1
        return Mask((self._scene.alpha_of(frame.seq) > 0.5).astype(np.float32))

    def pick(self, frame: Frame, pick: Pick) -> Mask | None:
        return self.propose(frame) if pick.points[0].x > 0.1 else None


class Bench:
    """A cutter before the scene; `cut` gives it the next frames."""

    def __init__(self, *, finder: bool = True, faults: Faults | None = None) -> None:
        self.clock, self.control = ManualClock(), Control()
        self.scene = SyntheticSource(self.clock, size=SIZE)
        self.engine, self.small = FakeEngine(*SIZE, faults=faults), FakeEngine(*SMALL)
        self.finder = Known(self.scene)
        target: Target | None = self.finder if finder else None
        first = Mask((self.scene.alpha_of(0) > 0.5).astype(np.float32))
        self.cutter = LiveCutter(
            self.engine,
            self.control,
            self.clock,
            smaller=self.small,
            first_mask=first,
            finder=target,
            looker=self.finder,
            picker=self.finder,
        )
        self.seq = 0

    def cut(self, count: int) -> list[Matte]:
        """Returns the mattes of the next frames; fails when one has the alpha of another frame."""
        mattes = []
        for _ in range(count):
            frame = Frame(self.seq, self.scene.pixels_of(self.seq), self.clock.now())
            matte = self.cutter.process(frame)
            if matte.alpha is not None and matte.alpha.any():
                self._check(matte.alpha)
            mattes.append(matte)
            self.seq += 1
            self.clock.advance(1 / 30)
        return mattes

    def _check(self, alpha: Alpha) -> None:
        size = alpha.shape[1], alpha.shape[0]
        own, earlier = (
            np.abs(alpha - resize(self.scene.alpha_of(seq), size)).mean() for seq in (self.seq, self.seq - 3)
        )
        assert own < earlier / 2, f"the alpha of frame {self.seq} is another one's"


def calls(engine: FakeEngine) -> list[str]:
    return [call[0] for call in engine.calls]


def test_a_smaller_network_starts_from_the_last_alpha_and_gives_back_the_same_way() -> None:
    bench = Bench()
    bench.cut(10)

    bench.cutter.rung = Rung.SMALLER
    smaller = bench.cut(10)
    bench.cutter.rung = Rung.FULL
    full = bench.cut(10)

    assert calls(bench.small)[:3] == ["seed", "settle", "settle"]
    assert [matte.alpha is None for matte in smaller] == [True] * 3 + [False] * 7
    assert smaller[-1].alpha is not None
    assert smaller[-1].alpha.shape == SMALL[::-1]
    assert [matte.alpha is None for matte in full] == [True] * 3 + [False] * 7
    assert bench.finder.asked == 0
    assert bench.cutter.faults == 0


def test_a_sparser_memory_stores_more_seldom() -> None:
    bench = Bench()
    bench.cutter.rung = Rung.SPARSE
    bench.cut(10)
    began = len(bench.small.calls)

    bench.cut(60)

    every = bench.small.contract.write_every * SPARSER
    stored = sum(call.startswith("write") for call in calls(bench.small)[began:])
    assert stored == pytest.approx(60 / every, abs=1)


def test_on_the_lowest_rung_nobody_is_shown_and_the_network_rests() -> None:
    bench = Bench()
    bench.cut(10)
    bench.cutter.rung = Rung.BLUR_ALL
    made = len(bench.engine.calls) + len(bench.small.calls)

    mattes = bench.cut(5)

    assert len(bench.engine.calls) + len(bench.small.calls) == made
    assert all(matte.alpha is not None and not matte.alpha.any() for matte in mattes)


def test_off_the_lowest_rung_the_person_is_looked_for() -> None:
    bench = Bench()
    bench.cut(10)
    bench.cutter.rung = Rung.BLUR_ALL
    bench.cut(5)

    bench.cutter.rung = Rung.FULL
    mattes = bench.cut(6)

    assert bench.finder.asked == 1
    assert [matte.alpha is None for matte in mattes] == [True] * 3 + [False] * 3


def test_after_an_interruption_the_person_is_looked_for() -> None:
    bench = Bench()
    bench.cut(10)

    bench.cutter.interrupt()
    mattes = bench.cut(6)

    assert bench.finder.asked == 1
    assert [matte.alpha is None for matte in mattes] == [True] * 4 + [False] * 2


def test_after_an_interruption_nobody_is_guessed_where_nobody_can_look() -> None:
    bench = Bench(finder=False)
    bench.cut(10)

    bench.cutter.interrupt()

    assert {matte.alpha for matte in bench.cut(20)} == {None}
    assert bench.cutter.session.status.phase is Phase.LOST


def test_a_pick_is_followed_and_a_miss_is_told() -> None:
    bench = Bench(finder=False)
    bench.cut(5)

    bench.control.pick(Pick((Point(0.5, 0.5),)))
    bench.cut(5)
    bench.control.pick(Pick((Point(0.0, 0.0),)))
    bench.cut(1)

    assert calls(bench.engine).count("seed") == 2
    assert any("nothing was found" in sentence for sentence in bench.cutter.warnings)


def test_a_given_mask_is_followed() -> None:
    bench = Bench()
    bench.cut(5)

    bench.control.give_mask(Mask((bench.scene.alpha_of(5) > 0.5).astype(np.float32)))
    mattes = bench.cut(5)

    assert mattes[-1].alpha is not None
    assert calls(bench.engine).count("seed") == 2


def test_a_fresh_look_keeps_to_the_person_who_is_followed() -> None:
    bench = Bench()
    bench.cut(5)
    bench.finder.seen = [np.zeros((10, 10), np.float32)]  # nobody to be seen there

    bench.control.reseed()
    mattes = bench.cut(5)  # `cut` fails were it another alpha

    assert calls(bench.engine).count("seed") == 2
    assert mattes[-1].alpha is not None


def test_the_timer_looks_afresh() -> None:
    bench = Bench()
    bench.finder.seen = [np.zeros((10, 10), np.float32)]
    bench.control.change(reseed_every=1.0, reseed_on_drift=False)

    bench.cut(100)

    assert calls(bench.engine).count("seed") == 1 + 3
    assert bench.cutter.drift is None


def test_a_drift_that_the_watch_tells_seeds_again_unless_the_user_does_not_want_it() -> None:
    seeds = []
    for wanted in (True, False):
        bench = Bench()
        bench.control.change(reseed_on_drift=wanted)
        bench.cut(5)
        drifted = [Mask((bench.scene.alpha_of(5) > 0.5).astype(np.float32))]

        def observe(frame: Frame, alpha: Alpha, drifted: list[Mask] = drifted) -> Mask | None:
            return drifted.pop() if drifted else None

        assert bench.cutter._watch is not None
        bench.cutter._watch.observe = observe  # type: ignore[method-assign]
        bench.cut(10)
        seeds.append(calls(bench.engine).count("seed"))

    assert seeds == [2, 1]
