"""Data sets of people with mattes, as their authors lay them out.

| function          | layout                                                                                    |
| ----------------- | ----------------------------------------------------------------------------------------- |
| foreground_clips  | VideoMatte240K, VM800: `fgr/` and `pha/` with a folder or a video per clip; `train/` above  |
| aisegment         | `clip_img/*/*/*.jpg`, `matting/*/*/*.png` (RGBA)                                          |
| portraits         | P3M: `blurred_image/*.jpg`, `mask/*.png` (the matte)                                      |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from rtmatte.errors import SourceError
from training.data.footage import VIDEOS, MatteClip, Place, Video, below, entries, folders, opened, paired


def foreground_clips(root: Path) -> list[MatteClip]:
    """Returns the clips of VideoMatte240K or of a set laid out like it, in a folder or a zip archive.

    A clip without a matte, and a frame without one, is left out. SourceError when nothing is left.
    """
    place = _inside(opened(root), ("fgr", "pha"))
    colours, mattes = place / "fgr", place / "pha"
    pairs = [
        paired(name, entries(folder), entries(folders(mattes)[name]))
        for name, folder in folders(colours).items()
        if name in folders(mattes)
    ]
    videos = entries(mattes, VIDEOS)
    pairs += [
        _video_pair(name, path, videos[name]) for name, path in entries(colours, VIDEOS).items() if name in videos
    ]
    return _found([clip for clip in pairs if clip is not None], root, "fgr/<clip>/ and pha/<clip>/, or videos in them")


def aisegment(root: Path) -> list[MatteClip]:
    """Returns AISegment's portraits, each a clip of one picture; SourceError when there are none."""
    place = _inside(opened(root), ("clip_img", "matting"))
    return _stills(below(place / "clip_img"), below(place / "matting"), root, "clip_img/ and matting/")


def portraits(root: Path) -> list[MatteClip]:
    """Returns P3M's portraits, faces blurred by its authors, each a clip of one picture; SourceError when none."""
    place = _inside(opened(root), ("blurred_image", "mask"))
    return _stills(entries(place / "blurred_image"), entries(place / "mask"), root, "blurred_image/ and mask/")


DATA_SETS: dict[str, Callable[[Path], list[MatteClip]]] = {
    "videomatte240k": foreground_clips,
    "vm800": foreground_clips,
    "aisegment": aisegment,
    "p3m": portraits,
}


def _inside(place: Place, names: tuple[str, str]) -> Place:
    """The folder that holds `names`: the place itself, or one a level or two below, such as `train`."""
    candidates = [place, *folders(place).values()]
    candidates += [inner for folder in candidates[1:] for inner in folders(folder).values()]
    for candidate in candidates:
        if all((candidate / name).is_dir() for name in names):
            return candidate
    raise SourceError(f"expected the folders {names[0]} and {names[1]} in {place}, found neither; check the path")


def _video_pair(name: str, colour: Place, matte: Place) -> MatteClip:
    pictures, mattes = Video(colour), Video(matte)
    length = min(pictures.length, mattes.length)
    return MatteClip(name, length, pictures.frame, lambda n: np.ascontiguousarray(mattes.frame(n)[..., 1]))


def _stills(colours: dict[str, Place], mattes: dict[str, Place], root: Path, layout: str) -> list[MatteClip]:
    pairs = [paired(stem, {stem: path}, mattes) for stem, path in colours.items()]
    return _found([clip for clip in pairs if clip is not None], root, layout)


def _found(clips: list[MatteClip], root: Path, layout: str) -> list[MatteClip]:
    if not clips:
        raise SourceError(f"expected pictures with mattes of the same names in {layout} of {root}, found none")
    return clips
