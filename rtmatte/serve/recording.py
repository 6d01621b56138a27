"""A publisher's recording on the server's disk: what its viewers are sent, slates included, written on a thread of its
own, so that a slow disk costs pictures of the file and never of the stream."""

from __future__ import annotations

import os
import secrets
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Condition, Thread

from rtmatte.control import Control
from rtmatte.errors import InputError, SinkError
from rtmatte.frame import Frame
from rtmatte.imaging import Size
from rtmatte.outputs import Outputs
from rtmatte.sinks.video import VideoSink

SUFFIX = ".mkv"  # plays as far as it goes when the machine dies
FPS = 30.0  # that the file says; every picture has the time of its capture
WAITING = 12  # pictures between the stream and the disk, 33 MB in 720p; beyond them the file goes without
LONGEST_END = 1.5  # seconds that the end of a stream waits for the end of its file


def recordings_folder(folder: Path) -> Path:
    """Returns `folder`, made for this user alone if there is none; InputError where no file can be written."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".rtmatte-{secrets.token_hex(8)}"
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        probe.unlink()
    except OSError as reason:
        text = f"expected a folder for recordings, cannot write in {folder}: {reason.strerror}; choose another one"
        raise InputError(text) from reason
    return folder


class Recorder:
    """Gives `outputs` a new file in `folder` while `control` asks for one. It belongs to the thread that writes them.

    Without a folder nothing is recorded, whatever is asked.
    """

    def __init__(self, outputs: Outputs, folder: Path | None, control: Control) -> None:
        self._outputs, self._folder, self._control = outputs, folder, control
        self._recording: Recording | None = None

    @property
    def name(self) -> str | None:
        """Of the file that is being written; None while there is none."""
        recording = self._recording
        return None if recording is None else recording.path.name

    def obey(self, size: Size) -> None:
        """Begins a file for pictures of `size`, or ends the one there is, as is asked.

        One that failed, as on a full disk, ends the asking, and the outputs have a warning.
        """
        if self._recording is not None and self._recording not in self._outputs:
            self._control.record(False)
        if self._control.recording and self._recording is None:
            self._begin(size)
        elif self._recording is not None and not self._control.recording:
            self.close()

    def _begin(self, size: Size) -> None:
        if self._folder is None:
            return
        try:
            self._recording = Recording(_new_file(self._folder), size)
        except SinkError as reason:
            self._control.record(False)
            self._outputs.warnings += (str(reason),)
        else:
            self._outputs.add(self._recording)

    def close(self) -> None:
        """Ends the file, if there is one; its last pictures are written behind the caller's back."""
        recording, self._recording = self._recording, None
        if recording is not None:
            self._outputs.remove(recording)
            recording.close()

    def join(self) -> None:
        """Ends the file and waits for its end, for a while."""
        recording = self._recording
        self.close()
        if recording is not None:
            recording.join(LONGEST_END)


class Recording:
    """The file `path`, as a sink that never waits: a thread encodes what it is given."""

    def __init__(self, path: Path, size: Size) -> None:
        self.path = path
        self.dropped = 0  # pictures that came faster than they could be written
        self._size = size
        self._waiting: deque[Frame] = deque()
        self._changed = Condition()
        self._closed = False
        self._began: float | None = None
        self._fault: SinkError | None = None
        self._thread = Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def write(self, frame: Frame) -> None:
        """Leaves a copy of the picture to be written; SinkError once the file cannot be."""
        if self._fault is not None:
            raise self._fault
        if len(self._waiting) >= WAITING:
            self.dropped += 1
            return
        self._began = frame.captured_at if self._began is None else self._began
        kept = replace(frame, pixels=frame.pixels.copy(), pts=frame.captured_at - self._began)
        with self._changed:
            self._waiting.append(kept)
            self._changed.notify()

    def close(self) -> None:
        """Takes no more; what waits is still written."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self, wait: float) -> None:
        """Returns when the file is whole, or after `wait` seconds."""
        self._thread.join(wait)

    def _run(self) -> None:
        try:
            with VideoSink(self.path, size=self._size, fps=FPS) as sink:
                while (frame := self._next()) is not None:
                    sink.write(frame)
        except SinkError as reason:  # viewers of the page hear of it, who need not know the server's folders
            self._fault = SinkError(str(reason).replace(str(self.path), f"the recording {self.path.name}"))
        with suppress(OSError):
            if not self.path.stat().st_size:  # ended before its first picture
                self.path.unlink()

    def _next(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting.popleft() if self._waiting else None


def _new_file(folder: Path) -> Path:
    """Returns a file that was made just now, empty and for this user alone: no client says what it is called."""
    path = folder / time.strftime(f"rtmatte-%Y%m%d-%H%M%S-{secrets.token_hex(3)}{SUFFIX}")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o600))
    except OSError as reason:
        raise SinkError(f"cannot begin a recording: {reason.strerror}; see to the server's folder") from reason
    return path
