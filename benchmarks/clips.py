"""Clips with known alpha, from folders and archives of made clips, and the order in which they are played.

A clip reads its pictures when asked, so a long clip of large frames costs no memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import InputError
from rtmatte.frame import Mask
from rtmatte.imaging import load_image, load_mask
from training.data.footage import Video

Pixels8 = NDArray[np.uint8]
Matte8 = NDArray[np.uint8]

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
VIDEOS = (".mp4", ".mov", ".mkv", ".avi")
FRAME_NAMES = ("com", "har", "src", "img")
TRUTH_NAMES = ("pha", "alpha")


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
        if not self.has_truth(0):
            raise InputError(f"expected a first mask of {self.name}, or a matte of its first frame, found neither")
        return Mask((self.truth(0) > 127).astype(np.float32))

    def has_truth(self, number: int) -> bool:
        """Whether frame `number` can be scored."""
        return self.annotated is None or number in self.annotated

    def fingerprint(self) -> dict[str, Any]:
        """Returns what tells the clip from another one of its name, made anew or found elsewhere."""
        return {"clip": self.name, "length": self.length, "picture": zlib.crc32(self.frame(0).tobytes())}

    def __repr__(self) -> str:
        return f"Clip({self.name}, {self.length} frames)"


def back_and_forth(length: int) -> Iterator[int]:
    """Yields 0 .. length-1, back to 0, and so on for ever; no frame is shown twice in a row where it turns."""
    return cycle(chain(range(length), range(length - 2, 0, -1)))


@dataclass(frozen=True, slots=True, repr=False)
class Footage:
    """Pictures in a folder by stem, or the frames of a video by number, as frames (H, W, 3) or as mattes (H, W)."""

    stems: tuple[str, ...]  # in order
    colour: Callable[[str], Pixels8]
    matte: Callable[[str], Matte8]


def find_clips(data: Path, only: str = "*") -> list[Clip]:
    """Returns the clips below a folder, or of a made set, whose name matches the pattern `only`.

    A folder is a clip when it holds NNNN_img.* and NNNN_pha.* pictures, or one of `FRAME_NAMES` beside one of
    `TRUTH_NAMES`, both folders of pictures or both videos. Pictures are paired by stem, whatever their extensions; a
    frame may be without a matte, and is then not scored.
    A made set is a folder or an .npz of `frames` uint8 [clip, frame, H, W, 3] RGB, `alpha` uint8 [clip, frame, H, W],
    and perhaps `tags` [clip], which become part of the names. Raises InputError when there is no such clip, or a matte
    has no frame.
    """
    made = data.suffix == ".npz" or (data / "frames.npy").is_file()
    clips = _made_clips(data) if made else _folder_clips(data)
    chosen = [clip for clip in clips if fnmatchcase(clip.name, only)]
    if not chosen:
        raise InputError(f"expected a clip whose name matches {only!r}, found {', '.join(c.name for c in clips[:8])}")
    return chosen


def find_footage(folder: Path, names: Sequence[str]) -> Footage | None:
    """Returns the first of `names` that is a folder of pictures or a video in `folder`; None when none is."""
    for name in names:
        if found := pictures(folder / name):
            return footage_of(found)
        for suffix in VIDEOS:
            if (folder / f"{name}{suffix}").is_file():
                video = Video(folder / f"{name}{suffix}")
                return Footage(
                    tuple(map(str, range(video.length))),
                    lambda stem, video=video: video.frame(int(stem)),  # type: ignore[misc]
                    lambda stem, video=video: np.ascontiguousarray(video.frame(int(stem))[..., 1]),  # type: ignore[misc]
                )
    return None


def footage_of(found: dict[str, Path]) -> Footage:
    """Returns pictures, given by stem, in order of their names."""
    return Footage(tuple(sorted(found)), lambda stem: load_image(found[stem]), lambda stem: read_matte(found[stem]))


def paired(name: str, frames: Footage, truth: Footage) -> Clip:
    """Returns the clip of the frames and those mattes that there are; InputError when a matte belongs to no frame."""
    if unpaired := sorted(set(truth.stems) - set(frames.stems)):
        raise InputError(f"{name}: expected a frame for every matte, of the same name; {unpaired[0]!r} is alone")
    known = frozenset(truth.stems)
    annotated = frozenset(number for number, stem in enumerate(frames.stems) if stem in known)
    return Clip(
        name,
        len(frames.stems),
        lambda n: frames.colour(frames.stems[n]),
        lambda n: truth.matte(frames.stems[n]),
        annotated=None if len(annotated) == len(frames.stems) else annotated,
    )


def read_matte(path: Path) -> Matte8:
    """Returns the matte in `path` as (H, W) uint8; its transparency when it has one, else its brightness."""
    return np.rint(load_mask(path).values * 255).astype(np.uint8)


def _folder_clips(data: Path) -> list[Clip]:
    if not data.is_dir():
        raise InputError(f"expected a folder of clips or a set of made clips, found neither at {data}")
    folders = [data, *sorted(path for path in data.rglob("*") if path.is_dir())]
    clips = [clip for folder in folders if (clip := _folder_clip(folder, data)) is not None]
    if not clips:
        raise InputError(
            f"no clip in {data}: expected folders with NNNN_img.* and NNNN_pha.*, or with "
            f"{' or '.join(FRAME_NAMES)} beside {' or '.join(TRUTH_NAMES)}, folders or videos"
        )
    return clips


def _folder_clip(folder: Path, root: Path) -> Clip | None:
    """Returns the clip that `folder` is, named by its place below `root`; None when it is none."""
    name = folder.relative_to(root).as_posix() if folder != root else folder.name
    files = pictures(folder)
    shown = {stem.removesuffix("_img"): path for stem, path in files.items() if stem.endswith("_img")}
    mattes = {stem.removesuffix("_pha"): path for stem, path in files.items() if stem.endswith("_pha")}
    if shown and mattes:
        return paired(name, footage_of(shown), footage_of(mattes))
    frames, truth = find_footage(folder, FRAME_NAMES), find_footage(folder, TRUTH_NAMES)
    return paired(name, frames, truth) if frames and truth else None


def pictures(folder: Path) -> dict[str, Path]:
    """Returns the pictures of a folder by stem; empty when there is no such folder."""
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in folder.iterdir() if path.suffix.lower() in PICTURES}


def _made_clips(path: Path) -> list[Clip]:
    try:
        frames, alpha, tags = _arrays(path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"expected a made set with `frames` and `alpha`, found {path}: {error}") from error
    if frames.shape != (*alpha.shape, 3) or frames.ndim != 5 or frames.dtype != np.uint8 or alpha.dtype != np.uint8:
        raise InputError(
            f"{path}: expected uint8 frames [clip, frame, H, W, 3] and alpha [clip, frame, H, W], "
            f"found {frames.dtype} {frames.shape} and {alpha.dtype} {alpha.shape}"
        )
    if 0 in frames.shape:
        raise InputError(f"{path}: expected at least one clip of one frame, found shape {frames.shape}")
    names = [f"{path.stem}-{number:03d} {tag}".rstrip() for number, tag in enumerate(tags or [""] * len(frames))]
    parts = zip(names, frames, alpha, strict=True)
    return [Clip(name, len(clip), clip.__getitem__, truth.__getitem__) for name, clip, truth in parts]


def _arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any], list[str]]:
    """Frames, alpha and tags: out of an archive at once, out of a folder when they are looked at."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            tags = arrays["tags"].tolist() if "tags" in arrays else []
            return arrays["frames"], arrays["alpha"], tags
    tags = np.load(path / "tags.npy").tolist() if (path / "tags.npy").is_file() else []
    mapped = (np.load(path / f"{name}.npy", mmap_mode="r") for name in ("frames", "alpha"))
    frames, alpha = map(np.asarray, mapped)  # still on the disk, and otherwise plain arrays
    return frames, alpha, tags
