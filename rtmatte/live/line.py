"""A live line: a source's newest frames, cut out, drawn as the control says, and sent. Cameras, servers and the command
line all run this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from threading import Event

import numpy as np

from rtmatte.clock import Clock
from rtmatte.compose.backgrounds import VideoSource
from rtmatte.control import Control
from rtmatte.frame import Frame, Mask, Pixels
from rtmatte.imaging import Fit, Size
from rtmatte.ladder import Rung
from rtmatte.latency import END_TO_END, Meter
from rtmatte.live.cutting import LiveCutter
from rtmatte.live.drawing import Painter
from rtmatte.live.status import LiveStatus, View
from rtmatte.pipeline import Counts, Progress, Sink, run_live
from rtmatte.sources import SourceState
from rtmatte.step import Engine
from rtmatte.targets import Picker, Target
from rtmatte.targets.steady import SteadyGate

WINDOW = 10.0  # seconds of frames behind the percentiles of a status


class LiveLine:
    """One stream, from a source to a sink, under one control.

    Frames leave in `size`, whatever the source gives. `first_mask` says who is cut out of the first frame; otherwise,
    and whenever they are lost, `finder` looks for somebody, and is believed once two looks agree. `picker` knows what a
    user pointed at. The engine may be shared; `status`, `picture` and the control may be used from any thread.
    Raises InputError when the background of the settings cannot be opened.
    """

    def __init__(
        self,
        engine: Engine,
        control: Control,
        clock: Clock,
        *,
        size: Size,
        finder: Target | None = None,
        first_mask: Mask | None = None,
        picker: Picker | None = None,
        video_source: VideoSource | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.size = size
        self.control = control
        self.meter = meter or Meter()
        self._engine, self._clock = engine, clock
        steady = None if finder is None else SteadyGate(finder, clock)
        self._cutter = LiveCutter(
            engine, control, clock, first_mask=first_mask, finder=steady, looker=finder, picker=picker
        )
        self._painter = Painter(control, clock, video_source)
        self._counts = Counts()
        self._source: object = None
        self._sink: object = None

    def run(
        self, source: Iterable[Frame], sink: Sink, *, stop: Event | None = None, progress: Progress | None = None
    ) -> Counts:
        """Sends frames until the source ends or `stop` is set; returns the counts. See `pipeline.run_live`."""
        self._source, self._sink = source, sink

        def note(counts: Counts) -> None:
            self._counts = counts
            if progress is not None:
                progress(counts)

        fitted = _fitted(source, self.size)
        self._counts = run_live(fitted, self._cutter, self._painter, sink, meter=self.meter, stop=stop, progress=note)
        return self._counts

    @property
    def recording(self) -> bool:
        """Whether the control asks for a recording; whoever owns the sinks obeys."""
        return self._cutter.recording

    @property
    def status(self) -> LiveStatus:
        """The line as it is now."""
        now, session = self._clock.now(), self._cutter.session.status
        told: tuple[str, ...] = getattr(self._sink, "warnings", ())
        stages = self.meter.summary(since=now - WINDOW)
        warnings = (*session.warnings, *self._cutter.warnings, *self._painter.warnings, *told)
        return LiveStatus(
            phase=session.phase,
            counts=self._counts,
            fps=self.meter.fps(now),
            latency=stages.pop(END_TO_END, None),
            stages=stages,
            backend=self._engine.backend,
            rung=Rung.FULL,
            source=getattr(self._source, "state", SourceState.LIVE),
            message=getattr(self._source, "message", ""),
            faults=session.faults,
            drift=None,
            warnings=tuple(dict.fromkeys((*warnings, *filter(None, [session.last_error])))),
        )

    def picture(self, view: View = "composite") -> Pixels | None:
        """Returns a copy of the newest picture of a view: the composite as it leaves, the matte (H, W, 1), the
        cut-out on a checkerboard, or the original, which shows the room. Asking once a second or more keeps the copies coming; None at first."""
        return self._painter.picture(view)


def _fitted(source: Iterable[Frame], size: Size) -> Iterator[Frame]:
    """Yields the frames in `size`, with black around those of another shape; the first one of a new shape is blank,
    since nobody stands where they stood."""
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    box: tuple[int, int, int, int] | None = None
    for frame in source:
        before, fit = box, Fit.contain(frame.size, size)
        box = fit.box
        turned = before is not None and before != box
        if frame.size == size:
            yield replace(frame, blank=True) if turned else frame
        else:
            fit.forward(frame.pixels, canvas)
            yield replace(frame, pixels=canvas, blank=frame.blank or turned)
