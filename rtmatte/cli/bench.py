"""`rtmatte bench`: a quick look at what this machine can do. Figures to quote come from `benchmarks/`."""

from __future__ import annotations

import os
from contextlib import closing
from itertools import islice
from typing import Annotated

import typer
from rich.progress import track

from rtmatte.cli.console import err, out, say
from rtmatte.cli.line import (
    DEFAULT_MODEL,
    BackgroundOption,
    Device,
    DeviceOption,
    ModelChoice,
    ModelOption,
    video_source,
)
from rtmatte.cli.live import latency_table
from rtmatte.clock import MonotonicClock
from rtmatte.compose.backgrounds import parse_background
from rtmatte.compose.host import ComposeOptions, open_compositor
from rtmatte.errors import ExitCode
from rtmatte.frame import Mask
from rtmatte.imaging import parse_size
from rtmatte.latency import Meter
from rtmatte.pipeline import run_ahead
from rtmatte.session import Session, SessionOptions
from rtmatte.sinks.memory import MemorySink
from rtmatte.sources.synthetic import SyntheticSource
from rtmatte.targets.mask import MaskTarget

BURN_IN = 20  # frames: buffers are made, clocks and caches settle


def bench(
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = Device.AUTO,
    background: BackgroundOption = "blur",
    size: Annotated[str, typer.Option(help="Width x height of the frames, in pixels.")] = "1280x720",
    frames: Annotated[int, typer.Option(min=10, help="How many frames are measured, after a burn-in.")] = 200,
) -> ExitCode:
    """Measure network and compositor on this machine: a made scene, back to back, into memory."""
    clock, meter = MonotonicClock(), Meter()
    source = SyntheticSource(clock, size=parse_size(size), frames=BURN_IN + frames)
    with closing(ModelChoice(model, device).open(source.size)) as engine:
        # A disc is nobody the network would look for, and nobody it might not lose.
        target = MaskTarget(Mask(source.alpha_of(0)))
        session = Session(engine, target, clock, SessionOptions(lost_after=None))
        spec = parse_background(background)
        compositor = open_compositor(spec, ComposeOptions(), clock, video_source=video_source(clock))
        made = iter(track(source, "measuring", total=BURN_IN + frames, console=err, transient=True))
        run_ahead(islice(made, BURN_IN), session, compositor, MemorySink(1), meter=meter)
        began = clock.now()
        counts = run_ahead(made, session, compositor, MemorySink(1), meter=meter)
        took = clock.now() - began
        width, height = engine.contract.size
        title = (
            f"{engine.contract.model} {width}x{height} on {engine.backend}, {os.cpu_count()} cores, frames of {size}"
        )
    out.print(latency_table(meter.summary(since=began), title=title))
    say(f"{counts.sent / took:.1f} frames a second, the network one frame ahead of the drawing")
    return ExitCode.DONE
