"""A publisher's recording on the server's disk."""

from __future__ import annotations

import asyncio
import stat
import sys
import threading
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.control import Control
from rtmatte.errors import InputError, SinkError
from rtmatte.frame import Frame
from rtmatte.outputs import Outputs
from rtmatte.serve import recording
from rtmatte.serve.recording import WAITING, Recorder, Recording, recordings_folder
from rtmatte.sinks.memory import MemorySink
from tests.serving import GREEN, OPTIONS, RED, SIZE, WHITE, is_near, on_air, serving, shows, until

LONG = 20.0


def frame(number: int, *, level: int = 100) -> Frame:
    return Frame(number, np.full((SIZE[1], SIZE[0], 3), level, np.uint8), 7.0 + number / 10)


def pictures(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    """The pictures of a file, each with its time."""
    with av.open(str(path)) as file:
        return [
            (float(each.time or 0), np.asarray(each.to_ndarray(format="rgb24"), np.uint8))
            for each in file.decode(video=0)
        ]


def test_a_recording_is_a_file_of_what_viewers_saw_with_the_slate_in_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(replace(OPTIONS, recordings=tmp_path)) as room:
            client, session = await on_air(room)
            events = await room.client.ws_connect(f"{session}/events")

            assert (await room.client.post(f"{session}/record", json={"on": True})).status == 202
            name = await _told(events, lambda status: status["recording"])
            seen = client.seen
            await until(lambda: client.seen > seen + 10)
            await room.client.patch(f"{session}/settings", json={"privacy": True})
            await until(lambda: shows(client, middle=GREEN, around=GREEN))
            await room.client.patch(f"{session}/settings", json={"privacy": False, "background": "#ff0000"})
            await until(lambda: shows(client, middle=WHITE, around=RED))
            assert (await room.client.post(f"{session}/record", json={"on": False})).status == 202
            await _told(events, lambda status: status["recording"] is None)
            await events.close()
            await client.close()

            path = tmp_path / name
            await until(lambda: all(each.name != "recording" for each in threading.enumerate()))
            middles = [picture[60, 80] for _, picture in pictures(path)]
            assert any(is_near(middle, GREEN) for middle in middles), "the slate is missing"
            assert is_near(middles[0], WHITE)
            assert is_near(middles[-1], WHITE)
            assert [each.name for each in tmp_path.iterdir()] == [name]
            if sys.platform != "win32":
                assert stat.S_IMODE(path.stat().st_mode) == 0o600

    asyncio.run(scenario())


async def _told(events: Any, fact: Any) -> Any:
    """Returns what `fact` finds in the first status where it finds something."""
    async with asyncio.timeout(LONG):
        while True:
            status = (await events.receive_json()).get("status")
            if status is not None and (found := fact(status)):
                return found


def test_the_end_of_a_session_ends_its_recording(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(replace(OPTIONS, recordings=tmp_path)) as room:
            client, session = await on_air(room)
            await room.client.post(f"{session}/record", json={"on": True})
            (broadcast,) = room.studio.broadcasts
            await until(lambda: broadcast.recording)
            seen = client.seen
            await until(lambda: client.seen > seen + 5)

            await room.client.delete(session)

            (path,) = tmp_path.iterdir()
            assert len(pictures(path)) > 3
            await client.close()

    asyncio.run(scenario())


def test_without_a_folder_the_server_refuses_in_a_plain_sentence() -> None:
    async def scenario() -> None:
        async with serving() as room:
            client, session = await on_air(room)

            response = await room.client.post(f"{session}/record", json={"on": True})

            assert response.status == 409
            assert "--recordings FOLDER" in (await response.json())["error"]
            await client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("body", [{}, {"on": 1}, {"on": True, "path": "/etc/passwd"}, {"name": "../x"}])
def test_no_client_says_where_it_is_written(body: dict[str, object], tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(replace(OPTIONS, recordings=tmp_path)) as room:
            client, session = await on_air(room)

            assert (await room.client.post(f"{session}/record", json=body)).status == 400

            assert list(tmp_path.iterdir()) == []
            await client.close()

    asyncio.run(scenario())


def test_pictures_keep_the_times_of_their_capture(tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    written = Recording(path, SIZE)

    for number in (0, 1, 5):
        written.write(frame(number))
    written.close()
    written.join(LONG)

    assert [round(at, 2) for at, _ in pictures(path)] == [0.0, 0.1, 0.5]


def test_what_is_written_is_what_the_lease_held_then(tmp_path: Path) -> None:
    path, leased = tmp_path / "x.mkv", frame(0, level=200)
    written = Recording(path, SIZE)

    written.write(leased)
    leased.pixels[:] = 0
    written.close()
    written.join(LONG)

    ((_, picture),) = pictures(path)
    assert abs(int(picture[60, 80, 0]) - 200) <= 3


class StuckSink:
    """A disk that takes its first picture when `free` is set."""

    free = Event()

    def __init__(self, path: Path, **more: Any) -> None:
        self.entered = 0

    def __enter__(self) -> StuckSink:
        return self

    def __exit__(self, *error: object) -> None: ...

    def write(self, frame: Frame) -> None:
        assert self.free.wait(LONG)


def test_a_disk_that_stands_still_costs_pictures_of_the_file_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "VideoSink", StuckSink)
    (tmp_path / "x.mkv").touch()
    written = Recording(tmp_path / "x.mkv", SIZE)

    for number in range(3 * WAITING):
        written.write(frame(number))

    assert written.dropped >= 3 * WAITING - WAITING - 1
    StuckSink.free.set()
    written.close()
    written.join(LONG)


class FullDisk(StuckSink):
    def __init__(self, path: Path, **more: Any) -> None:
        self._path = path

    def write(self, frame: Frame) -> None:
        raise SinkError(f"cannot write {self._path}: No space left on device")


def test_a_full_disk_ends_the_recording_and_not_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "VideoSink", FullDisk)
    stream, control = MemorySink(), Control()
    outputs = Outputs([stream])
    recorder = Recorder(outputs, tmp_path, control)
    control.record(True)
    recorder.obey(SIZE)
    outputs.write(frame(0))
    assert recorder._recording is not None
    recorder._recording.join(LONG)

    outputs.write(frame(1))
    recorder.obey(SIZE)
    outputs.write(frame(2))

    assert len(stream.frames) == 3
    assert recorder.name is None
    assert not control.recording  # so that it can be asked for again
    (warning,) = outputs.warnings
    assert "No space left" in warning
    assert str(tmp_path) not in warning
    assert list(tmp_path.iterdir()) == []


def test_two_recordings_of_one_second_are_two_files(tmp_path: Path) -> None:
    control = Control()
    recorder = Recorder(Outputs([MemorySink()]), tmp_path, control)

    for on in (True, False, True, False):
        control.record(on)
        recorder.obey(SIZE)
        if on:
            recorder._outputs.write(frame(0))
        else:
            recorder.join()

    recorder.join()
    assert len({path.name for path in tmp_path.iterdir()}) == 2


def test_a_recording_that_got_no_picture_leaves_no_file(tmp_path: Path) -> None:
    control = Control()
    recorder = Recorder(Outputs(), tmp_path, control)
    control.record(True)
    recorder.obey(SIZE)

    recorder.join()

    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_made_and_probed_at_the_start(tmp_path: Path) -> None:
    made = recordings_folder(tmp_path / "a" / "b")

    assert made.is_dir()
    assert list(made.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="choose another one"):
        recordings_folder(tmp_path / "file")


def test_a_folder_that_has_gone_is_told_and_nothing_ends(tmp_path: Path) -> None:
    control, outputs = Control(), Outputs([MemorySink()])
    recorder = Recorder(outputs, tmp_path / "gone", control)
    control.record(True)

    recorder.obey(SIZE)

    assert not control.recording
    assert "cannot begin a recording" in outputs.warnings[0]
