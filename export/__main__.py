"""Exports a checkpoint to ONNX with its contract, and checks the graph against PyTorch.

python -m export runs/lite/averaged.pt --size 512x288            writes averaged-512x288.onnx here
python -m export matanyone.pth --size 1280x720                   writes matanyone-1280x720-fast.onnx
python -m export matanyone.pth --size 512x288 --variant parity --part head
python -m export matanyone.pth --size 512x288 --int8 me.mp4      writes matanyone-512x288-fast-int8.onnx as well
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

from torch import nn

from export.check import ONE_STEP_IN_HALF, SAME, Startable, measure_drift, measure_steps
from export.choice import ONE_STEP_IN_INT8, quantise_checked, tolerance_of
from export.split import SplitEngine, in_onnxruntime, in_pytorch
from export.to_onnx import export_step, round_to_half
from rtmatte.backends.eager import EagerEngine
from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import Contract, DType, Role
from rtmatte.engine import self_test
from rtmatte.errors import ExitCode, ModelError, RtmatteError
from rtmatte.imaging import Size, parse_size
from rtmatte.network.checkpoint import HALF, Variant, open_step
from rtmatte.network.matanyone.folding import folded
from rtmatte.network.matanyone.lowering import lowered

CHECK_FRAMES = {"lite": 60, "matanyone": 8}  # about half a minute each at 512x288 on two cores


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be exported of a checkpoint; None is the network's own, as in `open_step`."""

    checkpoint: Path
    size: Size
    slots: int | None = None
    batch: int = 1
    frame_dtype: DType | None = None
    variant: Variant | None = None
    part: Role = "step"

    def open(self) -> tuple[nn.Module, Contract]:
        """Returns what `open_step` does."""
        width, height = self.size
        return open_step(
            self.checkpoint,
            width=width,
            height=height,
            slots=self.slots,
            batch=self.batch,
            frame_dtype=self.frame_dtype,
            variant=self.variant,
            part=self.part,
        )

    @property
    def file_name(self) -> str:
        """The name of the file where nobody says another."""
        size = "x".join(map(str, self.size))
        cut = self.part if self.part != "step" else None
        return "-".join(part for part in (self.checkpoint.stem, size, self.variant, cut) if part) + ".onnx"


