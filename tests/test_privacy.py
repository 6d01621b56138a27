"""Whatever fails, no frame that left the sink shows the room: a room of one colour, and a matrix of faults.

The fake engine stands for most of them; five are played with the network that ships.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Semaphore

import numpy as np
import pytest

from rtmatte.backends.fake import FakeEngine
from rtmatte.engine import open_engine
from rtmatte.frame import Frame, Mask
from rtmatte.ladder import Rung
from rtmatte.step import Engine
from rtmatte.targets.person import PersonTarget
from tests.assertions import ROOM_SHARE
from tests.room import FaultyEngine, PersonScene, Rehearsal, Scene, Seated, disc_scene, room_share

CLIP = Path(__file__).parents[1] / "rtmatte" / "assets" / "walk.mkv"
COUNT = 45
AT = 8  # when the fault happens
LASTS = 10  # frames: a second

Playing = Callable[[Rehearsal], Iterator[Frame]]


def undisturbed(line: Rehearsal) -> Iterator[Frame]:
    return line.play(COUNT)


def changing(**settings: object) -> Playing:
    """Returns a playing in which settings change for a second."""

    def play(line: Rehearsal) -> Iterator[Frame]:
        before = {name: getattr(line.control.settings, name) for name in settings}
        changes = {AT: settings, AT + LASTS: before}
        return line.play(COUNT, lambda seq: seq in changes and line.control.change(**changes[seq]))

    return play


def standing_on(rung: Rung) -> Playing:
    def play(line: Rehearsal) -> Iterator[Frame]:
        def stand(seq: int) -> None:
            line.line._cutter.rung = rung if AT <= seq < AT + LASTS else Rung.FULL

        return line.play(COUNT, stand)

    return play


def without_a_picture(line: Rehearsal) -> Iterator[Frame]:
    """The camera is gone for a second and a half, and then the person is somewhere else."""
    yield from line.play(AT)
    away = (Frame(seq, np.zeros_like(line.scene.pixels_of(seq)), 0.0, blank=True) for seq in range(AT, AT + 15))
    yield from line.in_step(replace(frame, captured_at=line.clock.now()) for frame in away)
    yield from line.play(COUNT, begin=AT + 200)


def of_another_shape(line: Rehearsal) -> Iterator[Frame]:
    """The camera is turned for a second: the picture stands on end."""
    for frame in line.play(COUNT):
        turned = AT <= frame.seq < AT + LASTS
        yield replace(frame, pixels=np.rot90(frame.pixels).copy()) if turned else frame


def of_another_size(line: Rehearsal) -> Iterator[Frame]:
    for frame in line.play(COUNT):
        yield replace(frame, pixels=frame.pixels[::2, ::2].copy()) if frame.seq >= AT else frame


def with_the_person_gone(line: Rehearsal) -> Iterator[Frame]:
    """An empty room for three seconds, in which the target counts as lost."""
    room = line.scene.pixels_of(0).copy()
    room[:] = room[-1, 0]
    for frame in line.play(2 * COUNT):
        gone = AT <= frame.seq < AT + 3 * LASTS
        yield replace(frame, pixels=room) if gone else frame


def with_commands(line: Rehearsal) -> Iterator[Frame]:
    """Seeds by a mask of nobody, of everybody, and afresh, in turn."""
    width, height = line.scene.size
    masks = [np.zeros((height, width), np.float32), (line.scene.alpha_of(AT + LASTS) > 0.5).astype(np.float32)]
    commands: dict[int, Callable[[], None]] = {
        AT: lambda: line.control.give_mask(Mask(masks[0])),
        AT + LASTS: lambda: line.control.give_mask(Mask(masks[1])),
        AT + 15: line.control.reseed,
        AT + 20: line.control.find_person,
    }
    return line.play(COUNT, lambda seq: seq in commands and commands[seq]())


@dataclass(frozen=True)
class Fault:
    """One fault: how the scene is played, which calls of the network fail or answer `answer`, and whether somebody has
    to be shown again at the end."""

    name: str
    play: Playing = undisturbed
    fail_at: tuple[int, ...] = ()
    answer_at: tuple[int, ...] = ()
    answer: float = float("nan")
    returns: bool = True


FAULTS = [
    Fault("no fault"),
    Fault("the network fails once", fail_at=(AT,)),
    Fault("the network fails five times", fail_at=tuple(range(AT, AT + 5))),
    Fault("the network fails for good", fail_at=tuple(range(AT, 1000)), returns=False),
    Fault("the network fails at its first call", fail_at=(0, 1, 2)),
    Fault("the alpha is not a number", answer_at=tuple(range(AT, AT + 5))),
    Fault("the first alpha is not a number", answer_at=(0, 1, 2, 3)),
    Fault("the alpha is infinite", answer_at=(AT,), answer=float("inf")),
    Fault("the alpha is out of range", answer_at=tuple(range(AT, AT + 4)), answer=3.0),
    Fault("the alpha is below its range", answer_at=(AT,), answer=-1.0),
    Fault("the camera is unplugged and returns", without_a_picture),
    Fault("the camera is turned", of_another_shape),
    Fault("the camera changes its size", of_another_size),
    Fault("the person leaves", with_the_person_gone),
    Fault("commands come", with_commands),
    Fault("the slate is asked for", changing(privacy=True)),
    Fault("the picture is frozen", changing(frozen=True)),
    Fault("the background cannot be opened", changing(background="gone.png")),
    Fault("the edge is moved", changing(edge_shift=2.0, edge_softness=2.0)),
    Fault("the edge is steadied and lit", changing(steadiness=1.0, light_wrap=1.0)),
    Fault("the machine is slow: a smaller network", standing_on(Rung.SMALLER)),
    Fault("the machine is slow: half rate", standing_on(Rung.HALF_RATE)),
    Fault("the machine is slow: nobody", standing_on(Rung.BLUR_ALL)),
]
NAMES_WITH_LITE = {
    "the network fails five times",
    "the alpha is not a number",
    "the camera is unplugged and returns",
    "the camera is turned",
    "the machine is slow: a smaller network",
}
WITH_LITE = [fault for fault in FAULTS if fault.name in NAMES_WITH_LITE]


def check(line: Rehearsal, fault: Fault) -> None:
    line.run(fault.play(line))

    assert line.worst <= ROOM_SHARE
    assert len(line.sizes) == 1
    assert line.people[-1] is fault.returns
    assert any(line.people)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_no_fault_shows_the_room(fault: Fault) -> None:
    scene = disc_scene()
    engine = FaultyEngine(
        FakeEngine(*scene.size), fail_at=fault.fail_at, answer_at=fault.answer_at, answer=fault.answer
    )

    check(Rehearsal(scene, engine, smaller=FakeEngine(80, 45)), fault)


@pytest.fixture(scope="module")
def lite() -> Iterator[Engine]:
    with closing(open_engine("lite", backend="cpu", size=(640, 480), threads=1)) as engine:
        yield engine


@pytest.fixture(scope="module")
def smaller() -> Iterator[Engine]:
    with closing(open_engine("lite", backend="cpu", size=(1280, 720), threads=1)) as engine:
        yield engine


@pytest.fixture(scope="module")
def person(lite: Engine) -> Scene:
    return Seated(PersonScene(CLIP, lite, PersonTarget(lite), frames=12), frames=4)


@pytest.mark.parametrize("fault", WITH_LITE, ids=lambda fault: fault.name)
def test_no_fault_shows_the_room_with_the_network_that_ships(
    fault: Fault, lite: Engine, smaller: Engine, person: Scene
) -> None:
    engine = FaultyEngine(lite, fail_at=fault.fail_at, answer_at=fault.answer_at, answer=fault.answer)

    check(Rehearsal(person, engine, smaller=smaller, finder=PersonTarget(lite)), fault)


def test_frames_that_overtake_each_other_show_no_room() -> None:
    line = Rehearsal(disc_scene())
    room = Semaphore(3)  # up to three under way, so that drops happen

    def frames() -> Iterator[Frame]:
        for seq in range(200):
            room.acquire(timeout=0.01)
            yield Frame(seq, line.scene.pixels_of(seq), line.clock.now())

    line.run(frames(), progress=lambda counts: room.release())

    assert any(line.people)
    assert line.worst <= ROOM_SHARE


def test_five_faults_are_played_with_the_network_that_ships() -> None:
    assert len(WITH_LITE) == len(NAMES_WITH_LITE) == 5


def test_the_measure_sees_a_room_that_is_shown() -> None:
    scene = disc_scene()
    pixels = scene.pixels_of(0)
    faint = (0.9 * np.array((0, 255, 0)) + 0.1 * pixels).astype(np.uint8)

    assert room_share(pixels, scene.alpha_of(0)) > 0.85  # the strip of the number is of other colours
    assert room_share(faint, scene.alpha_of(0)) > ROOM_SHARE
