"""A camera that rests while nobody watches: the time is a manual clock, the viewers a number."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from rtmatte.clock import ManualClock
from rtmatte.errors import InputError, SourceError
from rtmatte.frame import Frame
from rtmatte.sources import SourceState
from rtmatte.sources.ondemand import LOOK, PULSE, RETRY, SETTLE, OnDemandSource
from rtmatte.sources.synthetic import SyntheticSource

RELEASE = 5.0
PERIOD = 0.1


class Camera(SyntheticSource):
    """A camera that knows whether its light is on; a frame takes a period of the clock."""

    def __init__(self, clock: ManualClock, frames: int | None = None) -> None:
        super().__init__(clock, size=(64, 48), frames=frames)
        self.clock = clock
        self.lit = True

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            self.clock.advance(PERIOD)
            yield frame

    def close(self) -> None:
        super().close()
        self.lit = False


class Room:
    """A source on demand, the cameras that it had open, and a number of viewers to be set."""

    def __init__(self, frames: int | None = None, viewers: int = 0) -> None:
        self.clock = ManualClock()
        self.viewers = viewers
        self.frames = frames
        self.refusal = ""
        self.cameras = [Camera(self.clock, frames)]
        self.source = OnDemandSource(
            self.cameras[0], self._open, lambda: self.viewers, self.clock, release_after=RELEASE
        )

    @property
    def lit(self) -> bool:
        return any(camera.lit for camera in self.cameras)

    def _open(self) -> Camera:
        if self.refusal:
            raise SourceError(self.refusal)
        self.cameras.append(Camera(self.clock, self.frames))
        return self.cameras[-1]


def take(frames: Iterator[Frame], count: int) -> list[Frame]:
    return list(islice(frames, count))


def test_while_nobody_watches_the_camera_is_off_and_blank_frames_keep_the_line_alive() -> None:
    room = Room()

    resting = take(iter(room.source), 4)

    assert not room.lit
    assert room.source.state is SourceState.RESTING
    assert all(frame.blank and not frame.pixels.any() for frame in resting)
    assert np.diff([frame.captured_at for frame in resting]) == pytest.approx([PULSE] * 3, abs=LOOK)


def test_a_viewer_opens_it_and_the_last_one_to_leave_releases_it() -> None:
    room = Room()
    frames = iter(room.source)
    take(frames, 1)

    room.viewers = 2
    arrived_at = room.clock.now()
    shown = next(frame for frame in frames if not frame.blank)
    assert shown.captured_at - arrived_at <= SETTLE + 2 * LOOK
    assert (room.source.state, room.lit) == (SourceState.LIVE, True)

    room.viewers = 1
    assert not any(frame.blank for frame in take(frames, int(2 * RELEASE / PERIOD)))

    room.viewers = 0
    left_at = room.clock.now()
    assert next(frame for frame in frames if frame.blank).captured_at - left_at == pytest.approx(RELEASE, abs=0.3)
    assert (room.source.state, room.lit) == (SourceState.RESTING, False)


def test_frames_are_numbered_through_every_pause() -> None:
    room = Room()
    frames, seen = iter(room.source), []
    for room.viewers in (0, 1, 0, 1):
        seen += take(frames, 80)

    assert [frame.seq for frame in seen] == list(range(320))
    assert len(room.cameras) == 3


def test_a_program_that_only_lists_cameras_opens_none() -> None:
    clock = ManualClock()
    camera = Camera(clock)
    glances = OnDemandSource(
        camera, lambda: camera, lambda: int(1.0 <= clock.now() < 1.0 + SETTLE * 0.9), clock, release_after=RELEASE
    )

    frames = take(iter(glances), 8)

    assert frames[-1].captured_at > 2.0
    assert all(frame.blank for frame in frames)


def test_a_viewer_who_is_there_from_the_start_gets_the_camera_that_was_opened() -> None:
    room = Room(viewers=1)

    assert not any(frame.blank for frame in take(iter(room.source), 9))
    assert len(room.cameras) == 1


def test_a_camera_that_another_program_took_meanwhile_is_asked_for_again() -> None:
    room = Room()
    frames = iter(room.source)
    take(frames, 1)
    room.refusal = "the camera is busy; close the other program"

    room.viewers = 1
    failing = take(frames, 6)
    assert all(frame.blank for frame in failing)
    assert room.source.state is SourceState.FAILED
    assert room.source.message == room.refusal

    room.refusal = ""
    returned_at = room.clock.now()
    shown = next(frame for frame in frames if not frame.blank)
    assert shown.captured_at - returned_at <= RETRY + PULSE
    assert (room.source.state, room.source.message) == (SourceState.LIVE, "")


def test_a_fault_is_forgotten_when_nobody_watches() -> None:
    room = Room()
    room.refusal = "busy"
    frames = iter(room.source)
    take(frames, 1)
    room.viewers = 1
    take(frames, 4)

    room.viewers = 0
    room.clock.advance(RELEASE)
    take(frames, 4)

    assert room.source.state is SourceState.RESTING


def test_the_end_of_a_recorded_source_is_the_end() -> None:
    room = Room(frames=3)
    room.viewers = 1

    assert sum(not frame.blank for frame in room.source) == 3


def test_closing_ends_the_iteration_and_releases_the_camera() -> None:
    room = Room()
    room.viewers = 1
    with room.source as source:
        frames = iter(source)
        next(frame for frame in frames if not frame.blank)

    assert not room.lit
    assert list(frames) == []


def test_a_delay_must_be_a_time() -> None:
    room = Room()

    with pytest.raises(InputError, match="0 seconds or more"):
        OnDemandSource(room.cameras[0], room._open, lambda: 0, room.clock, release_after=-1)