def export_checked(
    order: Order, path: Path | None = None, *, half_weights: bool = True, check_frames: int | None = None
) -> Path:
    """Returns where it wrote what was ordered, `path` or its own name; says what it wrote, and checks it.

    `half_weights` stores lite's float32 weights in float16, to which they are rounded first; MatAnyone's are stored as
    they are computed with. Raises ModelError when the graph drifts from PyTorch; the file is left for inspection.
    """
    module, contract = order.open()
    order = replace(order, variant=cast(Variant | None, contract.variant or None))
    print(f"licence: {contract.licence}")
    half_weights = half_weights and contract.model == "lite" and contract.variant != HALF
    if half_weights:
        round_to_half(module)
    whole = module, contract
    if contract.role != "step" or contract.variant == HALF:
        # A graph in half precision is judged by the float32 network that it stands for.
        whole = replace(order, part="step", variant=None if contract.variant == HALF else order.variant).open()
    reference = EagerEngine(*whole)
    if contract.role == "step":
        contract = replace(contract, self_test=self_test(reference))
    path = path or Path(order.file_name)
    export_step(simplified(module), contract, path, half_weights=half_weights)
    state = contract.state_bytes / contract.batch / 1e6
    print(f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB, {state:.1f} MB of state a row{_peak_memory()}")
    frames = CHECK_FRAMES[contract.model] if check_frames is None else check_frames
    if frames:
        _check(order, path, reference, frames=frames)
    return path


def simplified(module: nn.Module) -> nn.Module:
    """Returns a copy of a network as it is written: norms folded, and MatAnyone with less to compute (`lowering`)."""
    return lowered(folded(module))


def _check(order: Order, path: Path, reference: EagerEngine, *, frames: int) -> None:
    """Raises ModelError unless the graph in `path` is the network; a head or tail runs with its other half in PyTorch.

    Half precision is measured step by step: free-running it follows the network only as closely as the weights let it.
    """
    engine: Startable
    if order.part == "step":
        engine = OrtEngine(path)
    else:
        engine = _with_other_half(order, path)
    if order.variant == HALF:
        drift, tolerance = measure_steps(engine, reference, frames=frames), ONE_STEP_IN_HALF
        print(f"against PyTorch in float32, step by step, {drift}")
    else:
        drift, tolerance = measure_drift(engine, reference, frames=frames), SAME
        print(f"against PyTorch, {drift}")
    if not drift.within(tolerance):
        raise ModelError(f"{path} is not the network it came from; do not use it")


def _with_other_half(order: Order, path: Path) -> SplitEngine:
    head, head_contract = replace(order, part="head").open()
    tail, tail_contract = replace(order, part="tail").open()
    runs = [in_pytorch(head, head_contract), in_pytorch(tail, tail_contract)]
    cut = 0 if order.part == "head" else 1
    runs[cut] = in_onnxruntime(path, (head_contract, tail_contract)[cut])
    return SplitEngine(runs[0], runs[1], head_contract, tail_contract)


def _peak_memory() -> str:
    """Returns what this process took at most, as a part of a sentence; nothing where the system does not say."""
    text = ""
    if sys.platform != "win32":
        from resource import RUSAGE_SELF, getrusage

        unit = 1 if sys.platform == "darwin" else 1024
        text = f"; the export took {getrusage(RUSAGE_SELF).ru_maxrss * unit / 1e9:.1f} GB of memory"
    return text


def main() -> int:
    """Exports, checks, and returns the exit code: 0, or 2 for bad input or a graph that drifts."""
    parser = argparse.ArgumentParser(
        prog="python -m export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--size", required=True, metavar="WxH", help="true frame size, any")
    parser.add_argument(
        "--variant",
        choices=get_args(Variant),
        help="parity with the authors' results, fast (MatAnyone's default), or half precision for GPUs (lite's, too)",
    )
    parser.add_argument("--part", choices=get_args(Role), default="step", help="MatAnyone's: a head, or its tail")
    parser.add_argument("--slots", type=int, help="capacity of the memory bank (default: the network's own)")
    parser.add_argument("--batch", type=int, default=1, help="rows: streams or targets in one call (default: 1)")
    parser.add_argument("--frame", choices=("uint8", "float32"), help="dtype of the frame (default: the variant's)")
    parser.add_argument("--full-weights", action="store_true", help="store lite's weights as float32, not float16")
    parser.add_argument(
        "--check-frames", type=int, help=f"frames of the check; 0: none (default: {CHECK_FRAMES} by network)"
    )
    parser.add_argument("--output", type=Path, help="the file to write (default: CHECKPOINT-WxH[-VARIANT][-PART].onnx)")
    parser.add_argument(
        "--int8", metavar="CLIP", help="write an int8 graph too, calibrated on this video or folder of a person"
    )
    parser.add_argument(
        "--within",
        type=float,
        metavar="ERROR",
        default=ONE_STEP_IN_INT8.mean,
        help="mean error that a step of the int8 graph may have; the larger, the faster (default: %(default)g)",
    )
    given = parser.parse_args()
    try:
        size = parse_size(given.size)
        tolerance_of(given.within)  # a limit that makes no sense is refused before minutes go into the graph
        order = Order(given.checkpoint, size, given.slots, given.batch, given.frame, given.variant, given.part)
        path = export_checked(order, given.output, half_weights=not given.full_weights, check_frames=given.check_frames)
        if given.int8:
            quantise_checked(path, given.int8, within=given.within)
    except RtmatteError as error:
        print(f"export: {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
