"""Runs the live line for long and watches the process: does it grow, and do threads or descriptors pile up?

    python -m benchmarks.soak --minutes 30 --json soak.json
    python -m benchmarks.soak --minutes 30 --fast           # the same number of frames, as fast as they go

Growth is the slope of the resident memory after the warm-up, per hour of pictures at 30 a second.
"""

from __future__ import annotations

import gc
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from rich.console import Console

from benchmarks import report
from benchmarks.loop import CLIP, AtRate, BackToBack, Pictures, Stream, person_pictures
from rtmatte.clock import MonotonicClock
from rtmatte.control import Control
from rtmatte.engine import open_engine
from rtmatte.imaging import parse_size
from rtmatte.live import LiveLine
from rtmatte.pipeline import Counts
from rtmatte.settings import Settings
from rtmatte.step import Engine
from rtmatte.targets import Target
from rtmatte.targets.person import PersonTarget

FPS = 30.0
WARM_UP = 0.2  # of all frames: libraries fill their pools meanwhile
LOOKS = 120  # at the process, over the whole run


class Watch:
    """A `progress` that looks at this process now and then, while frames still come: then the threads end."""

    def __init__(self, stream: Stream, *, frames: int) -> None:
        self.looks: list[tuple[float, int, int, int]] = []  # hours of pictures, bytes, threads, descriptors
        self._stream, self._frames, self._every = stream, frames, max(1, frames // LOOKS)
        self._process = psutil.Process()

    def __call__(self, counts: Counts) -> None:
        self._stream.progress(counts)
        if len(self.looks) * self._every <= counts.received < self._frames:
            memory, threads = self._process.memory_info().rss, self._process.num_threads()
            descriptors = self._process.num_fds() if hasattr(self._process, "num_fds") else self._process.num_handles()
            self.looks.append((counts.received / FPS / 3600, memory, threads, descriptors))


def soak(
    pictures: Pictures, engine: Engine, finder: Target | None, *, frames: int, fast: bool, background: str = "blur"
) -> dict[str, Any]:
    """Returns the growth in MB an hour, the threads and descriptors after the warm-up, and the counts."""
    clock = MonotonicClock()
    stream = Stream(pictures, BackToBack() if fast else AtRate(FPS, clock), clock, frames=frames)
    line = LiveLine(engine, Control(Settings(background=background)), clock, size=pictures.size, finder=finder)
    watch = Watch(stream, frames=frames)
    gc.collect()
    counts = line.run(stream, stream, progress=watch)
    looks = np.array(watch.looks)
    looks = looks[int(len(looks) * WARM_UP) :]
    hours, memory, threads, descriptors = looks.T
    return {
        "frames": counts.received,
        "sent": counts.sent,
        "dropped": dict(counts.dropped),
        "growth_mb_per_hour": round(float(np.polyfit(hours, memory, 1)[0]) / 1e6, 2),
        "memory_mb": [round(float(value) / 1e6, 1) for value in (memory[0], memory[-1])],
        "threads": sorted({int(value) for value in threads}),
        "descriptors": sorted({int(value) for value in descriptors}),
        "faults": line.status.faults,
    }


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="Minutes of pictures, at 30 a second.")] = 30.0,
    fast: Annotated[bool, typer.Option("--fast", help="Give each frame when the one before was sent.")] = False,
    model: Annotated[str, typer.Option(help="Model name, or path of an ONNX with a contract.")] = "lite",
    size: Annotated[str, typer.Option(help="Width x height of the pictures.")] = "1280x720",
    background: Annotated[str, typer.Option(help="As for rtmatte run.")] = "blur",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the network (default: the backend's).")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """Whether the live line stays as it is for as long as it runs."""
    given = parse_size(size)
    with closing(open_engine(model, size=given, threads=threads)) as engine, closing(open_engine("lite")) as lite:
        pictures, frames = person_pictures(CLIP, given, lite), round(minutes * 60 * FPS)
        found = soak(pictures, engine, PersonTarget(lite), frames=frames, fast=fast, background=background)
    Console().print_json(data=found)
    if json is not None:
        report.write_json(json, "benchmarks.soak", {"model": model, "size": size, "background": background, **found})


if __name__ == "__main__":
    report.run(main)
