"""Where the pictures of a run come from and go to: opened, given to a live line, and closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from rtmatte.api import VIEWS, Api
from rtmatte.cli.console import say
from rtmatte.cli.control import ControlServer, read_token
from rtmatte.cli.keys import Keys
from rtmatte.cli.line import check_output
from rtmatte.cli.live import StatusLine, report_of_line
from rtmatte.cli.recording import Recorder
from rtmatte.clock import Clock
from rtmatte.control import Control
from rtmatte.errors import InputError, StopRequested
from rtmatte.live import LiveLine, View
from rtmatte.outputs import Outputs
from rtmatte.pipeline import Counts
from rtmatte.settings import SettingsFolder
from rtmatte.sinks.preview import PreviewSink
from rtmatte.sinks.virtualcam import PixelFormat, Viewers, VirtualCameraSink
from rtmatte.sources import Source
from rtmatte.sources.ondemand import OnDemandSource

BACKGROUNDS = ("blur", "blur:100", "green", "#202428")  # one key goes through them, after the one of the command line
HARMLESS: tuple[View, ...] = ("composite", "matte", "checkerboard")  # views that show nothing of the room


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


class Stage:
    """The source and the outputs of a run, opened, and closed by `stack`."""

    def __init__(
        self,
        choice: OutputChoice,
        control: Control,
        clock: Clock,
        stack: ExitStack,
        reopen: Callable[[], Source],
        *,
        inputs: Sequence[Path] = (),
    ) -> None:
        """Opens them; `inputs` are files that no recording may be written over."""
        self._choice, self._control, self._clock, self._stack = choice, control, clock, stack
        self.source: Source = stack.enter_context(reopen())
        size, fps = self.source.size, self.source.fps
        self._outputs = Outputs()
        self._recorder = stack.enter_context(closing(Recorder(self._outputs, size=size, fps=fps, inputs=inputs)))
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
            self._recorder.obey(self._control.recording)
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
        folder, views, token = SettingsFolder(), HARMLESS, None
        if self._choice.token is not None:
            views, token = VIEWS, read_token(self._choice.token)
        api = Api(line, self._control, uploads=folder.folder / "backgrounds", kept=folder, views=views)
        server = ControlServer(api, port=port, token=token)
        say(f"control: {server.url}openapi.json lists what there is")
        return server
