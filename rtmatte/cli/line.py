"""The parts of the line as a command line asks for them: an engine, a target, a compositor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rtmatte import models
from rtmatte.cli.console import warn
from rtmatte.clock import Clock
from rtmatte.compose.backgrounds import VideoSource
from rtmatte.compose.host import Drawing
from rtmatte.contract import SEED
from rtmatte.engine import open_engine
from rtmatte.errors import BackendMissing, SinkError
from rtmatte.frame import Frame
from rtmatte.imaging import Size
from rtmatte.sources.file import FileSource
from rtmatte.step import Engine, Lender
from rtmatte.targets.person import PersonTarget

DEFAULT_MODEL = "lite"


class Device(StrEnum):
    """What a model may run on; `auto` takes the best that works."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    OPENVINO = "openvino"
    ORT_RTX = "ort-rtx"
    OPENVINO_BF16 = "openvino-bf16"
    RTX = "rtx"
    TENSORRT = "tensorrt"


BackgroundOption = Annotated[
    str,
    typer.Option(
        help="blur, blur:1 to blur:100, green, #rrggbb, transparent, side-by-side, or a picture or video file."
    ),
]
MaskOption = Annotated[
    Path | None,
    typer.Option(help="A picture of the first frame, white where the person is; without it they are looked for."),
]
ModelOption = Annotated[str, typer.Option(help="A bundled model's name, an ONNX file or a checkpoint.")]
DeviceOption = Annotated[
    Device,
    typer.Option(help="What the model runs on; openvino-bf16 is a CPU with bfloat16, faster and off by thousandths."),
]
TrustOption = Annotated[bool, typer.Option("--trust", help="Open a model file although its hash is wrong.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model as the user named it, what it may run on, and whether a wrong hash is accepted."""

    name: str = DEFAULT_MODEL
    device: Device = Device.AUTO
    trust: bool = False

    def open(self, size: Size) -> Engine:
        """Returns the engine for frames of `size`; what the user should know about it is said."""
        return open_engine(self.name, backend=self.device.value, size=size, trust=self.trust, note=warn)

    def open_smaller(self, size: Size) -> Engine | None:
        """Returns an engine of a bundled model for fewer pixels, for when the machine cannot keep up; None: none."""
        if Path(self.name).exists() or (path := models.find_smaller(self.name, size)) is None:
            return None
        return open_engine(path, backend=self.device.value, note=warn)


def open_person(engine: Engine, size: Size, stack: ExitStack) -> PersonTarget | None:
    """Returns what finds the person in the middle of frames of `size` for `engine`.

    Only lite finds people by itself; for another model `stack` gets a lite engine. None for a model without seeds.
    """
    if not engine.contract.takes(SEED):
        return None
    if engine.contract.model == DEFAULT_MODEL:
        return PersonTarget(engine)
    return PersonTarget(stack.enter_context(closing(ModelChoice(DEFAULT_MODEL).open(size))))


def open_drawing(engine: Engine, stack: ExitStack) -> Drawing | None:
    """Returns what draws composites on the GPU that `engine` runs on, closed with `stack`; None where there is none, or
    no PyTorch that can use it."""
    if not isinstance(engine, Lender):
        return None
    try:
        from rtmatte.torch_device import TorchDevice, check_gpu

        check_gpu()
    except BackendMissing:
        return None
    from rtmatte.compose.device import DeviceDrawing

    return stack.enter_context(closing(DeviceDrawing(TorchDevice())))


def video_source(clock: Clock) -> VideoSource:
    """Returns the way in which a background opens a video."""

    def frames(path: Path) -> Iterator[Frame]:
        with FileSource(path, clock) as source:
            yield from source

    return frames


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raises SinkError when `path` is a file, or a folder with something in it, that is not to be replaced."""
    held = any(path.iterdir()) if path.is_dir() else path.exists()
    if held and not overwrite:
        raise SinkError(f"expected a new output, {path} exists; choose another name or say --overwrite")
