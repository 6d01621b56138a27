"""Contact sheets of made clips: for each the given mask and the frames, below them alpha and the frames overlaid.

python -m training.data.preview --shared /data --out sheet.png
python -m training.data.preview --shared /data --out sheet.png --set twins=1 frames=12 height=144 width=256
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.assets import load_assets
from training.data.clips import Clip, ClipMaker, ClipOptions

_TINT = torch.tensor([0.1, 0.9, 0.2])[:, None, None]


def contact_sheet(clip: Clip) -> NDArray[np.uint8]:
    """An RGB picture [.., .., 3] with two rows for each clip and a column for the mask and for each frame."""
    rows = []
    for frames, alpha, mask in zip(clip.frames.cpu(), clip.alpha.cpu(), clip.mask.cpu(), strict=True):
        given = mask.clamp(min=0).expand(3, -1, -1) if mask.min() >= 0 else torch.full_like(frames[0], 0.4)
        overlaid = frames * (1 - 0.55 * alpha) + 0.55 * alpha * _TINT
        rows.append(_row([given, *frames]))
        rows.append(_row([alpha[0].expand(3, -1, -1), *overlaid]))
    sheet = torch.cat(rows, 1).mul(255).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(sheet.permute(1, 2, 0).numpy())


def _row(pictures: list[Tensor]) -> Tensor:
    return torch.cat([torch.nn.functional.pad(picture, (0, 2, 0, 2)) for picture in pictures], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with traindata/ and webcam/")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--split", choices=("train", "held_out"), default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="fields of ClipOptions, as JSON")
    given = parser.parse_args()
    fields = {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in given.set)}
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    options = dataclasses.replace(ClipOptions(batch=8, frames=8), **fields)
    clip = ClipMaker(load_assets(given.shared, given.split), given.seed).make(options)
    cv2.imwrite(str(given.out), cv2.cvtColor(contact_sheet(clip), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
