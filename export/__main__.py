"""Exports a checkpoint to ONNX with its contract, and checks the graph against PyTorch.

python -m export runs/lite/averaged.pt --size 512x288            writes lite-512x288.onnx here
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
from rtmatte.engine import self_test, sha256_of
from rtmatte.errors import ExitCode, RtmatteError
from rtmatte.imaging import parse_size
from rtmatte.network.checkpoint import open_step


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
    parser.add_argument("--check-frames", type=int, default=60, help="frames of the check; 0: none (default: 60)")
    parser.add_argument("--output", type=Path, help="the file to write (default: NAME-WxH.onnx)")
    given = parser.parse_args()
    try:
        return _export(given)
    except RtmatteError as error:
        print(f"export: {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT


def _export(given: argparse.Namespace) -> int:
    width, height = parse_size(given.size)
    step, contract = open_step(
        given.checkpoint, width=width, height=height, slots=given.slots, batch=given.batch, frame_dtype=given.frame
    )
    if not given.full_weights:
        round_to_half(step)
    reference = EagerEngine(step, contract)
    contract = replace(contract, self_test=self_test(reference), weights_sha256=sha256_of(given.checkpoint))
    path = given.output or Path(f"{contract.model}-{width}x{height}.onnx")
    export_step(step, contract, path, half_weights=not given.full_weights)
    print(f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB, {contract.state_bytes / 1e6:.1f} MB of state a row")
    if given.check_frames:
        drift = measure_drift(OrtEngine(path), reference, frames=given.check_frames)
        print(f"against PyTorch, {drift}")
        if not drift.within:
            print("export: the graph is not the network it came from; do not use it", file=sys.stderr)
            return ExitCode.BAD_INPUT
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
