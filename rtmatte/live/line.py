"""A live line: a source's newest frames, cut out, drawn as the control says, and sent. Cameras, servers and the command
line all run this one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from threading import Event

import numpy as np

from rtmatte.clock import Clock
from rtmatte.compose.backgrounds import VideoSource
from rtmatte.compose.host import Drawing
from rtmatte.control import Control
from rtmatte.frame import Frame, Mask, Phase, Pixels
from rtmatte.imaging import Fit, Size
from rtmatte.ladder import Ladder, Rung
from rtmatte.latency import END_TO_END, Meter
from rtmatte.live.cutting import LiveCutter
from rtmatte.live.drawing import Painter
from rtmatte.live.status import LiveStatus, View
from rtmatte.pipeline import NETWORK_BUSY, OUTPUT_BUSY, Counts, Progress, Sink, run_live
from rtmatte.sources import SourceState
from rtmatte.step import Engine
from rtmatte.targets import Looker, Picker, Target
from rtmatte.targets.steady import SteadyGate

LEFT_OUT = "every second one"  # left out on half rate
WINDOW = 10.0  # seconds of frames behind the percentiles of a status


class LiveLine:
    """One stream, from a source to a sink, under one control.

    Frames leave in `size`, whatever the source gives. `first_mask` says who is cut out of the first frame; otherwise,
    and whenever they are lost, `finder` looks for somebody, and is believed once two looks agree; one that is a Looker
    also tells whether the cut-out has drifted from the person. `picker` knows what a user pointed at. `smaller` is an
    engine for fewer pixels that may run where `engine` is too slow, `drawing` what draws composites where the engine
    runs. Engines may be shared; `status`, `picture` and the control may be used from any thread.
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
        smaller: Engine | None = None,
        video_source: VideoSource | None = None,
        drawing: Drawing | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.size = size
        self.control = control
        self.meter = meter or Meter()
        self._clock = clock
        steady = None if finder is None else SteadyGate(finder, clock)
        self._cutter = LiveCutter(
            engine,
            control,
            clock,
            smaller=smaller,
            first_mask=first_mask,
            finder=steady,
            looker=finder if isinstance(finder, Looker) else None,
            picker=picker,
            lend=drawing is not None,
        )
        self._painter = Painter(control, clock, video_source, drawing)
        self._ladder = Ladder(_rungs(engine, smaller))
        self._warnings: tuple[str, ...] = ()
        self._left_out = False  # whether the frame before this one was, on half rate
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
            self._keep_up(counts)
            if progress is not None:
                progress(counts)

        self._counts = run_live(
            self._fitted(source),
            self._cutter,
            self._painter,
            sink,
            meter=self.meter,
            progress=note,
            stop=stop,
            admit=self._admit,
        )
        return self._counts

    def followed(self, size: Size) -> Mask | None:
        """Returns who is followed, as a first mask for another line of `size`, after a run; None when nobody is."""
        return self._cutter.followed(size)

    @property
    def status(self) -> LiveStatus:
        """The line as it is now."""
        now, session = self._clock.now(), self._cutter.session.status
        told: tuple[str, ...] = getattr(self._sink, "warnings", ())
        stages = self.meter.summary(since=now - WINDOW)
        warnings = (*session.warnings, *self._warnings, *self._cutter.warnings, *self._painter.warnings, *told)
        return LiveStatus(
            phase=session.phase,
            counts=self._counts,
            fps=self.meter.fps(now),
            latency=stages.pop(END_TO_END, None),
            stages=stages,
            backend=self._cutter.backend,
            rung=self._ladder.rung,
            source=getattr(self._source, "state", SourceState.LIVE),
            message=getattr(self._source, "message", ""),
            faults=self._cutter.faults,
            drift=self._cutter.drift,
            warnings=tuple(dict.fromkeys((*warnings, *filter(None, [session.last_error])))),
        )

    def picture(self, view: View = "composite") -> Pixels | None:
        """Returns a copy of the newest picture of a view: the composite as it leaves, the matte (H, W, 1), the cut-out
        on a checkerboard, or the original, which shows the room.

        Asking once a second or more keeps the copies coming; None at first.
        """
        return self._painter.picture(view)

    def _keep_up(self, counts: Counts) -> None:
        """Lets the ladder see how many frames were lost, while somebody is shown or the ladder lets nobody be."""
        stood = self._ladder.rung
        if self._cutter.session.status.phase is not Phase.TRACKING and stood is not Rung.BLUR_ALL:
            self._ladder.pause()
            return
        dropped = counts.dropped
        lost = dropped.get(NETWORK_BUSY, 0) + dropped.get(OUTPUT_BUSY, 0)
        came = counts.received - dropped.get(LEFT_OUT, 0)
        rung = self._ladder.observe(self._clock.now(), came=came, lost=lost)
        if rung is not stood:
            self._cutter.rung = rung
            if rung.gives_up(stood) and rung.warning not in self._warnings:
                self._warnings += (rung.warning,)

    def _admit(self, frame: Frame) -> str | None:
        self._left_out = self._ladder.rung.gives_up(Rung.HALF_RATE) and not self._left_out
        return LEFT_OUT if self._left_out else None

    def _fitted(self, source: Iterable[Frame]) -> Iterator[Frame]:
        """Yields the frames in the line's size, with black around those of another shape.

        The cutter hears of blank ones, and of another shape, here: the frame that says so may be dropped on its way.
        """
        canvas = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        fit, given = Fit.contain(self.size, self.size), self.size
        first = True
        for frame in source:
            before = fit.box
            if frame.size != given:
                fit, given = Fit.contain(frame.size, self.size), frame.size
            if frame.blank or (fit.box != before and not first):
                self._cutter.interrupt()
            first = False
            if frame.size != self.size:
                fit.forward(frame.pixels, canvas)
                frame = replace(frame, pixels=canvas)
            yield frame


def _rungs(engine: Engine, smaller: Engine | None) -> list[Rung]:
    """Returns the rungs on which something changes with these engines."""
    possible = {Rung.SMALLER: smaller is not None, Rung.SPARSE: engine.contract.slots > 1}
    return [rung for rung in Rung if possible.get(rung, True)]
