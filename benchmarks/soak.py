"""Runs the live line for long and watches the process: does it grow, and do threads or descriptors pile up?

    python -m benchmarks.soak --minutes 30 --json soak.json
    python -m benchmarks.soak --minutes 30 --fast                    # the same number of frames, as fast as they go
    python -m benchmarks.soak --minutes 30 --fast --model standing   # and with no network, in a fifth of the time

Growth is the slope of the resident memory after the warm-up, per hour of pictures at 30 a second. A run that is
interrupted (Ctrl-C, SIGTERM) tells what it has seen so far and says that it was cut.
"""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from numpy.typing import NDArray
from rich.console import Console

from benchmarks import report
from benchmarks.loop import CLIP, AtRate, BackToBack, Pictures, Stream, person_pictures
from rtmatte.backends.fake import fake_contract
from rtmatte.clock import MonotonicClock
from rtmatte.contract import Gates
from rtmatte.control import Control
from rtmatte.engine import open_engine
from rtmatte.errors import ExitCode
from rtmatte.imaging import Size, parse_size
from rtmatte.live import LiveLine
from rtmatte.pipeline import Counts
from rtmatte.settings import Settings
from rtmatte.step import Array, Engine, State
from rtmatte.targets import Target
from rtmatte.targets.person import PersonTarget

FPS = 30.0
WARM_UP = 0.2  # of all frames: libraries fill their pools meanwhile
ON_THEIR_WAY = 6  # frames in the line's hands at most: while the last of them are drawn, its threads end one by one
LOOKS = 120  # at the process, over the whole run
FEWEST = 12  # looks after the warm-up that a slope is drawn through
STANDING = "standing"  # a model by this name: no network, and a matte that stands
TOLD = 6  # one look in so many is told while it runs

Tell = Callable[[str], None]


class Standing:
    """An engine that costs nothing: its alpha is the mask of the last seed. The line around it is what is watched."""

    backend = "none"

    def __init__(self, size: Size) -> None:
        self.contract = fake_contract(*size)
        self._alphas = [np.zeros((1, 1, size[1], size[0]), np.float32) for _ in range(2)]
        self._steps = 0

    def new_state(self) -> State:
        return State(self, None)

    def step(self, frame: Array, mask: NDArray[np.float32] | None, gates: Gates, state: State) -> tuple[Array, State]:
        state.take(self)
        before, after = self._alphas[self._steps % 2], self._alphas[1 - self._steps % 2]
        np.copyto(after, before if mask is None else mask)
        self._steps += 1
        return after, State(self, None)

    def close(self) -> None:
        pass


class Watch:
    """A `progress` that looks at this process now and then, while frames still come: then the threads end."""

    def __init__(self, stream: Stream, *, frames: int, tell: Tell) -> None:
        self.looks: list[tuple[float, int, int, int]] = []  # hours of pictures, bytes, threads, descriptors
        self._stream, self._frames, self._every = stream, frames, max(1, frames // LOOKS)
        self._process = psutil.Process()
        self._tell, self._began = tell, time.perf_counter()

    def __call__(self, counts: Counts) -> None:
        self._stream.progress(counts)
        if len(self.looks) * self._every <= counts.received < self._frames - ON_THEIR_WAY:
            memory, threads = self._process.memory_info().rss, self._process.num_threads()
            descriptors = self._process.num_fds() if hasattr(self._process, "num_fds") else self._process.num_handles()
            self.looks.append((counts.received / FPS / 3600, memory, threads, descriptors))
            if len(self.looks) % TOLD == 0:
                pace = counts.received / (time.perf_counter() - self._began)
                self._tell(
                    f"{counts.received:,} of {self._frames:,} frames, {pace:.0f} a second: {memory / 1e6:.1f} MB, "
                    f"{threads} threads, {descriptors} descriptors"
                )


def soak(
    pictures: Pictures,
    engine: Engine,
    finder: Target | None,
    *,
    frames: int,
    fast: bool,
    background: str = "blur",
    stop: Event | None = None,
    tell: Tell = lambda line: None,
) -> dict[str, Any]:
    """Returns the growth in MB an hour, the threads and descriptors after the warm-up, and the counts.

    Setting `stop` cuts the run: what was seen until then is returned, the growth None when that is too little.
    """
    clock = MonotonicClock()
    stream = Stream(pictures, BackToBack() if fast else AtRate(FPS, clock), clock, frames=frames)
    line = LiveLine(engine, Control(Settings(background=background)), clock, size=pictures.size, finder=finder)
    watch = Watch(stream, frames=frames, tell=tell)
    gc.collect()
    counts = line.run(stream, stream, progress=watch, stop=stop)
    looks = np.array(watch.looks).reshape(-1, 4)[int(len(watch.looks) * WARM_UP) :]
    hours, memory, threads, descriptors = looks.T
    enough = len(looks) >= FEWEST
    return {
        "frames": counts.received,
        "of": frames,
        "cut": counts.received < frames,
        "sent": counts.sent,
        "dropped": dict(counts.dropped),
        "growth_mb_per_hour": round(float(np.polyfit(hours, memory, 1)[0]) / 1e6, 2) if enough else None,
        "memory_mb": [round(float(value) / 1e6, 1) for value in (*memory[:1], *memory[-1:])],
        "threads": sorted({int(value) for value in threads}),
        "descriptors": sorted({int(value) for value in descriptors}),
        "faults": line.status.faults,
    }


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="Minutes of pictures, at 30 a second.")] = 30.0,
    fast: Annotated[bool, typer.Option("--fast", help="Give each frame when the one before was sent.")] = False,
    model: Annotated[
        str, typer.Option(help="Model name, path of an ONNX with a contract, or standing: no network at all.")
    ] = "lite",
    size: Annotated[str, typer.Option(help="Width x height of the pictures.")] = "1280x720",
    background: Annotated[str, typer.Option(help="As for rtmatte run.")] = "blur",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the network (default: the backend's).")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """Whether the live line stays as it is for as long as it runs."""
    given, stop = parse_size(size), Event()
    with closing(open_engine("lite")) as lite, closing(_engine(model, given, threads, lite)) as engine:
        pictures, frames = person_pictures(CLIP, given, lite), round(minutes * 60 * FPS)
        with cut_by_signals(stop) as cut:
            found = soak(
                pictures,
                engine,
                PersonTarget(lite),
                frames=frames,
                fast=fast,
                background=background,
                stop=stop,
                tell=lambda line: typer.echo(line, err=True),
            )
    Console().print_json(data=found)
    if json is not None:
        report.write_json(json, "benchmarks.soak", {"model": model, "size": size, "background": background, **found})
    if cut:
        raise typer.Exit(ExitCode.TERMINATED if cut[0] is signal.SIGTERM else ExitCode.INTERRUPTED)


def _engine(model: str, size: Size, threads: int | None, lite: Engine) -> Engine:
    return Standing(lite.contract.size) if model == STANDING else open_engine(model, size=size, threads=threads)


@contextmanager
def cut_by_signals(stop: Event) -> Iterator[list[signal.Signals]]:
    """Sets `stop` at the first Ctrl-C or SIGTERM, which is then in the list it yields; a second one ends at once."""
    came: list[signal.Signals] = []

    def cut(number: int, _: object) -> None:
        came.append(signal.Signals(number))
        stop.set()
        signal.signal(number, before[came[-1]])

    before = {number: signal.signal(number, cut) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    report.run(main)
