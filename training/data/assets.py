"""Pictures that made clips are composed from, as uint8 tensors: people, real-motion cut-outs, backgrounds, objects.

Eight people and three places are held out by name; nothing of them is ever part of the `train` split.
Only the `train` folder of the webcam clips is read, and only for the `train` split.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtmatte.errors import SourceError
from training.data.strands import with_strands

Split = Literal["train", "held_out"]

HELD_OUT_PEOPLE = ("m0056", "m0154", "m0177", "m0415", "n0066", "n0303", "w0201", "w0588")
HELD_OUT_PLACES = ("hall", "park", "workshop")
FLAWED_PEOPLE = ("n0247", "w0077", "w0247", "w0253", "w0287")  # a piece of chair or desk is part of the matte
SPRITE = 384
LOOKS = 4  # a plain one, then three with strands
_VIDEO_STEP = 2
_OBJECT_PICTURES = ("sk_", "az_")
_OBJECTS_EACH = 2


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Assets:
    """Pictures of one split, uint8, RGB or RGBA (colour not multiplied by alpha), all on one device."""

    people: Tensor  # [N * LOOKS, 4, S, S]; row n * LOOKS + k is look k of person n; k = 0 has no strands
    people_top: Tensor  # [N * LOOKS] float, row of the top of the head as a share of S
    cutouts: Tensor  # [F, 4, S, S], clips of consecutive frames one after the other
    cutout_spans: Tensor  # [C, 2] int64, first frame and number of frames of each clip
    cutout_top: Tensor  # [C] float
    objects: Tensor  # [K, 4, S, S]
    backgrounds: Tensor  # [M, 3, 288, 512]
    panoramas: Tensor  # [P, 3, 512, 1024], 360 x 180 degrees
    videos: Tensor  # [F, 3, 144, 256]
    video_spans: Tensor  # [V, 2] int64

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {tuple(getattr(self, name).shape)}" for name in self.__slots__)
        return f"Assets({sizes})"


def load_assets(shared: Path, split: Split, device: torch.device | str = "cpu") -> Assets:
    """The assets of one split, read from `shared`/traindata and `shared`/webcam/train.

    `train` takes about 6 s and 400 MB. Raises SourceError if a folder is missing.
    """
    data = shared / "traindata"
    for folder in ("people", "backgrounds", "panoramas", "videos"):
        if not (data / folder).is_dir():
            raise SourceError(f"expected training pictures in {data / folder}, found no such folder; check --shared")
    held = split == "held_out"
    people, tops = _people(people_names(data / "people", split), data / "people")
    cutouts, cutout_spans, cutout_top = _cutouts([] if held else sorted((shared / "webcam" / "train").glob("*/")))
    pictures = [p for p in sorted((data / "backgrounds").glob("*.jpg")) if _in_split(p.stem, split)]
    objects = [p for p in pictures if p.stem.startswith(_OBJECT_PICTURES)]
    if held:
        objects = sorted((data / "backgrounds").glob("sk_*.jpg"))
    videos, video_spans = _videos(sorted((data / "videos").glob("sav_0[34]*" if held else "sav_0[12]*")))
    panoramas = [p for p in sorted((data / "panoramas").glob("*.jpg")) if _in_split(p.stem, split)]
    tensors = {
        "people": _planar(people),
        "people_top": torch.tensor(tops),
        "cutouts": _planar(cutouts) if cutouts else torch.zeros(0, 4, SPRITE, SPRITE, dtype=torch.uint8),
        "cutout_spans": torch.tensor(cutout_spans, dtype=torch.int64).reshape(-1, 2),
        "cutout_top": torch.tensor(cutout_top),
        "objects": _planar([_object(p, k) for p in objects for k in range(_OBJECTS_EACH)]),
        "backgrounds": _planar([_fill(_read(p), 512, 288) for p in pictures]),
        "panoramas": _planar([_fill(_read(p), 1024, 512) for p in panoramas]),
        "videos": _planar(videos),
        "video_spans": torch.tensor(video_spans, dtype=torch.int64).reshape(-1, 2),
    }
    return Assets(**{name: tensor.to(device) for name, tensor in tensors.items()})


def people_names(folder: Path, split: Split) -> list[str]:
    """File name stems of the people of one split, sorted; people whose mattes hold furniture are in neither."""
    stems = sorted(p.name.removesuffix("_pha.png") for p in folder.glob("*_pha.png"))
    usable = [s for s in stems if not s.endswith(FLAWED_PEOPLE)]
    return [s for s in usable if s.endswith(HELD_OUT_PEOPLE) == (split == "held_out")]


def _in_split(stem: str, split: Split) -> bool:
    """A picture of a held-out place is held out; everything else is for training."""
    place = stem.split("_")[1] if stem.startswith("hdri_") else stem
    return (place in HELD_OUT_PLACES) == (split == "held_out")


def _people(names: list[str], folder: Path) -> tuple[list[NDArray[np.uint8]], list[float]]:
    sprites, tops = [], []
    for name in names:
        rgba = _cutout(folder / f"{name}_fgr.jpg", folder / f"{name}_pha.png")
        rgba = cv2.resize(rgba, (SPRITE, SPRITE), interpolation=cv2.INTER_AREA).astype(np.uint8)
        rgba[:, [0, -1], 3] = 0  # nothing may be smeared sideways
        seed = zlib.crc32(name.encode())
        sprites += [rgba, *(with_strands(rgba, seed=seed + look) for look in range(1, LOOKS))]
        tops += [_top(rgba)] * LOOKS
    return sprites, tops


def _cutouts(folders: list[Path]) -> tuple[list[NDArray[np.uint8]], list[tuple[int, int]], list[float]]:
    """Frames of all clips, each cut to a square of full height around the person; spans; head tops."""
    frames: list[NDArray[np.uint8]] = []
    spans, tops = [], []
    for folder in folders:
        clip = [
            _cutout(p, p.with_name(p.name.replace("_fgr.jpg", "_pha.png"))) for p in sorted(folder.glob("*_fgr.jpg"))
        ]
        if not clip:
            continue
        square = squared(clip)
        spans.append((len(frames), len(square)))
        tops.append(min(_top(c) for c in square))
        frames += square
    return frames, spans, tops


def squared(clip: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Returns frames of one clip (H, W, 4), wider than high, cut to a square of full height around the person."""
    height, width = clip[0].shape[:2]
    columns = np.flatnonzero(np.mean([c[..., 3] for c in clip], axis=0).max(axis=0) > 8)
    left = int(np.clip((columns[0] + columns[-1] - height) // 2, 0, width - height))
    cut = [np.ascontiguousarray(c[:, left : left + height]) for c in clip]
    return [cv2.resize(c, (SPRITE, SPRITE), interpolation=cv2.INTER_AREA).astype(np.uint8) for c in cut]


def _videos(paths: list[Path]) -> tuple[list[NDArray[np.uint8]], list[tuple[int, int]]]:
    """Every second frame of each clip at 256x144, and spans."""
    frames: list[NDArray[np.uint8]] = []
    spans = []
    for path in paths:
        capture = cv2.VideoCapture(str(path))
        start, index = len(frames), 0
        while capture.grab():
            if index % _VIDEO_STEP == 0:
                frames.append(_fill(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB).astype(np.uint8), 256, 144))
            index += 1
        capture.release()
        spans.append((start, len(frames) - start))
    return frames, spans


def _object(path: Path, index: int) -> NDArray[np.uint8]:
    """A thing to hold in front: a piece of a picture in a smooth random shape, RGBA [S,S,4]."""
    rng = np.random.default_rng(zlib.crc32(path.stem.encode()) + index)
    colour = _fill(_read(path), SPRITE, SPRITE)
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    power = rng.uniform(2, 8)  # from an ellipse to a rounded box
    radius = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
    radius *= 1 + rng.uniform(0, 0.15) * np.sin(rng.integers(2, 5) * angle + rng.uniform(0, 6))
    reach = 0.4 * SPRITE / radius.max() * np.array([rng.uniform(0.5, 1), rng.uniform(0.5, 1)])
    outline = SPRITE / 2 + np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None] * reach
    shape = np.zeros((SPRITE, SPRITE), np.uint8)
    cv2.fillPoly(shape, [outline.round().astype(np.int32)], 255, cv2.LINE_AA)
    soft = cv2.GaussianBlur(shape, (0, 0), 1.2)
    return np.dstack([colour, soft]).astype(np.uint8)


def _read(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SourceError(f"expected a picture at {path}, found none that can be read; copy the training data again")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8)


def _cutout(colour: Path, alpha: Path) -> NDArray[np.uint8]:
    matte = cv2.imread(str(alpha), cv2.IMREAD_GRAYSCALE)
    if matte is None:
        raise SourceError(f"expected a matte at {alpha}, found none that can be read; copy the training data again")
    return np.dstack([_read(colour), matte]).astype(np.uint8)


def _fill(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The middle of the picture with the wanted aspect ratio, resized."""
    h, w = picture.shape[:2]
    cut_w, cut_h = min(w, round(h * width / height)), min(h, round(w * height / width))
    left, top = (w - cut_w) // 2, (h - cut_h) // 2
    piece = picture[top : top + cut_h, left : left + cut_w]
    return cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _top(rgba: NDArray[np.uint8]) -> float:
    return int(np.flatnonzero((rgba[..., 3] > 127).any(axis=1))[0]) / len(rgba)


def _planar(pictures: list[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)))
