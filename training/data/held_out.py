"""Made clips of people and places that training never sees, as one file: for choosing checkpoints and for reporting.

python -m training.data.held_out --shared /data --out held_out.npz
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rtmatte.imaging import parse_size
from training.data.assets import load_assets
from training.data.clips import ClipMaker, ClipOptions
from training.data.pool import to_bytes

_PLAIN = ClipOptions(batch=1, second_person=0.0, occluder=0.0, cutout=0.0)
TAGS: dict[str, ClipOptions] = {
    "single": _PLAIN,
    "second person": replace(_PLAIN, second_person=1.0),
    "occluder": replace(_PLAIN, occluder=1.0),
    "twins": replace(_PLAIN, twins=1.0),
    "dark": replace(_PLAIN, covered=1.0),
    "leave": replace(_PLAIN, leave=1.0),
}


def make_held_out(
    shared: Path, out: Path, *, clips: int = 24, frames: int = 24, size: tuple[int, int] = (144, 256), seed: int = 7
) -> None:
    """Write `clips` clips of `size` (height, width), the tags in turn, to `out`; equal arguments, equal clips.

    Arrays: `frames` uint8 (N, T, H, W, 3) RGB, `alpha` uint8 (N, T, H, W), `mask` uint8 (N, H, W),
    `visible` bool (N, T), `central` bool (N), `tags` text (N).
    """
    maker = ClipMaker(load_assets(shared, "held_out"), seed)
    tags = [list(TAGS)[index % len(TAGS)] for index in range(clips)]
    made = [maker.make(replace(TAGS[tag], frames=frames, height=size[0], width=size[1])) for tag in tags]
    np.savez_compressed(
        out,
        frames=to_bytes(torch.cat([clip.frames for clip in made])).permute(0, 1, 3, 4, 2).numpy(),
        alpha=to_bytes(torch.cat([clip.alpha for clip in made]))[:, :, 0].numpy(),
        mask=to_bytes(torch.cat([clip.mask for clip in made]))[:, 0].numpy(),
        visible=torch.cat([clip.visible for clip in made]).numpy(),
        central=torch.cat([clip.central for clip in made]).numpy(),
        tags=np.array(tags),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with traindata/")
    parser.add_argument("--out", type=Path, required=True, help=".npz to write")
    parser.add_argument("--clips", type=int, default=24, help="number of clips (default: 24)")
    parser.add_argument("--size", default="256x144", metavar="WxH", help="frame size (default: 256x144)")
    given = parser.parse_args()
    width, height = parse_size(given.size)
    make_held_out(given.shared, given.out, clips=given.clips, size=(height, width))


if __name__ == "__main__":
    main()
