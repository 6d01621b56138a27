"""Several sinks as one, which may come and go while the picture runs; a disk that is full ends the recording, not the
call."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from rtmatte.errors import SinkError
from rtmatte.frame import Frame


class Output(Protocol):
    """The part of a sink that is used here."""

    def write(self, frame: Frame) -> None: ...

    def close(self) -> None: ...


class Outputs:
    """Gives every sink each frame, in order. Used by one thread; `warnings` may be read by others.

    One that fails is closed and left out, with a warning; the error of the last one is raised. Sinks are closed by
    whoever opened them, which does no harm to one that was closed here.
    """

    def __init__(self, sinks: Iterable[Output] = ()) -> None:
        self.warnings: tuple[str, ...] = ()
        self._sinks = tuple(sinks)

    def __contains__(self, sink: Output) -> bool:
        """Whether `sink` still gets frames."""
        return sink in self._sinks

    def add(self, sink: Output) -> None:
        """Gives `sink` every frame from the next one on."""
        self._sinks += (sink,)

    def remove(self, sink: Output) -> None:
        """Gives `sink` no more frames; one that was left out already is no error."""
        self._sinks = tuple(each for each in self._sinks if each is not sink)

    def write(self, frame: Frame) -> None:
        """Gives the frame to each sink; SinkError when the last of them fails."""
        for sink in self._sinks:
            try:
                sink.write(frame)
            except SinkError as error:
                self._leave_out(sink, error)

    def _leave_out(self, sink: Output, error: SinkError) -> None:
        self.remove(sink)
        with suppress(SinkError):  # it says what was said already
            sink.close()
        if not self._sinks:
            raise error
        self.warnings += (f"{error}; the other outputs go on",)
