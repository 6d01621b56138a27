"""The public benchmarks, where their authors put the files, with the settings that published figures were made with.

| set                   | frames                                       | truth                             |
| --------------------- | -------------------------------------------- | --------------------------------- |
| videomatte            | `<subset>/<clip>/com/`, or har, src, a video | `<subset>/<clip>/pha/` or a video |
| youtubematte          | `<subset>/<clip>/har/`, or com, src, a video | `<subset>/<clip>/pha/` or a video |
| crgnn                 | `image_allframe/<clip>/`                     | `alpha/<clip>/`, every 10th frame |
| videomatte240k, vm800 | `fgr/<clip>/` or video, on a made background | `pha/<clip>/` or video            |
| aisegment, p3m        | the pictures                                 | the mattes                        |

First masks are `<subset>/<clip>.png` or `<clip>.png` in a folder of their own (crgnn: `mask/`). Without that folder
the first truth at 0.5 is given. Frames and truth belong together by stem, whatever their extensions; frames without
truth are played, not scored. Nothing else that a set holds, such as `fgr/`, is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.clips import (
    FRAME_NAMES,
    TRUTH_NAMES,
    Clip,
    Pixels8,
    find_footage,
    paired,
    pictures,
    read_matte,
)
from benchmarks.metrics import MetricProtocol
from rtmatte.errors import InputError
from rtmatte.frame import Mask
from rtmatte.imaging import Size, dilate_then_erode, load_image, load_mask
from training.data.footage import MatteClip
from training.data.layouts import DATA_SETS

FIRST_HD_ROWS = 1080
CRGNN_EVERY = 10  # frames from one annotated frame to the next


@dataclass(frozen=True, slots=True)
class Settings:
    """How a set was scored: ellipses of so many pixels dilate, then erode the first mask; passes over frame 0."""

    protocol: MetricProtocol
    warmup: int
    erode: int
    dilate: int


SMALL = Settings("lr", warmup=1, erode=4, dilate=4)
LARGE = Settings("hr", warmup=10, erode=15, dilate=15)
REAL = Settings("hr", warmup=10, erode=10, dilate=10)


@dataclass(frozen=True, slots=True)
class BenchmarkSet:
    """A public set as it lies on this machine."""

    name: str
    size: Size  # of the first clip's frames
    settings: Settings
    clips: tuple[Clip, ...]


def open_set(name: str, data: Path, masks: Path | None = None) -> BenchmarkSet:
    """Returns the set `name` below `data`, its first masks from `masks` where that is given, else from the truth.

    Raises InputError for an unknown set, a folder that does not hold it, or a clip that has no mask in `masks`.
    """
    if name not in SETS:
        raise InputError(f"expected one of the sets {', '.join(SETS)}, found {name!r}")
    if not data.exists():
        raise InputError(f"expected the set {name} at {data}, found nothing there; check --data")
    clips = SETS[name](data)
    if not clips:
        raise InputError(
            f"expected the set {name} at {data}, found no clip of its layout; see benchmarks/quality/sets.py"
        )
    height, width = clips[0].frame(0).shape[:2]
    settings = REAL if name == "crgnn" else (LARGE if height >= FIRST_HD_ROWS else SMALL)
    if masks is None and name == "crgnn" and (data / "mask").is_dir():
        masks = data / "mask"
    prepared = tuple(_with_mask(clip, masks, settings) for clip in clips)
    return BenchmarkSet(name, (width, height), settings, prepared)


def _with_mask(clip: Clip, masks: Path | None, settings: Settings) -> Clip:
    place = None if masks is None else _mask_of(clip.name, masks)

    def mask() -> Mask:
        given = clip.first_mask() if place is None else load_mask(place)
        return dilate_then_erode(given, dilate=settings.dilate, erode=settings.erode)

    return replace(clip, mask=mask)


def _mask_of(clip: str, masks: Path) -> Path:
    """The clip's mask, with or without its subset's folder."""
    places = (masks / f"{clip}.png", masks / f"{Path(clip).name}.png")
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"expected a first mask of {clip} at {places[0]} or {places[1]}, found neither; check --masks")


def _composites(own: str) -> Callable[[Path], list[Clip]]:
    """A set of `<subset>/<clip>` folders; its frames are called `own`, or what another set calls them."""
    names = dict.fromkeys((own, *FRAME_NAMES))

    def find(data: Path) -> list[Clip]:
        clips = []
        for folder in sorted(path for path in data.rglob("*") if path.is_dir()):
            frames, truth = find_footage(folder, tuple(names)), find_footage(folder, TRUTH_NAMES)
            if frames and truth:
                clips.append(paired(folder.relative_to(data).as_posix(), frames, truth))
        return clips

    return find


def _crgnn(data: Path) -> list[Clip]:
    return [_sparse(folder.name, folder, data / "alpha" / folder.name) for folder in _folders(data / "image_allframe")]


def _sparse(name: str, frames: Path, truth: Path) -> Clip:
    """The k-th matte, in order of their names, is the truth of frame 10 k."""
    shown = [path for _, path in sorted(pictures(frames).items())]
    mattes = {CRGNN_EVERY * k: path for k, (_, path) in enumerate(sorted(pictures(truth).items()))}
    if not mattes or max(mattes) >= len(shown):
        raise InputError(
            f"expected a matte of every {CRGNN_EVERY}th of {len(shown)} frames in {truth}, found {len(mattes)}"
        )
    return Clip(
        name,
        len(shown),
        lambda n: load_image(shown[n]),
        lambda n: read_matte(mattes[n]),
        annotated=frozenset(mattes),
    )


def _on_a_background(layout: str) -> Callable[[Path], list[Clip]]:
    """Foregrounds over a made background: I = F a + B (1 - a)."""
    return lambda data: [_composed(clip) for clip in DATA_SETS[layout](data)]


def _composed(clip: MatteClip) -> Clip:
    def frame(number: int) -> Pixels8:
        colour, alpha = clip.colour(number), clip.alpha(number)[..., None].astype(np.float32) / 255
        return np.rint(colour * alpha + _background(*alpha.shape[:2]) * (1 - alpha)).astype(np.uint8)

    return Clip(clip.name, clip.length, frame, clip.alpha)


def _background(height: int, width: int) -> NDArray[np.float32]:
    """A still room of soft stripes and a gradient of light: the same for every clip and every machine."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / np.float32(height)
    wall = 150 - 60 * y + 30 * np.sin(9 * x) * np.sin(5 * y + 2 * x)
    return np.stack([wall, 0.9 * wall + 10, 0.8 * wall + 25], axis=-1).astype(np.float32)


def _pictures_with_mattes(layout: str) -> Callable[[Path], list[Clip]]:
    return lambda data: [Clip(clip.name, clip.length, clip.colour, clip.alpha) for clip in DATA_SETS[layout](data)]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


SETS: dict[str, Callable[[Path], list[Clip]]] = {
    "videomatte": _composites("com"),
    "youtubematte": _composites("har"),
    "crgnn": _crgnn,
    "videomatte240k": _on_a_background("videomatte240k"),
    "vm800": _on_a_background("vm800"),
    "aisegment": _pictures_with_mattes("aisegment"),
    "p3m": _pictures_with_mattes("p3m"),
}
