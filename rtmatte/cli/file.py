"""`rtmatte file`: a recorded video or a folder of pictures in, what was asked for out. Every frame, in order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rtmatte.cli.console import err, say, warn
from rtmatte.cli.line import (
    DEFAULT_MODEL,
    BackgroundOption,
    Device,
    DeviceOption,
    ModelChoice,
    ModelOption,
    OverwriteOption,
    TrustOption,
    check_output,
    open_drawing,
    open_person,
    video_source,
)
from rtmatte.cli.people import Everybody, Portrait, own_outputs
from rtmatte.clock import Clock, MonotonicClock
from rtmatte.compose.backgrounds import parse_background
from rtmatte.compose.host import AlphaPicture, ComposeOptions, Compositor, Drawing, Foreground, open_compositor
from rtmatte.contract import SEED
from rtmatte.errors import ExitCode, InputError
from rtmatte.frame import Mask
from rtmatte.imaging import Size, dilate_then_erode, load_mask
from rtmatte.pipeline import Counts, run_ahead
from rtmatte.resampling import limited, shrink_nearest
from rtmatte.session import Session, SessionOptions, Status
from rtmatte.sinks import Sink, open_sink
from rtmatte.sources import Source, open_source
from rtmatte.sources.shrunk import ShrunkSource
from rtmatte.targets.mask import MaskTarget


class Write(StrEnum):
    """What the output shows."""

    COMPOSITE = "composite"
    ALPHA = "alpha"
    FOREGROUND = "foreground"


def file(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A video file, or a folder of pictures.")],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="A video file; a name without a suffix is a folder of PNG files.")
    ],
    write: Annotated[Write, typer.Option(help="The composite, the alpha, or the person cut out (RGBA).")] = (
        Write.COMPOSITE
    ),
    background: BackgroundOption = "blur",
    mask: Annotated[
        list[Path] | None,
        typer.Option(
            help="A picture of the first frame, white where the person is; repeat it for several people. Without it "
            "one is looked for."
        ),
    ] = None,
    per_target: Annotated[
        bool,
        typer.Option("--per-target", help="Write each person alone too, to OUTPUT-1, OUTPUT-2, ... in mask order."),
    ] = False,
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
    dilate: Annotated[int, typer.Option(min=0, help="Grow the first mask by an ellipse so many pixels across.")] = 0,
    erode: Annotated[int, typer.Option(min=0, help="Then shrink it likewise.")] = 0,
    warmup: Annotated[
        int | None, typer.Option(min=0, help="Passes over the first frame; by default what the model was made for.")
    ] = None,
    max_size: Annotated[
        int | None, typer.Option(min=1, help="Reduce pictures whose shorter side is longer than this, in pixels.")
    ] = None,
    internal_size: Annotated[
        int | None, typer.Option(min=1, help="Reduce them so for the network only, and bring the alpha back.")
    ] = None,
    fps: Annotated[float, typer.Option(min=1, max=1000, help="Frames a second of a folder of pictures.")] = 30.0,
    overwrite: OverwriteOption = False,
) -> ExitCode:
    """Cut people out of a video, or of a folder of pictures."""
    outputs = (output, *(own_outputs(output, len(mask or ())) if per_target else ()))
    if per_target and not mask:
        raise InputError("expected a --mask for each person of --per-target, found none; name them")
    for each in outputs:
        check_output(each, overwrite=overwrite)
    clock = MonotonicClock()
    with ExitStack() as stack:
        opened = stack.enter_context(open_source(source, clock, fps=fps))
        frames = opened if max_size is None else ShrunkSource(opened, max_size)
        options = SessionOptions(warmup=warmup, dilate=dilate, erode=erode, internal_size=internal_size)
        masks, options = _first_masks(mask or (), opened.size, frames.size, options)
        working = limited(frames.size, internal_size or -1)
        engine = stack.enter_context(closing(ModelChoice(model, device, trust).open(working)))
        drawing = open_drawing(engine, stack) if write is Write.COMPOSITE else None
        options = replace(options, lend=drawing is not None)
        if masks and engine.contract.takes(SEED):
            session = Session(engine, [MaskTarget(each) for each in masks], clock, options)
        elif per_target:
            raise InputError(f"{model} takes no masks, so it cannot tell people apart; leave --per-target out")
        else:
            session = Session(engine, open_person(engine, frames.size, stack), clock, options)
        everybody, *alone = (
            Portrait(
                _open_compositor(write, background, clock, drawing),
                stack.enter_context(_open_sink(each, source, frames, others=[Path(background), *(mask or ())])),
            )
            for each in outputs
        )
        compositor = Everybody(everybody.compositor, alone) if alone else everybody.compositor
        counts = _convert(frames, session, compositor, everybody.sink, output)
        if drawing is not None and drawing.fault:
            warn(drawing.fault)
    say(f"{output}: {counts.sent} frames, {engine.contract.model} on {engine.backend}")
    return _verdict(session.statuses, corrupt=getattr(opened, "corrupt", 0))


def _first_masks(
    paths: Sequence[Path], full: Size, size: Size, options: SessionOptions
) -> tuple[list[Mask], SessionOptions]:
    """Returns the masks as a session of frames of `size` is to get them, and with which options.

    Where pictures are reduced from `full`, masks of that size are grown and shrunk before it, as MatAnyone does it.
    """
    masks = [load_mask(path) for path in paths]
    if full == size or not masks or any(mask.size != full for mask in masks):
        return masks, options
    treated = [dilate_then_erode(mask, dilate=options.dilate, erode=options.erode) for mask in masks]
    return [Mask(shrink_nearest(mask.values, size)) for mask in treated], replace(options, dilate=0, erode=0)


def _open_sink(output: Path, source: str, frames: Source, *, others: Sequence[Path]) -> Sink:
    """Returns the sink of `output`, for frames like those of `source`, whose sound it copies; SinkError when it is that
    or one of the `others` that are read."""
    path = Path(source)
    sound = path if path.is_file() else None
    return open_sink(output, size=frames.size, fps=frames.fps, audio_from=sound, inputs=[path, *others])


def _open_compositor(write: Write, background: str, clock: Clock, drawing: Drawing | None) -> Compositor:
    options = ComposeOptions()
    match write:
        case Write.ALPHA:
            return AlphaPicture(options)
        case Write.FOREGROUND:
            return Foreground(options)
        case Write.COMPOSITE:
            spec = parse_background(background)
            return open_compositor(spec, options, clock, video_source=video_source(clock), drawing=drawing)


def _convert(source: Source, session: Session, compositor: Compositor, sink: Sink, output: Path) -> Counts:
    """Runs the line behind a progress bar; says what the output holds when the run ends early."""
    written = 0

    def count(counts: Counts) -> None:
        nonlocal written
        written = counts.sent
        bar.update(task, completed=written)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(source.name, total=source.frame_count)
        try:
            return run_ahead(source, session, compositor, sink, progress=count)
        except BaseException:
            if written:
                warn(f"{output} holds the first {written} frames only")
            raise
        finally:
            for sentence in session.status.warnings:
                warn(sentence)


def _verdict(statuses: Sequence[Status], *, corrupt: int) -> ExitCode:
    """Returns the exit code, and says what is wrong with an output that is whole."""
    failures = []
    for number, status in enumerate(statuses, 1):
        who = "nobody is" if len(statuses) == 1 else f"person {number} is not"
        if status.hidden == status.frames:
            failures.append(f"nobody was found in any frame, so {who} shown; say who with --mask")
        elif status.hidden:
            warn(f"{status.hidden} of {status.frames} frames have no trustworthy matte, so {who} shown in them")
        if status.faults:
            failures.append(f"the network failed {status.faults} times, the last time: {status.last_error}")
    if corrupt:
        failures.append(f"{corrupt} damaged pieces of the input were skipped")
    for failure in failures:
        warn(failure)
    return ExitCode.INCOMPLETE if failures else ExitCode.DONE
