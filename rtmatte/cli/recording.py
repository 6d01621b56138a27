"""A recording that begins and ends while the picture runs: a sink that comes and goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from rtmatte.cli.console import say, warn
from rtmatte.errors import SinkError
from rtmatte.imaging import Size
from rtmatte.outputs import Outputs
from rtmatte.sinks import Sink, open_sink

SUFFIX = ".mkv"  # plays as far as it goes when the machine dies


class Recorder:
    """Gives `outputs` a video file while it is told to, never one of `inputs`. It belongs to the thread that writes
    them."""

    def __init__(self, outputs: Outputs, *, size: Size, fps: float, inputs: Sequence[Path] = ()) -> None:
        self._outputs, self._inputs = outputs, inputs
        self._size, self._fps = size, fps
        self._sink: Sink | None = None
        self._asked = False

    @property
    def on(self) -> bool:
        """Whether a file is being written; not after a full disk."""
        return self._sink is not None and self._sink in self._outputs

    def begin(self, path: Path) -> None:
        """Begins with `path`; SinkError when that cannot be written."""
        self._sink = open_sink(path, size=self._size, fps=self._fps, inputs=self._inputs)
        self._outputs.add(self._sink)

    def obey(self, asked: bool) -> None:
        """Begins a file named by the time, or ends the one there is, where what is `asked` has changed."""
        if asked == self._asked:
            return
        self._asked = asked
        try:
            if not asked:
                self.close()
            elif not self.on:
                path = _unused(time.strftime("rtmatte-%Y%m%d-%H%M%S"))
                self.begin(path)
                say(f"recording to {path.absolute()}")
        except SinkError as error:
            warn(str(error))

    def close(self) -> None:
        """Finishes the file, if there is one."""
        sink, self._sink = self._sink, None
        if sink is not None:
            self._outputs.remove(sink)
            sink.close()


def _unused(name: str) -> Path:
    """Returns a path for a recording of that name, numbered where another began in the same second."""
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(path for each in names if not (path := Path(f"{each}{SUFFIX}")).exists())
