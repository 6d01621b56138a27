"""The straight line: source, session, compositor, sink. `run_ahead` sends every frame, the network one frame ahead of
the drawing; `run_live` is the same line for cameras: the newest frame wins, and what is dropped is counted.

Sources and sinks are opened and closed by the caller, also when a run ends by an error or an interrupt.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from threading import Event, Lock, Thread
from time import monotonic
from typing import Protocol

from rtmatte.clock import Clock
from rtmatte.compose.host import Compositor
from rtmatte.frame import Frame, Matte
from rtmatte.latency import Meter, Stage
from rtmatte.mailbox import Mailbox
from rtmatte.parcel import Parcel

NETWORK_BUSY = "network busy"  # a newer frame came before the network was free
OUTPUT_BUSY = "output busy"  # a newer matte came before drawing or sending was free
STOPPED = "stopped"  # under way when the run was stopped
FAILED = "failed"  # under way in a stage that raised an error
LEFT_BEHIND = "left behind"  # still in the network, or being sent, when the run ended without it

POLL = 0.05  # seconds after which a waiting stage looks whether the run was stopped
PATIENCE = 1.2  # seconds to wait for both threads at the end; with closing its source, a run stops within two seconds
PARCELS = 5  # being read, waiting, in the network, waiting, being drawn


class Cutter(Protocol):
    """What turns a frame into its own matte: a session, or whoever drives one."""

    clock: Clock

    def process(self, frame: Frame) -> Matte: ...


class Sink(Protocol):
    """All the line needs of a sink; opening and finishing it is the caller's."""

    def write(self, frame: Frame) -> None:
        """Takes the picture; its pixels are the maker's again when this returns."""
        ...


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the frames: `received` = `sent` + all `dropped` + `under_way`, which is 0 after a run."""

    received: int = 0
    sent: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def under_way(self) -> int:
        return self.received - self.sent - sum(self.dropped.values())


Progress = Callable[[Counts], None]
Admission = Callable[[Frame], str | None]  # returns the reason to leave a frame out, None to let it in


def run_ahead(
    source: Iterable[Frame],
    session: Cutter,
    compositor: Compositor,
    sink: Sink,
    *,
    meter: Meter | None = None,
    progress: Progress | None = None,
) -> Counts:
    """Sends every frame of `source`, in order; returns the counts.

    Each is drawn and sent on a second thread while the network has the next one: on two cores that is a fifth faster
    than in turn (720p, lite: 42 frames a second for 35). `progress` is called after every frame sent.
    An error of the sink or the compositor is raised one frame later; an error of the source, or an interrupt, once
    the frame that is being drawn is sent.
    """
    line = _Line(session, compositor, sink, meter or Meter(), progress)
    parcels = cycle((Parcel(), Parcel()))
    drawn: Future[None] | None = None
    with ThreadPoolExecutor(1, "drawing") as drawing:
        try:
            for frame in source:
                parcel = next(parcels)
                parcel.pack_frame(frame)
                line.receive(frame)
                parcel.pack_matte(line.cut_out(parcel.frame))
                line.await_delivery(drawn)
                drawn = drawing.submit(line.deliver, parcel.matte)
        finally:
            line.await_delivery(drawn)
    return line.counts()


def run_live(
    source: Iterable[Frame],
    session: Cutter,
    compositor: Compositor,
    sink: Sink,
    *,
    meter: Meter | None = None,
    progress: Progress | None = None,
    stop: Event | None = None,
    admit: Admission | None = None,
) -> Counts:
    """Sends the newest frames of `source`, each drawn with its own alpha, until it ends; returns the counts.

    Reading and the network have threads of their own; drawing, sending and `progress` run on the caller's, so that
    windows work and an interrupt arrives here. What `admit` does not let in is dropped for its reason.
    Setting `stop` ends the run within two seconds, even while the source blocks: its thread is then left behind and
    closing the source has to free it.
    An error of the source, SourceTruncated too, is raised once what came before it is sent; any other ends the run.
    """
    line = _Line(session, compositor, sink, meter or Meter(), progress)
    return _Live(line, source, stop or Event(), admit or _everything).run()


def _everything(frame: Frame) -> str | None:
    return None


class _Line:
    """The stations of a frame, their marks, and the counts; every method may be called by another thread."""

    def __init__(
        self, session: Cutter, compositor: Compositor, sink: Sink, meter: Meter, progress: Progress | None
    ) -> None:
        self._session, self._compositor, self._sink = session, compositor, sink
        self._meter, self._progress = meter, progress
        self._now = session.clock.now
        self._counting = Lock()
        self._received = self._sent = 0
        self._dropped: Counter[str] = Counter()
        self._closed = False

    def receive(self, frame: Frame) -> None:
        self._meter.mark(frame.seq, Stage.CAPTURED, frame.captured_at)
        self._meter.mark(frame.seq, Stage.RECEIVED, self._now())
        with self._counting:
            self._received += 1

    def cut_out(self, frame: Frame) -> Matte:
        began = self._now()
        matte = self._session.process(frame)
        self._meter.mark(frame.seq, Stage.NETWORK, self._now(), began=began)
        return matte

    def deliver(self, matte: Matte) -> None:
        began = self._now()
        picture = self._compositor.render(matte)
        self._meter.mark(matte.frame.seq, Stage.COMPOSITED, self._now(), began=began)
        self._sink.write(picture)
        self._meter.mark(matte.frame.seq, Stage.SENT, self._now())
        with self._counting:
            self._sent += 1

    def await_delivery(self, drawn: Future[None] | None) -> None:
        if drawn is not None:
            drawn.result()
            self.report()

    def report(self) -> None:
        if self._progress is not None:
            self._progress(self.counts())

    def drop(self, reason: str) -> None:
        with self._counting:
            self._drop(reason)

    def counts(self) -> Counts:
        with self._counting:
            return self._counts()

    def close(self) -> Counts:
        """Returns the last counts; what a thread left behind does later counts no more."""
        with self._counting:
            for _ in range(self._counts().under_way):
                self._drop(LEFT_BEHIND)
            self._closed = True
            return self._counts()

    def _drop(self, reason: str) -> None:
        if not self._closed:
            self._meter.drop(reason)
            self._dropped[reason] += 1

    def _counts(self) -> Counts:
        return Counts(self._received, self._sent, dict(self._dropped))


class _Live:
    """Three stages with a mailbox between each two. A parcel is with one of the five at a time, or spare."""

    def __init__(self, line: _Line, source: Iterable[Frame], stop: Event, admit: Admission) -> None:
        self._line = line
        self._admit = admit
        self._source = source
        self._asked_to_stop = stop
        self._ending = Event()
        self._frames: Mailbox[Parcel] = Mailbox()
        self._mattes: Mailbox[Parcel] = Mailbox()
        self._spare = deque(Parcel() for _ in range(PARCELS))
        self._error: Exception | None = None

    def run(self) -> Counts:
        threads = [Thread(target=stage, daemon=True) for stage in (self._read, self._cut_out)]
        for thread in threads:
            thread.start()
        try:
            self._deliver()
        finally:
            self._ending.set()
            for mailbox in (self._frames, self._mattes):
                mailbox.close()
            until = monotonic() + PATIENCE
            for thread in threads:
                thread.join(max(0.0, until - monotonic()))
            for mailbox in (self._frames, self._mattes):
                if (parcel := mailbox.take(0)) is not None:
                    self._drop(parcel, STOPPED)
            counts = self._line.close()
        if self._error is not None:
            raise self._error
        return counts

    def _read(self) -> None:
        try:
            for frame in self._source:
                if self._stopping():
                    break
                self._line.receive(frame)
                if (reason := self._admit(frame)) is not None:
                    self._line.drop(reason)
                    continue
                parcel = self._spare.popleft()
                parcel.pack_frame(frame)
                self._pass_on(parcel, self._frames, NETWORK_BUSY)
        except Exception as error:  # raised by `run` once the frames before it are sent
            self._error = self._error or error
        finally:
            self._frames.close()

    def _cut_out(self) -> None:
        for parcel in self._arrivals(self._frames):
            try:
                parcel.pack_matte(self._line.cut_out(parcel.frame))
            except Exception as error:  # raised by `run`
                self._error = self._error or error
                self._ending.set()
                self._drop(parcel, FAILED)
            else:
                self._pass_on(parcel, self._mattes, OUTPUT_BUSY)
        self._mattes.close()

    def _deliver(self) -> None:
        for parcel in self._arrivals(self._mattes):
            try:
                self._line.deliver(parcel.matte)
            except Exception:
                self._drop(parcel, FAILED)
                raise
            self._spare.append(parcel)
            self._line.report()

    def _arrivals(self, mailbox: Mailbox[Parcel]) -> Iterator[Parcel]:
        """Yields what arrives until nothing more can, or the run is to stop."""
        while not self._stopping():
            parcel = mailbox.take(POLL)
            if parcel is not None:
                yield parcel
            elif mailbox.finished:
                return

    def _pass_on(self, parcel: Parcel, mailbox: Mailbox[Parcel], reason: str) -> None:
        lost = mailbox.put(parcel)
        if lost is not None:
            self._drop(lost, STOPPED if lost is parcel else reason)

    def _drop(self, parcel: Parcel, reason: str) -> None:
        self._line.drop(reason)
        self._spare.append(parcel)

    def _stopping(self) -> bool:
        return self._ending.is_set() or self._asked_to_stop.is_set()
