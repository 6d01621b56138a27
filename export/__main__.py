"""Exports a checkpoint to ONNX with its contract, and checks the graph against PyTorch.

python -m export runs/lite/averaged.pt --size 512x288            writes averaged-512x288.onnx here
python -m export averaged.pt --size 1280x720 --slots 4 --batch 2 --output graphs/lite-720p.onnx
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from export.check import measure_drift
from export.to_onnx import export_step, round_to_half
from rtmatte.backends.eager import EagerEngine
from rtmatte.backends.ort import OrtEngine
from rtmatte.contract import DType
from rtmatte.engine import self_test, sha256_of
from rtmatte.errors import ExitCode, ModelError, RtmatteError
from rtmatte.imaging import Size, parse_size
from rtmatte.network.checkpoint import open_step

CHECK_FRAMES = 60


def export_checked(
    checkpoint: Path,
    path: Path,
    *,
    size: Size,
    slots: int | None = None,
    batch: int = 1,
    frame_dtype: DType = "uint8",
    half_weights: bool = True,
    check_frames: int = CHECK_FRAMES,
) -> None:
    """Writes the checkpoint's step for frames of `size` to `path`, says what it wrote, and checks it.

    Raises ModelError when the graph drifts from PyTorch; the file is left for inspection.
    """
    width, height = size
    step, contract = open_step(
        checkpoint, width=width, height=height, slots=slots, batch=batch, frame_dtype=frame_dtype
    )
    if half_weights:
        round_to_half(step)
    reference = EagerEngine(step, contract)
    contract = replace(contract, self_test=self_test(reference), weights_sha256=sha256_of(checkpoint))
    export_step(step, contract, path, half_weights=half_weights)
    print(
        f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB, {contract.state_bytes / batch / 1e6:.1f} MB of state a row"
    )
    if check_frames:
        drift = measure_drift(OrtEngine(path), reference, frames=check_frames)
        print(f"against PyTorch, {drift}")
        if not drift.within:
            raise ModelError(f"{path} is not the network it came from; do not use it")


def main() -> int:
    """Exports, checks, and returns the exit code: 0, or 2 for bad input or a graph that drifts."""
    parser = argparse.ArgumentParser(
        prog="python -m export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--size", required=True, metavar="WxH", help="true frame size, any")
    parser.add_argument("--slots", type=int, help="capacity of the memory bank (default: the network's own)")
    parser.add_argument("--batch", type=int, default=1, help="rows: streams or targets in one call (default: 1)")
    parser.add_argument("--frame", choices=("uint8", "float32"), default="uint8", help="dtype of the frame input")
    parser.add_argument("--full-weights", action="store_true", help="store weights as float32 instead of float16")
    parser.add_argument(
        "--check-frames", type=int, default=CHECK_FRAMES, help=f"frames of the check; 0: none (default: {CHECK_FRAMES})"
    )
    parser.add_argument("--output", type=Path, help="the file to write (default: CHECKPOINT-WxH.onnx)")
    given = parser.parse_args()
    try:
        size = parse_size(given.size)
        export_checked(
            given.checkpoint,
            given.output or Path(f"{given.checkpoint.stem}-{size[0]}x{size[1]}.onnx"),
            size=size,
            slots=given.slots,
            batch=given.batch,
            frame_dtype=given.frame,
            half_weights=not given.full_weights,
            check_frames=given.check_frames,
        )
    except RtmatteError as error:
        print(f"export: {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
