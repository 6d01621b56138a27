"""`rtmatte run`: a camera in, a virtual camera out, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from rtmatte.cli.console import say
from rtmatte.cli.line import (
    DEFAULT_MODEL,
    BackgroundOption,
    Device,
    DeviceOption,
    MaskOption,
    ModelChoice,
    ModelOption,
    OverwriteOption,
    TrustOption,
    check_output,
    open_target,
    video_source,
)
from rtmatte.cli.live import StatusLine
from rtmatte.clock import Clock, MonotonicClock
from rtmatte.compose.backgrounds import BackgroundSpec, parse_background
from rtmatte.compose.host import ComposeOptions, open_compositor
from rtmatte.errors import ExitCode, InputError, StopRequested
from rtmatte.frame import Frame
from rtmatte.imaging import Size, parse_size
from rtmatte.latency import Meter
from rtmatte.pipeline import run_live
from rtmatte.session import Session, SessionOptions
from rtmatte.sinks import Sink, open_sink
from rtmatte.sinks.preview import PreviewSink
from rtmatte.sinks.virtualcam import PixelFormat, Viewers, VirtualCameraSink
from rtmatte.sources import Source, open_source
from rtmatte.sources.ondemand import OnDemandSource
from rtmatte.sources.paced import PacedSource
from rtmatte.sources.synthetic import SyntheticSource
from rtmatte.targets.steady import SteadyGate


class Outputs:
    """Several sinks as one: each gets every frame, in order."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    def write(self, frame: Frame) -> None:
        for sink in self._sinks:
            sink.write(frame)


def run(
    camera: Annotated[
        str, typer.Option(help="A camera's number or device; a video file is played as if it were one.")
    ] = "0",
    background: BackgroundOption = "blur",
    mask: MaskOption = None,
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
    size: Annotated[str, typer.Option(help="Width x height to ask of the camera, in pixels.")] = "1280x720",
    fps: Annotated[float, typer.Option(min=1, max=240, help="Frames a second to ask of the camera.")] = 30.0,
    virtual_camera: Annotated[bool, typer.Option(help="Show the result as a camera to other programs.")] = True,
    pixel_format: Annotated[
        PixelFormat | None, typer.Option(help="Of the virtual camera, for a program that takes no other.")
    ] = None,
    on_demand: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="Open the camera only while a program shows the virtual one; release it so long after the last.",
        ),
    ] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show the result in a window; Escape ends.")] = False,
    record: Annotated[Path | None, typer.Option(help="Write the result to this video file, too.")] = None,
    overwrite: OverwriteOption = False,
) -> ExitCode:
    """Put the person at the camera before another background, live."""
    spec = _parse_live_background(background)
    if not (virtual_camera or preview or record):
        raise InputError("expected an output: leave --no-virtual-camera out, or add --preview or --record FILE")
    if on_demand is not None and not virtual_camera:
        raise InputError("expected a virtual camera that --on-demand can watch; leave --no-virtual-camera out")
    if record is not None:
        check_output(record, overwrite=overwrite)
    clock, meter = MonotonicClock(), Meter()
    with ExitStack() as stack:
        reopen = partial(_open_camera, camera, clock, size=parse_size(size), fps=fps)
        source = stack.enter_context(reopen())
        sinks: list[Sink] = []
        if virtual_camera:
            shown = stack.enter_context(VirtualCameraSink(size=source.size, fps=source.fps, pixel_format=pixel_format))
            say(f"choose the camera {shown.device} in your meeting")
            sinks.append(shown)
            if on_demand is not None:
                source = _on_demand(source, reopen, shown.device, clock, stack, release_after=on_demand)
        sinks += _open_sinks(source, stack, preview=preview, record=record)
        engine = stack.enter_context(closing(ModelChoice(model, device, trust).open(source.size)))
        target = open_target(mask, engine, source.size, stack)
        if mask is None and target is not None:
            target = SteadyGate(target, clock)
        session = Session(engine, target, clock, SessionOptions(passes_per_frame=1))
        compositor = open_compositor(spec, ComposeOptions(), clock, video_source=video_source(clock))
        status = stack.enter_context(closing(StatusLine(session, meter, backend=engine.backend)))
        try:
            run_live(source, session, compositor, Outputs(sinks), meter=meter, progress=status)
        except StopRequested as stop:
            say(str(stop))
    return ExitCode.DONE


def _parse_live_background(text: str) -> BackgroundSpec:
    spec = parse_background(text)
    if spec.kind == "none":
        raise InputError("expected a background that hides the room, found none; `rtmatte file` knows that one")
    return spec


def _open_camera(text: str, clock: Clock, *, size: Size, fps: float) -> Source:
    if text == "synthetic":  # as endless as a camera
        return PacedSource(SyntheticSource(clock, size=size, frames=None, fps=fps), clock)
    source = open_source(text, clock, size=size, fps=fps)
    return source if source.frame_count is None else PacedSource(source, clock)


def _on_demand(
    source: Source, reopen: Callable[[], Source], device: str, clock: Clock, stack: ExitStack, *, release_after: float
) -> Source:
    viewers = stack.enter_context(Viewers(device))
    return stack.enter_context(OnDemandSource(source, reopen, viewers.count, clock, release_after=release_after))


def _open_sinks(source: Source, stack: ExitStack, *, preview: bool, record: Path | None) -> list[Sink]:
    sinks: list[Sink] = []
    if preview:
        sinks.append(stack.enter_context(PreviewSink()))
    if record is not None:
        sinks.append(stack.enter_context(open_sink(record, size=source.size, fps=source.fps)))
    return sinks
