"""Times the whole line on a video, decoder to composite, with nothing behind it: frames a second and where time goes.

    python -m benchmarks.end_to_end VIDEO --background blur --json end_to_end.json

Every frame is drawn and forgotten, in order, as `rtmatte file` does it: the network one frame ahead of the drawing.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import report
from rtmatte.clock import MonotonicClock
from rtmatte.compose.backgrounds import parse_background
from rtmatte.compose.host import ComposeOptions, open_compositor
from rtmatte.engine import open_engine
from rtmatte.latency import Meter
from rtmatte.pipeline import run_ahead
from rtmatte.session import Session
from rtmatte.sinks.memory import MemorySink
from rtmatte.sources.file import FileSource
from rtmatte.targets.person import PersonTarget


def measure(video: Path, *, model: str, background: str, threads: int | None) -> dict[str, Any]:
    """Returns frames a second over the whole video, and p50, p95 and p99 in ms of every stage.

    The first frame, with its warm-up passes, is in the figures.
    """
    clock, meter = MonotonicClock(), Meter()
    with (
        FileSource(video, clock) as source,
        closing(open_engine(model, size=source.size, threads=threads)) as engine,
        MemorySink(keep=1) as sink,
    ):
        compositor = open_compositor(parse_background(background), ComposeOptions(), clock)
        session = Session(engine, PersonTarget(engine), clock)
        began = time.perf_counter()
        counts = run_ahead(source, session, compositor, sink, meter=meter)
        seconds = time.perf_counter() - began
        return {
            "video": video.name,
            "size": "x".join(map(str, source.size)),
            "model": engine.contract.model,
            "backend": engine.backend,
            "background": background,
            "frames": counts.sent,
            "hidden": session.status.hidden,
            "fps": round(counts.sent / seconds, 1),
            "stages_ms": {stage: report.rounded(asdict(figures)) for stage, figures in meter.summary().items()},
        }


def main(
    video: Annotated[Path, typer.Argument(help="The video to run.")],
    model: Annotated[str, typer.Option(help="Model name, or path of an ONNX with a contract.")] = "lite",
    background: Annotated[str, typer.Option(help="As for rtmatte file.")] = "blur",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the network (default: the backend's).")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """How fast the whole line is."""
    found = measure(video, model=model, background=background, threads=threads)
    table = Table(
        "ms a frame", "p50", "p95", "p99", title=f"{found['video']}, {found['size']}: {found['fps']} frames/s"
    )
    for stage, figures in found["stages_ms"].items():
        table.add_row(stage, *(f"{value:.2f}" for value in figures.values()))
    Console().print(table)
    if json is not None:
        report.write_json(json, "benchmarks.end_to_end", found)


if __name__ == "__main__":
    report.run(main)
