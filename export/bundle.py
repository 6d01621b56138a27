"""Makes the models that ship with the package from one checkpoint: every size, checked, and the manifest.

python -m export.bundle runs/lite/averaged.pt
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from export.__main__ import Order, export_checked
from rtmatte import models
from rtmatte.errors import ExitCode, ModelError, RtmatteError
from rtmatte.modelfile import sha256_of
from rtmatte.models import BundledModel

SIZES = ((512, 288), (512, 384), (288, 512), (384, 216))  # 16:9, the default; 4:3; portrait; 16:9 for slow machines
LARGEST = 10_000_000  # bytes of all models in the wheel


def bundle(checkpoint: Path, folder: Path) -> None:
    """Writes the graphs and the manifest to `folder`.

    Raises ModelError when a graph drifts from the checkpoint or all of them are larger than the wheel may hold.
    """
    entries = []
    for width, height in SIZES:
        path = folder / f"lite-{width}x{height}.onnx"
        export_checked(Order(checkpoint, (width, height)), path)
        entries.append(BundledModel("lite", path.name, width, height, sha256_of(path), path.stat().st_size))
    total = sum(entry.bytes for entry in entries)
    if total > LARGEST:
        raise ModelError(f"expected at most {LARGEST} bytes of models, found {total}; make the network smaller")
    manifest = {"models": [asdict(entry) for entry in entries]}
    (folder / models.MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Bundles, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m export.bundle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--folder", type=Path, default=models.FOLDER, help="where to (default: rtmatte/models)")
    given = parser.parse_args()
    try:
        bundle(given.checkpoint, given.folder)
    except RtmatteError as error:
        print(f"export: {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
