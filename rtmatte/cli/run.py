"""`rtmatte run`: a camera in, a virtual camera out, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from rtmatte.api import Api
from rtmatte.cli.console import say
from rtmatte.cli.control import ControlServer, read_token
from rtmatte.cli.kept import KeptSettings
from rtmatte.cli.keys import Keys
from rtmatte.cli.line import (
    DEFAULT_MODEL,
    Device,
    DeviceOption,
    MaskOption,
    ModelChoice,
    ModelOption,
    OverwriteOption,
    TrustOption,
    check_output,
    open_person,
    video_source,
)
from rtmatte.cli.live import StatusLine, report_of_line
from rtmatte.cli.recording import Recorder
from rtmatte.clock import Clock, MonotonicClock
from rtmatte.control import Control, Pick, Point
from rtmatte.errors import ExitCode, InputError, StopRequested
from rtmatte.imaging import Size, load_image, load_mask, parse_size
from rtmatte.live import LiveLine, View
from rtmatte.live.drawing import live_background
from rtmatte.outputs import Outputs
from rtmatte.pipeline import Counts
from rtmatte.settings import SettingsFolder
from rtmatte.sinks.preview import PreviewSink
from rtmatte.sinks.virtualcam import PixelFormat, Viewers, VirtualCameraSink
from rtmatte.sources import Source, open_source
from rtmatte.sources.ondemand import OnDemandSource
from rtmatte.sources.paced import PacedSource
from rtmatte.sources.synthetic import SyntheticSource
from rtmatte.step import Engine
from rtmatte.targets import Picker, Target
from rtmatte.targets.click import ClickPicker
from rtmatte.targets.mask import check_mask
from rtmatte.targets.plate import PlateTarget
from rtmatte.targets.sam2 import Sam2Picker

BACKGROUNDS = ("blur", "blur:100", "green", "#202428")  # one key goes through them, after the one of the command line
HARMLESS: tuple[View, ...] = ("composite", "matte", "checkerboard")  # views that show nothing of the room

_picture = partial(typer.Option, rich_help_panel="The picture (kept from run to run when changed while running)")
_outputs = partial(typer.Option, rich_help_panel="Where it goes")


@dataclass(frozen=True, slots=True)
class OutputChoice:
    """Where pictures go, as the user said."""

    virtual_camera: bool
    pixel_format: PixelFormat | None
    on_demand: float | None
    preview: bool
    record: Path | None
    control: int | None
    token: Path | None

    def check(self, *, overwrite: bool) -> None:
        """Raises InputError for a choice that cannot be."""
        if not (self.virtual_camera or self.preview or self.record or self.control is not None):
            raise InputError("expected an output: leave --no-virtual-camera out, or add --preview or --record FILE")
        if self.on_demand is not None and not self.virtual_camera:
            raise InputError("expected a virtual camera that --on-demand can watch; leave --no-virtual-camera out")
        if self.token is not None and self.control is None:
            raise InputError("expected a control that --control-token can guard; add --control PORT")
        if self.record is not None:
            check_output(self.record, overwrite=overwrite)


def run(
    camera: Annotated[
        str, typer.Option(help="A camera's number or device; a video file is played as if it were one.")
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
        stage = _Stage(outputs, hand, clock, stack, reopen)
        engine = stack.enter_context(closing(ModelChoice(model, device, trust).open(stage.source.size)))
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
            video_source=video_source(clock),
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


class _Stage:
    """The source and the outputs of a run, opened, and closed by `stack`."""

    def __init__(
        self,
        choice: OutputChoice,
        control: Control,
        clock: Clock,
        stack: ExitStack,
        reopen: Callable[[], Source],
    ) -> None:
        self._choice, self._control, self._clock, self._stack = choice, control, clock, stack
        self.source: Source = stack.enter_context(reopen())
        size, fps = self.source.size, self.source.fps
        self._outputs = Outputs()
        self._recorder = stack.enter_context(closing(Recorder(self._outputs, size=size, fps=fps)))
        self._keys = Keys(control, [control.settings.background, *BACKGROUNDS], recording=lambda: self._recorder.on)
        self._window: PreviewSink | None = None
        if choice.virtual_camera:
            self._show_camera(VirtualCameraSink(size=size, fps=fps, pixel_format=choice.pixel_format), reopen)
        if choice.preview:
            self._window = stack.enter_context(PreviewSink(hand=self._keys))
            self._outputs.add(self._window)
        if choice.record is not None:
            self._recorder.begin(choice.record)
            control.record(True)

    def play(self, line: LiveLine) -> None:
        """Runs `line` to the end of the source, or until the user ends it."""
        if self._choice.control is not None:
            self._stack.enter_context(self._open_control(line, self._choice.control))
        status = self._stack.enter_context(closing(StatusLine(self._clock, report_of_line(line))))

        def progress(counts: Counts) -> None:
            status(counts)
            self._recorder.obey(line.recording)
            if self._window is not None:
                self._keys.tell(self._window)

        try:
            line.run(self.source, self._outputs, progress=progress)
        except StopRequested as stop:
            say(str(stop))

    def _show_camera(self, camera: VirtualCameraSink, reopen: Callable[[], Source]) -> None:
        self._outputs.add(self._stack.enter_context(camera))
        say(f"choose the camera {camera.device} in your meeting")
        if (rest := self._choice.on_demand) is not None:
            viewers = self._stack.enter_context(Viewers(camera.device))
            source = OnDemandSource(self.source, reopen, viewers.count, self._clock, release_after=rest)
            self.source = self._stack.enter_context(source)

    def _open_control(self, line: LiveLine, port: int) -> ControlServer:
        folder, token = SettingsFolder(), None
        views: dict[str, Any] = {"views": HARMLESS}
        if self._choice.token is not None:
            token, views = read_token(self._choice.token), {}
        api = Api(line, self._control, uploads=folder.folder / "backgrounds", kept=folder, **views)
        server = ControlServer(api, port=port, token=token)
        say(f"control: {server.url}openapi.json lists what there is")
        return server


def _open_camera(text: str, clock: Clock, *, size: Size, fps: float) -> Source:
    if text == "synthetic":  # as endless as a camera
        return PacedSource(SyntheticSource(clock, size=size, frames=None, fps=fps), clock)
    source = open_source(text, clock, size=size, fps=fps)
    return source if source.frame_count is None else PacedSource(source, clock)
