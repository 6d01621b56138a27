"""The way of users' own mattes into the pictures that clips are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.assets import LOOKS, SPRITE, Assets, squared
from training.data.footage import MatteClip

Pixels8 = NDArray[np.uint8]

_VISIBLE = 8  # of 255: what counts as part of a person


def with_mattes(assets: Assets, clips: Sequence[MatteClip], *, most_frames: int = 24) -> Assets:
    """Returns `assets` with further people: videos as moving cut-outs, pictures as still ones.

    Of a video the first `most_frames` frames are kept, 0.6 MB each; clips that show nobody are left out. The clip
    maker then harmonises, moves and degrades them with one set of parameters a clip, like its own.
    """
    sprites = [(clip.length, _sprites(clip, most_frames)) for clip in clips]
    videos = [frames for length, frames in sprites if length > 1 and frames]
    stills = [frames[0] for length, frames in sprites if length == 1 and frames]
    spans, start = [], len(assets.cutouts)
    for frames in videos:
        spans.append([start, len(frames)])
        start += len(frames)
    looks = [still for still in stills for _ in range(LOOKS)]  # no strands are drawn into real hair
    return replace(
        assets,
        people=_joined(assets.people, looks),
        people_top=_numbers(assets.people_top, [_top(look) for look in looks]),
        cutouts=_joined(assets.cutouts, [frame for frames in videos for frame in frames]),
        cutout_spans=torch.cat([assets.cutout_spans, torch.tensor(spans, dtype=torch.int64).reshape(-1, 2)]),
        cutout_top=_numbers(assets.cutout_top, [min(map(_top, frames)) for frames in videos]),
    )


def _sprites(clip: MatteClip, most: int) -> list[Pixels8]:
    """RGBA squares of the sprite's size; none where nobody is to be seen."""
    frames = [np.dstack([clip.colour(n), clip.alpha(n)]) for n in range(min(clip.length, most))]
    if max(int(frame[..., 3].max()) for frame in frames) <= _VISIBLE:
        return []
    squares = squared(_no_higher_than_wide(frames))
    shown = [square for square in squares if square[..., 3].max() > 127]
    if len(shown) < len(squares):
        return []  # a person who leaves would jump where the rest is joined
    for square in squares:
        square[:, [0, -1], 3] = 0  # nothing may be smeared sideways
    return squares


def _no_higher_than_wide(frames: list[Pixels8]) -> list[Pixels8]:
    """Portraits cut below: the square from a little above the head."""
    height, width = frames[0].shape[:2]
    if height <= width:
        return frames
    rows = np.flatnonzero(np.mean([frame[..., 3] for frame in frames], axis=0).max(axis=1) > _VISIBLE)
    first = int(np.clip(rows[0] - width // 20, 0, height - width))
    return [np.ascontiguousarray(frame[first : first + width]) for frame in frames]


def _top(sprite: Pixels8) -> float:
    return int(np.flatnonzero((sprite[..., 3] > 127).any(axis=1))[0]) / SPRITE


def _joined(sprites: Tensor, more: list[Pixels8]) -> Tensor:
    if not more:
        return sprites
    planar = torch.from_numpy(np.ascontiguousarray(np.stack(more).transpose(0, 3, 1, 2)))
    return torch.cat([sprites, planar.to(sprites.device)])


def _numbers(numbers: Tensor, more: list[float]) -> Tensor:
    return torch.cat([numbers, torch.tensor(more, device=numbers.device)])
