"""`rtmatte run`: a camera in, a virtual camera out, until Ctrl-C."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from rtmatte.cli.kept import KeptSettings
from rtmatte.cli.line import (
    DEFAULT_MODEL,
    Device,
    DeviceOption,
    MaskOption,
    ModelChoice,
    ModelOption,
    OverwriteOption,
    TrustOption,
    open_drawing,
    open_person,
    video_source,
)
from rtmatte.cli.stage import OutputChoice, Stage
from rtmatte.clock import Clock, MonotonicClock
from rtmatte.control import Control, Pick, Point
from rtmatte.errors import ExitCode, InputError
from rtmatte.imaging import Size, load_image, load_mask, parse_size
from rtmatte.live import LiveLine
from rtmatte.live.drawing import live_background
from rtmatte.settings import SettingsFolder
from rtmatte.sinks.virtualcam import PixelFormat
from rtmatte.sources import Source, open_source
from rtmatte.sources.paced import PacedSource
from rtmatte.sources.synthetic import SyntheticSource
from rtmatte.step import Engine
from rtmatte.targets import Picker, Target
from rtmatte.targets.click import ClickPicker
from rtmatte.targets.mask import check_mask
from rtmatte.targets.plate import PlateTarget
from rtmatte.targets.sam2 import Sam2Picker

_picture = partial(typer.Option, rich_help_panel="The picture (kept from run to run when changed while running)")
_outputs = partial(typer.Option, rich_help_panel="Where it goes")


def run(
    camera: Annotated[
        str,
        typer.Option(help="A camera's number or device; a video file, or synthetic: a made scene, is played like one."),
    ] = "0",
    size: Annotated[str, typer.Option(help="Width x height to ask of the camera, in pixels.")] = "1280x720",
    fps: Annotated[float, typer.Option(min=1, max=240, help="Frames a second to ask of the camera.")] = 30.0,
    mask: MaskOption = None,
    pick: Annotated[
        str | None, typer.Option(metavar="X,Y", help="Cut out who is at this place: 0 to 1, from the top left.")
    ] = None,
    plate: Annotated[
        Path | None,
        typer.Option(help="A picture of the empty room: whoever is not in it is cut out, with what they brought."),
    ] = None,
    sam2: Annotated[
        Path | None, typer.Option(help="A folder with your own SAM 2 (encoder and decoder, ONNX), for clicks.")
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
    background: Annotated[
        str | None,
        _picture(help="blur (at first), blur:1 to blur:100, green, #rrggbb, transparent, or a picture or video file."),
    ] = None,
    edge_shift: Annotated[
        float | None, _picture(min=-4, max=4, help="Working pixels by which the edge shows more of the person.")
    ] = None,
    edge_softness: Annotated[
        float | None, _picture(min=0, max=8, help="Working pixels by which the edge is widened.")
    ] = None,
    despill: Annotated[
        float | None, _picture(min=0, max=1, help="How much of the room's colour is taken out of the edge.")
    ] = None,
    light_wrap: Annotated[
        float | None, _picture(min=0, max=1, help="How much of the background's light falls on the edge.")
    ] = None,
    steadiness: Annotated[float | None, _picture(min=0, max=1, help="How far the edge is steadied over time.")] = None,
    reseed_every: Annotated[
        float | None, _picture(min=0, help="Seconds between two fresh looks at the person; 0 is never.")
    ] = None,
    mirror: Annotated[
        bool | None, _picture("--mirror/--no-mirror", help="Mirror the preview, never the output.")
    ] = None,
    preset: Annotated[str | None, _picture(help="Begin with the settings kept under this name.")] = None,
    virtual_camera: Annotated[bool, _outputs(help="Show the result as a camera to other programs.")] = True,
    pixel_format: Annotated[
        PixelFormat | None, _outputs(help="Of the virtual camera, for a program that takes no other.")
    ] = None,
    on_demand: Annotated[
        float | None,
        _outputs(
            metavar="SECONDS",
            min=0,
            help="Open the camera only while a program shows the virtual one; release it so long after the last.",
        ),
    ] = None,
    preview: Annotated[
        bool, _outputs("--preview", help="Show the result in a window; h lists its keys, Escape ends.")
    ] = False,
    record: Annotated[Path | None, _outputs(help="Write the result to this video file, too.")] = None,
    overwrite: OverwriteOption = False,
    control: Annotated[
        int | None, _outputs(metavar="PORT", min=0, max=65535, help="Answer the control API at 127.0.0.1.")
    ] = None,
    control_token: Annotated[
        Path | None, _outputs(help="A file with the token that the control asks for; made if it is not there.")
    ] = None,
) -> ExitCode:
    """Put the person at the camera before another background, live."""
    outputs = OutputChoice(virtual_camera, pixel_format, on_demand, preview, record, control, control_token)
    outputs.check(overwrite=overwrite)
    given = {
        "background": background,
        "edge_shift": edge_shift,
        "edge_softness": edge_softness,
        "despill": despill,
        "light_wrap": light_wrap,
        "steadiness": steadiness,
        "reseed_every": reseed_every,
        "mirror": mirror,
    }
    kept = KeptSettings(SettingsFolder(), preset, given)
    live_background(kept.first.background)
    hand, clock = Control(kept.first), MonotonicClock()
    if pick is not None:
        hand.pick(Pick((parse_point(pick),)))
    with ExitStack() as stack:
        stack.callback(lambda: kept.keep(hand.settings))
        reopen = partial(_open_camera, camera, clock, size=parse_size(size), fps=fps)
        read = [Path(camera), Path(kept.first.background), *filter(None, (mask, plate))]
        stage = Stage(outputs, hand, clock, stack, reopen, inputs=read)
        chosen = ModelChoice(model, device, trust)
        engine = stack.enter_context(closing(chosen.open(stage.source.size)))
        smaller = chosen.open_smaller(stage.source.size)
        if smaller is not None:
            stack.callback(smaller.close)
        finder, picker = open_targets(engine, stage.source.size, stack, plate=plate, sam2=sam2)
        first = None if mask is None else check_mask(load_mask(mask))
        line = LiveLine(
            engine,
            hand,
            clock,
            size=stage.source.size,
            finder=finder,
            first_mask=first,
            picker=picker,
            smaller=smaller,
            video_source=video_source(clock),
            drawing=open_drawing(engine, stack),
        )
        stage.play(line)
    return ExitCode.DONE


def open_targets(
    engine: Engine, size: Size, stack: ExitStack, *, plate: Path | None, sam2: Path | None
) -> tuple[Target | None, Picker | None]:
    """Returns who finds somebody in frames of `size` for `engine`, and who knows what was pointed at.

    Both are None for a model without seeds, which follows nobody. `plate` is a picture of the empty room, `sam2` a
    folder with that model.
    """
    person = open_person(engine, size, stack)
    if person is None:
        return None, None
    empty = None if plate is None else PlateTarget(load_image(plate))
    picker = empty or ClickPicker(person)
    return empty or person, picker if sam2 is None else Sam2Picker(sam2)


def parse_point(text: str) -> Point:
    """Returns the point that a text like 0.5,0.4 names; InputError for any other."""
    x, _, y = text.partition(",")
    try:
        return Point(float(x), float(y))
    except ValueError as reason:
        raise InputError(f"expected a place like 0.5,0.4, both from 0 to 1, found {text!r}") from reason


def _open_camera(text: str, clock: Clock, *, size: Size, fps: float) -> Source:
    if text == "synthetic":  # as endless as a camera
        return PacedSource(SyntheticSource(clock, size=size, frames=None, fps=fps), clock)
    source = open_source(text, clock, size=size, fps=fps)
    return source if source.frame_count is None else PacedSource(source, clock)
