"""Scenes whose room is of one colour found nowhere else, a live line before them, and a sink that looks for that colour
in whatever leaves: what the tests of privacy and of faults share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Event
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.backends.fake import FakeEngine
from rtmatte.clock import ManualClock
from rtmatte.contract import Gates
from rtmatte.control import Control
from rtmatte.errors import EngineError
from rtmatte.frame import Alpha, Frame, Mask
from rtmatte.imaging import resize
from rtmatte.latency import Meter
from rtmatte.live import LiveLine
from rtmatte.pipeline import Counts, Progress
from rtmatte.settings import Settings
from rtmatte.sources.file import FileSource
from rtmatte.sources.synthetic import ROOM, SyntheticSource
from rtmatte.step import Array, Engine, State
from rtmatte.targets import Target

RATE = 10.0  # of the scenes: a second of waiting is not many frames
LONG = 60.0  # seconds before a test that hangs gives up
FAR = 8.0  # pixels from the edge beyond which nothing of the room may be seen
NEAR_LINE = 24.0  # levels that a mixture of room and background may be off the line between them
BACK = (0, 255, 0)

Hook = Callable[[int], object]


class Scene(Protocol):
    """Pictures of a person before the room, and where the person truly is."""

    size: tuple[int, int]

    def pixels_of(self, seq: int) -> NDArray[np.uint8]: ...

    def alpha_of(self, seq: int) -> Alpha: ...


class PersonScene:
    """A filmed person, cut out and put before the room: the cut-out is the truth, whatever it missed of them."""

    def __init__(self, clip: Path, engine: Engine, finder: Target, *, frames: int) -> None:
        from rtmatte.session import Session  # here: the fake scenes need none

        clock = ManualClock()
        self._pictures: list[NDArray[np.uint8]] = []
        self._alphas: list[Alpha] = []
        with FileSource(clip, clock) as source:
            self.size = source.size
            session = Session(engine, finder, clock)
            for frame, _ in zip(source, range(frames), strict=False):
                found = session.process(frame).alpha
                assert found is not None
                self._add(frame.pixels.astype(np.float32), resize(found, self.size))

    def _add(self, pixels: NDArray[np.float32], found: Alpha) -> None:
        alpha = np.clip(2 * cv2.GaussianBlur(found, (0, 0), 1) - 0.5, 0, 1).astype(np.float32)
        room = np.array(ROOM, np.float32)
        self._alphas.append(alpha)
        self._pictures.append(np.rint(room + alpha[..., None] * (pixels - room)).astype(np.uint8))

    def pixels_of(self, seq: int) -> NDArray[np.uint8]:
        return self._pictures[self._place(seq)]

    def alpha_of(self, seq: int) -> Alpha:
        return self._alphas[self._place(seq)]

    def _place(self, seq: int) -> int:
        """There and back, so that nobody jumps."""
        last = len(self._pictures) - 1
        return last - abs(last - seq % (2 * last))


class FaultyEngine:
    """Another engine that fails, or answers nonsense, at the calls it is told."""

    def __init__(
        self, engine: Engine, *, fail_at: Iterable[int] = (), answer_at: Iterable[int] = (), answer: float = np.nan
    ) -> None:
        self.contract, self.backend = engine.contract, engine.backend
        self.calls = 0
        self._engine, self._answer = engine, answer
        self._fail_at, self._answer_at = frozenset(fail_at), frozenset(answer_at)

    def new_state(self) -> State:
        return self._engine.new_state()

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        call = self.calls
        self.calls += 1
        if call in self._fail_at:
            state.take(state.owner)
            raise EngineError("the device is lost")
        alpha, state = self._engine.step(frame, mask, gates, state)
        if call in self._answer_at:
            alpha = np.full_like(alpha, self._answer)
        return alpha, state

    def close(self) -> None:
        pass


class Truth:
    """A target that knows where the person of a scene is, whatever number the frame has now."""

    name = "truth"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.seq = 0

    def propose(self, frame: Frame) -> Mask | None:
        shown = self._scene.alpha_of(self.seq)
        return Mask((shown > 0.5).astype(np.float32)) if shown.shape == frame.pixels.shape[:2] else None


class Rehearsal:
    """A live line before a scene, and its sink. Each frame is given when the one before it was sent.

    `worst` is the largest share of the room's colour in the part of any written frame that is none of the person and
    far from their edge; `people` says of each whether somebody was shown.
    """

    def __init__(
        self,
        scene: Scene,
        engine: Engine | None = None,
        *,
        smaller: Engine | None = None,
        finder: Target | None = None,
        first: bool = True,
        clock: ManualClock | None = None,
    ) -> None:
        self.scene, self.clock = scene, clock or ManualClock()
        self.control = Control(Settings(background="#00ff00"))
        self.meter = Meter()
        self.truth = Truth(scene)
        self.line = LiveLine(
            engine or FakeEngine(*scene.size),
            self.control,
            self.clock,
            size=scene.size,
            finder=finder or self.truth,
            first_mask=Mask((scene.alpha_of(0) > 0.5).astype(np.float32)) if first else None,
            smaller=smaller,
            meter=self.meter,
        )
        self.worst = 0.0
        self.people: list[bool] = []
        self.times: list[float] = []
        self.sizes: set[tuple[int, int]] = set()
        self._sent = Event()

    def run(self, frames: Iterable[Frame], *, progress: Progress | None = None) -> Counts:
        """Runs to the end of `frames`; returns the counts, which must add up."""

        def note(counts: Counts) -> None:
            if progress is not None:
                progress(counts)
            self._sent.set()

        counts = self.line.run(frames, self, progress=note)
        assert counts.received == counts.sent + sum(counts.dropped.values())
        assert counts.sent == len(self.people)
        return counts

    def play(self, count: int, before: Hook = lambda seq: None, *, begin: int = 0) -> Iterator[Frame]:
        """Yields frames of the scene in step with the line; `before(seq)` is called in front of each."""
        for seq in range(begin, begin + count):
            before(seq)
            yield from self.in_step([Frame(seq, self.scene.pixels_of(seq), self.clock.now())])

    def in_step(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yields each of `frames` once the one before was sent, a period apart."""
        for frame in frames:
            self.truth.seq = frame.seq
            self._sent.clear()
            yield frame
            assert self._sent.wait(LONG)
            self.clock.advance(1 / RATE)

    def write(self, frame: Frame) -> None:
        """The sink."""
        self.sizes.add(frame.size)
        self.times.append(self.clock.now())
        self.people.append(bool((np.abs(frame.pixels.astype(int) - BACK).max(axis=2) > NEAR_LINE).mean() > 0.01))
        self.worst = max(self.worst, room_share(frame.pixels, self.scene.alpha_of(frame.seq)))

    def shown(self, begin: int, end: int | None = None) -> bool:
        """Whether somebody was shown in each of the frames from `begin` to `end`."""
        return all(self.people[begin:end]) and bool(self.people[begin:end])


