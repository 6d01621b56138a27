"""What the table of GPU figures compares: every way to run lite and MatAnyone on the GPU that is here.

MatAnyone's weights are random, and calibrated so that every layer's numbers are of a sound size: as fast as the
released ones, and good enough to tell one precision from another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines.__main__ import graph_of
from engines.recipes import Recipe
from rtmatte import models
from rtmatte.backends.eager_cuda import resident
from rtmatte.backends.trt import open_trt
from rtmatte.contract import Contract, read_contract
from rtmatte.engine import open_engine
from rtmatte.errors import PlanMissing, RtmatteError
from rtmatte.imaging import Size
from rtmatte.network.checkpoint import HALF, open_step
from rtmatte.plan.api import RUNTIMES, Runtime, check_installed
from rtmatte.step import Engine
from rtmatte.torch_device import TorchDevice, check_gpu
from tests.golden_weights import GOLDEN, golden_network

LITE_SIZE: Size = (512, 288)
LITE_CHECKPOINT = Path(__file__).parents[1] / "training/checkpoints/lite.pt"
SIZES: tuple[Size, ...] = ((512, 288), (1280, 720))
PLAIN = "torch float32, plain"  # the measure of the others
CAPTURED = "torch half, captured"
SPLIT = "torch half, head and tail"

Say = Callable[[str], None]
Make = Callable[[], Engine]


@dataclass(slots=True)
class Row:
    """One system at one size, open, and the seconds of its steps so far: one after the other, and at camera pace."""

    model: str
    size: Size
    system: str
    engine: Engine
    steps: list[NDArray[np.float64]] = field(default_factory=list)
    paced: list[NDArray[np.float64]] = field(default_factory=list)


def lite_systems(say: Say) -> Iterator[Row]:
    """Yields lite on every backend that runs it here, opened; what does not is said."""
    path = models.find("lite", LITE_SIZE)
    makes: dict[str, Make] = {runtime: partial(_on_plan, path, runtime) for runtime in RUNTIMES}
    makes["onnxruntime"] = partial(open_engine, path, backend="cuda")
    makes["torch float32, captured"] = lambda: _on_torch(lite_step())
    for system, make in makes.items():
        yield from tried("lite", LITE_SIZE, system, make, say)


def lite_step() -> tuple[nn.Module, Contract]:
    """Returns the checkpoint that the bundled graphs were made of, with as many slots of memory as they have."""
    width, height = LITE_SIZE
    slots = read_contract(models.find("lite", LITE_SIZE)).slots
    return open_step(LITE_CHECKPOINT, width=width, height=height, slots=slots)


def matanyone_systems(weights: Path, size: Size, folder: Path, say: Say) -> Iterator[Row]:
    """Yields MatAnyone on every backend that runs it here, opened; graphs are exported into `folder`."""
    makes = _torch_systems(weights, size)
    for runtime in RUNTIMES:
        makes[f"{runtime}, head and tail"] = partial(_exported, weights, size, folder, runtime)
    for system, make in makes.items():
        yield from tried("matanyone", size, system, make, say)


def _torch_systems(weights: Path, size: Size) -> dict[str, Make]:
    """Returns MatAnyone in PyTorch: plain in float32, captured in half precision, and that cut after the alpha."""

    def whole(**order: Any) -> Any:
        return open_step(weights, width=size[0], height=size[1], **order)

    def on(*orders: dict[str, Any], captures: bool = True) -> Engine:
        return _on_torch(*(whole(**order) for order in orders), captures=captures)

    return {
        PLAIN: partial(on, {"variant": "fast"}, captures=False),
        CAPTURED: partial(on, {"variant": HALF}),
        SPLIT: partial(on, {"variant": HALF, "part": "head"}, {"variant": HALF, "part": "tail"}),
    }


def _on_torch(*parts: tuple[nn.Module, Contract], captures: bool = True) -> Engine:
    check_gpu()
    device = TorchDevice()
    device.captures = captures
    return resident(parts, device, backend=f"torch on {device.name}")


def _exported(weights: Path, size: Size, folder: Path, runtime: Runtime) -> Engine:
    check_installed(runtime)
    recipe = Recipe("matanyone", size, variant=HALF, split=True)
    head = folder / f"{recipe.stem}-head.onnx"
    return _on_plan(head if head.exists() else graph_of(recipe, weights, folder), runtime)


def _on_plan(path: Path, runtime: Runtime) -> Engine:
    """Returns the engine of a graph, its plan built first where it is not there yet."""
    try:
        return open_trt(path, runtime)
    except PlanMissing as missing:
        missing.build()
        return open_trt(path, runtime)


def tried(model: str, size: Size, system: str, make: Make, say: Say) -> Iterator[Row]:
    """Yields the system, opened, or says why it is left out."""
    try:
        yield Row(model, size, system, make())
    except RtmatteError as error:
        say(f"left out: {model} {size[0]}x{size[1]} on {system}: {error}")


def calibrated_weights(folder: Path) -> Path:
    """Returns a MatAnyone checkpoint of random weights, calibrated, the same on every machine."""
    path = folder / "matanyone-random.pth"
    torch.save(golden_network(GOLDEN / "weights_seed0.json").state_dict(), path)
    return path
