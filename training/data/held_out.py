"""Made clips of people and places that training never sees: for choosing checkpoints and for reporting.

python -m training.data.held_out --shared DATA --set mixed        24 clips of every kind, for scores
python -m training.data.held_out --shared DATA --set returns      200 clips, a second person in half of them
python -m training.data.held_out --shared DATA --set twins        200 clips of two people alike
python -m training.data.held_out --shared DATA --set person       200 clips of somebody who is plainly the central one

Equal arguments, equal clips. A set is a folder of arrays, `runs/made/<set>` unless --out says another; the benchmarks
take it as --data. It is written clip by clip and read frame by frame, so its size costs no memory.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from rtmatte.errors import SourceError
from rtmatte.imaging import parse_size
from training.data.assets import load_assets
from training.data.clips import Clip, ClipMaker, ClipOptions
from training.data.pool import to_bytes

Arrays = Mapping[str, NDArray[Any]]

FOLDER = Path("runs/made")
SEEN = 0.01  # share of the picture that somebody fills who can be judged
TRIES = 100  # at a clip that a set can use

_PLAIN = ClipOptions(batch=1, second_person=0.0, occluder=0.0, cutout=0.0)
TAGS: dict[str, ClipOptions] = {
    "single": _PLAIN,
    "second person": replace(_PLAIN, second_person=1.0),
    "occluder": replace(_PLAIN, occluder=1.0),
    "twins": replace(_PLAIN, twins=1.0),
    "dark": replace(_PLAIN, covered=1.0),
    "leave": replace(_PLAIN, leave=1.0),
}


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A set: clips of the tags in turn, all of one size (height, width)."""

    tags: tuple[str, ...]
    clips: int = 200
    frames: int = 16
    size: tuple[int, int] = (288, 512)
    seed: int = 7
    shown: bool = True  # only clips whose every frame shows the person
    central: bool = False  # only clips whose person is plainly the central one


SETS: dict[str, HeldOut] = {
    "mixed": HeldOut(tuple(TAGS), clips=24, frames=24, shown=False),
    "returns": HeldOut(("single", "second person"), seed=11),
    "twins": HeldOut(("twins",), frames=24, seed=12),
    "person": HeldOut(("single", "second person", "occluder"), frames=11, seed=13, central=True),
}


def made_clips(maker: ClipMaker, wanted: HeldOut) -> Iterator[Arrays]:
    """Yields the clips of a set, one after the other.

    Arrays: `frames` uint8 (T, H, W, 3) RGB, `alpha` uint8 (T, H, W), `mask` uint8 (H, W), `visible` bool (T),
    `central` bool, `tags` text. Raises SourceError when no clip in a hundred is one for the set.
    """
    height, width = wanted.size
    for index in range(wanted.clips):
        tag = wanted.tags[index % len(wanted.tags)]
        options = replace(TAGS[tag], frames=wanted.frames, height=height, width=width)
        clip = next((clip for _ in range(TRIES) if _fits(clip := maker.make(options), wanted)), None)
        if clip is None:
            raise SourceError(f"expected a clip {tag!r} that a set can use, found none in {TRIES}; check the pictures")
        yield {
            "frames": to_bytes(clip.frames)[0].permute(0, 2, 3, 1).numpy(),
            "alpha": to_bytes(clip.alpha)[0, :, 0].numpy(),
            "mask": to_bytes(clip.mask)[0, 0].numpy(),
            "visible": clip.visible[0].numpy(),
            "central": clip.central[0].numpy(),
            "tags": np.array(tag, f"<U{max(map(len, TAGS))}"),
        }


def write_set(clips: Iterator[Arrays], count: int, out: Path) -> None:
    """Writes the arrays of `count` clips to the folder `out`, joined along a new first axis, complete or not at all.

    Where `out` ends in .npz they are packed in one file, for sets that fit into memory.
    """
    if out.suffix == ".npz":
        all_clips = list(clips)
        out.parent.mkdir(parents=True, exist_ok=True)
        packed: dict[str, Any] = {name: np.stack([clip[name] for clip in all_clips]) for name in all_clips[0]}
        np.savez_compressed(out, **packed)
        return
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    joined: dict[str, NDArray[Any]] = {}
    for index, clip in zip(range(count), clips, strict=True):
        for name, array in clip.items():
            if index == 0:
                joined[name] = np.lib.format.open_memmap(
                    part / f"{name}.npy", "w+", dtype=array.dtype, shape=(count, *array.shape)
                )
            joined[name][index] = array
    joined.clear()  # closes the files
    shutil.rmtree(out, ignore_errors=True)
    part.replace(out)


def make_held_out(shared: Path, out: Path, wanted: HeldOut) -> None:
    """Writes a set of the held-out people and places in `shared` to `out`, as `write_set` does."""
    maker = ClipMaker(load_assets(shared, "held_out"), wanted.seed)
    clips = track(made_clips(maker, wanted), "clips", total=wanted.clips, console=Console(stderr=True))
    write_set(iter(clips), wanted.clips, out)


def _fits(clip: Clip, wanted: HeldOut) -> bool:
    shown = bool((clip.alpha > 0.5).float().mean((2, 3, 4)).min() >= SEEN)
    return (shown or not wanted.shown) and (bool(clip.central[0]) or not wanted.central)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with traindata/")
    parser.add_argument("--set", choices=list(SETS), default="mixed", help="which clips (default: mixed)")
    parser.add_argument("--out", type=Path, help="folder, or .npz, to write (default: runs/made/<set>)")
    parser.add_argument("--clips", type=int, help="number of clips (default: the set's)")
    parser.add_argument("--size", default="512x288", metavar="WxH", help="frame size (default: 512x288)")
    given = parser.parse_args()
    width, height = parse_size(given.size)
    wanted = replace(SETS[given.set], size=(height, width))
    if given.clips:
        wanted = replace(wanted, clips=given.clips)
    make_held_out(given.shared, given.out or FOLDER / given.set, wanted)


if __name__ == "__main__":
    main()