def room_share(pixels: NDArray[np.uint8] | NDArray[np.float32], alpha: Alpha) -> float:
    """Returns how much of the room's colour is in the part of `pixels` that is truly room and far from any edge, 0..1.

    A pixel counts as far as it lies on the line from the background's colour to the room's, so that a person who is
    shown where they were a moment ago is no room.
    """
    room = cv2.distanceTransform((alpha == 0).astype(np.uint8), cv2.DIST_L2, 5) > FAR
    assert room.any()
    line = np.subtract(ROOM, BACK).astype(np.float32)
    away = pixels[room].astype(np.float32) - np.array(BACK, np.float32)
    share = away @ line / (line @ line)
    off = np.linalg.norm(away - share[:, None] * line, axis=1)
    return float(np.where(off <= NEAR_LINE, share.clip(0, 1), 0).mean())


class Seated:
    """A scene in which the person moves so little that two looks a second apart agree."""

    def __init__(self, scene: Scene, *, frames: int = 20) -> None:
        self.size = scene.size
        self._scene, self._frames = scene, frames

    def pixels_of(self, seq: int) -> NDArray[np.uint8]:
        return self._scene.pixels_of(seq // self._frames)

    def alpha_of(self, seq: int) -> Alpha:
        return self._scene.alpha_of(seq // self._frames)


def disc_scene(size: tuple[int, int] = (160, 90)) -> Seated:
    """Returns a scene for the fake engine."""
    return Seated(SyntheticSource(ManualClock(), size=size))
