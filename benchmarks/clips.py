"""Clips with known alpha, from folders and archives of made clips, and the order in which they are played.

A clip reads its pictures when asked, so a long clip of large frames costs no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain, cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import InputError
from rtmatte.frame import Mask
from rtmatte.imaging import load_image, load_mask

Pixels8 = NDArray[np.uint8]
Matte8 = NDArray[np.uint8]

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
FRAME_FOLDERS = ("com", "har", "src", "img")
TRUTH_FOLDERS = ("pha", "alpha")


@dataclass(frozen=True, slots=True, repr=False)
class Clip:
    """A clip of `length` frames: `frame(n)` is (H, W, 3) RGB, `truth(n)` its matte (H, W), both uint8.

    Of a clip with `annotated` frames only those have a truth; `mask` gives the first mask where one was made for it.
    """

    name: str
    length: int
    frame: Callable[[int], Pixels8]
    truth: Callable[[int], Matte8]
    annotated: frozenset[int] | None = None
    mask: Callable[[], Mask] | None = None

    def first_mask(self) -> Mask:
        """Returns the mask a user would give: the one made for the clip, else the first matte at 0.5."""
        if self.mask is not None:
            return self.mask()
        return Mask((self.truth(0) > 127).astype(np.float32))

    def has_truth(self, number: int) -> bool:
        """Whether frame `number` can be scored."""
        return self.annotated is None or number in self.annotated

    def __repr__(self) -> str:
        return f"Clip({self.name}, {self.length} frames)"


def back_and_forth(length: int) -> Iterator[int]:
    """Yields 0 .. length-1, back to 0, and so on for ever; no frame is shown twice in a row where it turns."""
    return cycle(chain(range(length), range(length - 2, 0, -1)))


def find_clips(data: Path, only: str = "*") -> list[Clip]:
    """Returns the clips below a folder, or in an .npz of made clips, whose name matches the pattern `only`.

    A folder is a clip when it holds NNNN_img.* and NNNN_pha.* pictures, or two folders of pictures, one of
    `FRAME_FOLDERS` and one of `TRUTH_FOLDERS`, paired by stem whatever their extensions.
    An .npz holds `frames` uint8 [clip, frame, H, W, 3] RGB, `alpha` uint8 [clip, frame, H, W], and it may hold `tags`
    [clip], which become part of the names. Raises InputError when there is no such clip, or a frame has no matte.
    """
    clips = _archived_clips(data) if data.suffix == ".npz" else _folder_clips(data)
    chosen = [clip for clip in clips if fnmatchcase(clip.name, only)]
    if not chosen:
        raise InputError(f"expected a clip whose name matches {only!r}, found {', '.join(c.name for c in clips[:8])}")
    return chosen


def read_matte(path: Path) -> Matte8:
    """Returns the matte in `path` as (H, W) uint8; its transparency when it has one, else its brightness."""
    return np.rint(load_mask(path).values * 255).astype(np.uint8)


def _folder_clips(data: Path) -> list[Clip]:
    if not data.is_dir():
        raise InputError(f"expected a folder of clips or an .npz of made clips, found neither at {data}")
    folders = [data, *sorted(path for path in data.rglob("*") if path.is_dir())]
    clips = [clip for folder in folders if (clip := _folder_clip(folder, data)) is not None]
    if not clips:
        raise InputError(
            f"no clip in {data}: expected folders with NNNN_img.* and NNNN_pha.*, or with the folders "
            f"{' or '.join(FRAME_FOLDERS)} and {' or '.join(TRUTH_FOLDERS)}"
        )
    return clips


def _folder_clip(folder: Path, root: Path) -> Clip | None:
    """Returns the clip that `folder` is, named by its place below `root`; None when it is none."""
    files = pictures(folder)
    frames = {stem.removesuffix("_img"): path for stem, path in files.items() if stem.endswith("_img")}
    mattes = {stem.removesuffix("_pha"): path for stem, path in files.items() if stem.endswith("_pha")}
    if not frames:
        frames = _first_folder(folder, FRAME_FOLDERS)
        mattes = _first_folder(folder, TRUTH_FOLDERS)
    if not frames or not mattes:
        return None
    if unpaired := sorted(frames.keys() ^ mattes.keys()):
        raise InputError(f"{folder}: every frame has one matte of the same name; {unpaired[0]!r} is alone")
    pairs = [(path, mattes[stem]) for stem, path in sorted(frames.items())]
    name = folder.relative_to(root).as_posix() if folder != root else folder.name
    return Clip(name, len(pairs), lambda n: load_image(pairs[n][0]), lambda n: read_matte(pairs[n][1]))


def _first_folder(folder: Path, names: tuple[str, ...]) -> dict[str, Path]:
    return next((found for name in names if (found := pictures(folder / name))), {})


def pictures(folder: Path) -> dict[str, Path]:
    """Returns the pictures of a folder by stem; empty when there is no such folder."""
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in folder.iterdir() if path.suffix.lower() in PICTURES}


def _archived_clips(path: Path) -> list[Clip]:
    try:
        with np.load(path) as arrays:
            frames, alpha = arrays["frames"], arrays["alpha"]
            tags = arrays["tags"].tolist() if "tags" in arrays else [""] * len(frames)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"expected an .npz with `frames` and `alpha`, found {path}: {error}") from error
    if frames.shape != (*alpha.shape, 3) or frames.ndim != 5 or frames.dtype != np.uint8 or alpha.dtype != np.uint8:
        raise InputError(
            f"{path}: expected uint8 frames [clip, frame, H, W, 3] and alpha [clip, frame, H, W], "
            f"found {frames.dtype} {frames.shape} and {alpha.dtype} {alpha.shape}"
        )
    if 0 in frames.shape:
        raise InputError(f"{path}: expected at least one clip of one frame, found shape {frames.shape}")
    names = [f"{path.stem}-{number:03d} {tag}".rstrip() for number, tag in enumerate(tags)]
    parts = zip(names, frames, alpha, strict=True)
    return [Clip(name, len(clip), clip.__getitem__, truth.__getitem__) for name, clip, truth in parts]
