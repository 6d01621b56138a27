"""`rtmatte demo`: the bundled clip through the live line at camera pace, so that the latencies are a camera's."""

from __future__ import annotations

from contextlib import ExitStack, closing
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer

from rtmatte.cli.console import out, say
from rtmatte.cli.line import (
    DEFAULT_MODEL,
    BackgroundOption,
    Device,
    DeviceOption,
    ModelChoice,
    ModelOption,
    open_person,
    video_source,
)
from rtmatte.cli.live import StatusLine, latency_table, report_of_session
from rtmatte.clock import MonotonicClock
from rtmatte.compose.backgrounds import open_background, parse_background
from rtmatte.compose.host import ComposeOptions, Composite, SideBySide
from rtmatte.errors import ExitCode
from rtmatte.latency import Meter
from rtmatte.pipeline import run_live
from rtmatte.session import Session, SessionOptions
from rtmatte.sinks import open_sink
from rtmatte.sources.file import FileSource
from rtmatte.sources.paced import PacedSource

CLIP = "walk.mkv"


def demo(
    output: Annotated[Path, typer.Option(help="The video to write; one that exists is replaced.")] = Path("demo.mp4"),
    background: BackgroundOption = "blur",
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = Device.AUTO,
) -> ExitCode:
    """Cut out the bundled clip as if it came from a camera: input, alpha and composite side by side."""
    clock, meter = MonotonicClock(), Meter()
    with ExitStack() as stack:
        clip = stack.enter_context(as_file(files("rtmatte.assets") / CLIP))
        source = stack.enter_context(PacedSource(FileSource(clip, clock), clock))
        engine = stack.enter_context(closing(ModelChoice(model, device).open(source.size)))
        target = open_person(engine, source.size, stack)
        session = Session(engine, target, clock, SessionOptions(passes_per_frame=1))
        composite = Composite(
            open_background(parse_background(background), video_source(clock)), ComposeOptions(), clock
        )
        width, height = source.size
        sink = stack.enter_context(open_sink(output, size=(3 * width, height), fps=source.fps))
        report = report_of_session(session, meter, backend=engine.backend)
        status = stack.enter_context(closing(StatusLine(clock, report)))
        counts = run_live(source, session, SideBySide(composite, ComposeOptions()), sink, meter=meter, progress=status)
    out.print(latency_table(meter.summary(), title=f"{engine.contract.model} on {engine.backend}, at camera pace"))
    say(f"{output}: {counts.sent} of {counts.received} frames, side by side: input, alpha, composite")
    return ExitCode.DONE
