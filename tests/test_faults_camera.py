"""Faults of a camera (rows 1 to 3 and 14 of tests/test_faults.py): a watched camera before a live line, by a clock that
is moved by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Event, Thread

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rtmatte.clock import ManualClock
from rtmatte.errors import SourceBusy, SourceDenied, SourceError, SourceGone
from rtmatte.frame import Frame, Matte, Phase
from rtmatte.pipeline import Counts
from rtmatte.sources import SourceState
from rtmatte.sources.watch import PATIENCE, WatchedSource
from tests.assertions import ROOM_SHARE
from tests.cameras import Camera, Cameras
from tests.room import LONG, RATE, Rehearsal, Seated, disc_scene

PERIOD = 1 / RATE
HOLD = 1.0  # seconds for which the last composite may stand
RECOVERY = 2.0  # seconds from the camera's return to the person's
STOP = 2.0  # seconds of real time that stopping may take


class Filmed:
    """A person who sits still before watched cameras, and the line that shows them.

    `script` is called before every period with the time; it says which camera is alive by `alive`, None for none.
    """

    def __init__(self, *found: Camera | SourceError, clock: ManualClock) -> None:
        self.clock = clock
        self.scene = Seated(disc_scene(), frames=1_000_000)
        self.stage = Rehearsal(self.scene, clock=clock)
        self.cameras = Cameras(clock, *found)
        self.plugged = Event()
        self.source = WatchedSource(self.cameras, clock, returned=self.plugged.is_set)
        self.alive: Camera | None = next(camera for camera in found if isinstance(camera, Camera))
        self.states: list[SourceState] = []

    def run(self, seconds: float, script: Callable[[float], None]) -> Counts:
        with self.source:
            return self.stage.run(self.stage.in_step(self._frames(seconds, script)))

    def _frames(self, seconds: float, script: Callable[[float], None]) -> Iterator[Frame]:
        began = self.clock.now()
        while self.clock.now() - began < seconds:
            script(self.clock.now())
            if self.alive is not None and (self.source._reader is not None):
                self._give(self.alive)
            elif self.source.state is SourceState.LIVE and self.clock.now() - self.source._heard_at < PATIENCE:
                self.clock.advance(PERIOD)  # nothing comes, and nobody misses it yet
                continue
            frame = next(self.source)
            self._settle()
            self.states.append(self.source.state)
            yield frame

    def _give(self, camera: Camera) -> None:
        reader = self.source._reader
        if reader is not None and reader._source is camera:
            camera.give(self.scene.pixels_of(0))

    def fail(self, camera: Camera, error: SourceError) -> None:
        """Ends a camera, and returns when that is known."""
        camera.fail(error)
        self.alive = None
        wait_for(lambda: self.source.state is not SourceState.LIVE)

    def _settle(self) -> None:
        """Waits until an attempt to open a camera has been answered."""
        wait_for(lambda: (reader := self.source._reader) is None or reader.opened)

    def person_from(self, at: float) -> float:
        """Returns when the person was first shown again after `at`."""
        times = self.stage.times
        return next(time for time, shown in zip(times, self.stage.people, strict=True) if shown and time > at)


def wait_for(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0)


def camera(clock: ManualClock) -> Camera:
    return Camera(clock, size=(160, 90), fps=RATE)


def check_hidden_between(filmed: Filmed, lost_at: float, back_at: float) -> None:
    """Fails unless the composite stood for a second at most, then the slate, at the rate of the output all the time,
    and the person was back in time."""
    stage = filmed.stage
    shown = [time for time, person in zip(stage.times, stage.people, strict=True) if person and time < back_at]
    assert max(shown) <= lost_at + HOLD + PERIOD
    assert filmed.person_from(back_at) - back_at <= RECOVERY
    assert stage.people[-1]
    assert stage.worst <= ROOM_SHARE
    assert len(stage.sizes) == 1


def test_row_1_an_unplugged_camera_is_hidden_and_found_again() -> None:
    clock = ManualClock()
    first, second = camera(clock), camera(clock)
    gone = SourceGone("expected a camera at /dev/video0, found none")
    filmed = Filmed(first, gone, gone, gone, second, clock=clock)
    lost_at, back_at = 2.0, 7.0

    def script(now: float) -> None:
        if filmed.alive is first and now >= lost_at:
            filmed.fail(first, gone)
        if now >= back_at and not filmed.plugged.is_set():
            filmed.plugged.set()
            filmed.alive = second

    filmed.run(10.0, script)

    assert set(filmed.states) == {SourceState.LIVE, SourceState.UNPLUGGED}
    gaps = np.diff([time for time in filmed.stage.times if time > lost_at])
    assert gaps.max() <= 1.5 * PERIOD  # the output keeps its rate
    check_hidden_between(filmed, lost_at, back_at)


@pytest.mark.parametrize(
    ("error", "state"), [(SourceBusy("in use by other"), SourceState.BUSY), (SourceDenied("no"), SourceState.DENIED)]
)
def test_row_1_a_camera_that_another_program_or_right_takes_is_told(error: SourceError, state: SourceState) -> None:
    clock = ManualClock()
    first, second = camera(clock), camera(clock)
    filmed = Filmed(first, error, second, clock=clock)
    told: list[str] = []

    def script(now: float) -> None:
        if filmed.alive is first and now >= 2.0:
            filmed.fail(first, error)
        if len(filmed.cameras.tried) == 2:
            filmed.alive = second
        told.append(filmed.source.message)

    filmed.run(7.0, script)

    assert state in filmed.states
    assert str(error) in told
    assert filmed.stage.people[-1]
    assert filmed.stage.worst <= ROOM_SHARE


def test_row_2_a_camera_that_stalls_is_told_hidden_and_opened_again() -> None:
    clock = ManualClock()
    first, second = camera(clock), camera(clock)
    first.hangs = True
    filmed = Filmed(first, second, clock=clock)
    lost_at = 2.0

    def script(now: float) -> None:
        if filmed.alive is first and now >= lost_at:
            filmed.alive = None
        if len(filmed.cameras.tried) == 2:
            filmed.alive = second

    filmed.run(9.0, script)
    first._items.put(None)  # the driver lets go at last

    stalled = filmed.states.index(SourceState.STALLED)
    assert filmed.stage.times[stalled] - lost_at == pytest.approx(PATIENCE, abs=2 * PERIOD)
    back_at = filmed.cameras.tried[1]
    assert back_at - lost_at == pytest.approx(3.0, abs=2 * PERIOD)
    check_hidden_between(filmed, lost_at, back_at)


@pytest.mark.parametrize("network_hangs", [False, True])
def test_row_2_a_line_stops_in_time_while_its_camera_hangs(network_hangs: bool) -> None:
    clock, stop, cut, release = ManualClock(), Event(), Event(), Event()
    hanging = camera(clock)
    hanging.hangs = True
    source = WatchedSource(Cameras(clock, hanging), clock)
    stage = Rehearsal(disc_scene(), clock=clock)
    process = stage.line._cutter.process

    def cutting(frame: Frame) -> Matte:
        matte = process(frame)
        cut.set()
        assert not network_hangs or release.wait(LONG)
        return matte

    stage.line._cutter.process = cutting  # type: ignore[method-assign]
    runner = Thread(target=lambda: stage.line.run(source, stage, stop=stop))
    runner.start()
    hanging.give(stage.scene.pixels_of(0))
    assert cut.wait(LONG)

    began = time.monotonic()
    stop.set()
    runner.join(LONG)
    source.close()
    took = time.monotonic() - began
    release.set()
    hanging._items.put(None)  # the driver lets go at last

    assert took <= STOP
    assert not runner.is_alive()


SIZES = st.tuples(st.integers(1, 300), st.integers(1, 300)) | st.sampled_from([(1, 1), (101, 7)])


@settings(max_examples=8, deadline=None)
@example(sizes=[(7680, 4320), (1, 1)])
@given(sizes=st.lists(SIZES, min_size=1, max_size=4))
def test_row_3_any_change_of_size_midway_keeps_the_output(sizes: list[tuple[int, int]]) -> None:
    stage = Rehearsal(Seated(disc_scene(), frames=1_000_000))
    room = stage.scene.pixels_of(0)[-1, 0]

    def frames() -> Iterator[Frame]:
        yield from stage.play(5)
        for width, height in sizes:
            pixels = np.broadcast_to(room, (height, width, 3))
            yield from stage.in_step(Frame(5, pixels, stage.clock.now()) for _ in range(2))

    counts = stage.run(frames())

    assert counts.sent == 5 + 2 * len(sizes)
    assert stage.sizes == {stage.scene.size}
    assert stage.worst <= ROOM_SHARE


def test_row_14_after_a_machine_slept_the_person_is_found_again() -> None:
    clock = ManualClock()
    first, second = camera(clock), camera(clock)
    filmed = Filmed(first, second, clock=clock)
    woke_at = 3602.0

    def script(now: float) -> None:
        if filmed.alive is first and 2.0 <= now < woke_at:
            clock.advance(woke_at - now)
            filmed.alive = None
        if len(filmed.cameras.tried) == 2:
            filmed.alive = second

    filmed.run(woke_at + 5.0, script)

    assert filmed.person_from(woke_at) - woke_at <= RECOVERY
    assert filmed.stage.line.status.phase is Phase.TRACKING
    assert filmed.stage.worst <= ROOM_SHARE
