"""Footage with masks, and batches cut from it: one view a clip, flipped, reversed and sped up; stills are moved.

The motion of stills is RVM's (Lin et al. 2022): an eased affine path. Shapes: B clips, T frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.data.dice import Dice

_TRIES = 8  # at a first frame that shows the person
_SPARE = 1.5  # pixels kept for each that is sampled


@dataclass(frozen=True, slots=True, repr=False)
class MaskClip:
    """A clip or, of length 1, a picture: `frame(n)` is (H, W, 3) RGB, `mask(n)` (H, W) of 0 and 1, both uint8."""

    name: str
    length: int
    frame: Callable[[int], NDArray[np.uint8]]
    mask: Callable[[int], NDArray[np.uint8]]

    def __repr__(self) -> str:
        return f"MaskClip({self.name}, {self.length} frames)"


@dataclass(frozen=True, slots=True)
class Sampling:
    """What to cut: (height, width), frames, clips, and the most frames of the footage between two of a clip."""

    size: tuple[int, int]
    frames: int
    batch: int
    skip: int


def sample_masked(footage: Sequence[MaskClip], sampling: Sampling, dice: Dice, *, still: bool) -> tuple[Tensor, Tensor]:
    """Returns frames [B,T,3,H,W] and masks [B,T,1,H,W], float32 in 0..1; `still` repeats one frame and moves it."""
    clips = [_sampled(footage[dice.integer(0, len(footage) - 1)], sampling, dice, still) for _ in range(sampling.batch)]
    together = torch.stack(clips)
    return together[:, :, :3], (together[:, :, 3:] > 0.5).float()


def _sampled(clip: MaskClip, sampling: Sampling, dice: Dice, still: bool) -> Tensor:
    numbers = _first_shown(clip, sampling, dice, still)
    pictures = {n: _read(clip, n, sampling.size) for n in set(numbers)}
    stack = torch.stack([pictures[n] for n in numbers]).to(dice.device)
    view = _view(dice, stack[0, 3], sampling.size)
    views = view @ _motion(dice, sampling.frames) if still else view.expand(sampling.frames, 3, 3)
    grid = F.affine_grid(views[:, :2], [sampling.frames, 4, *sampling.size], align_corners=False)
    return F.grid_sample(stack, grid, padding_mode="reflection", align_corners=False)


def _first_shown(clip: MaskClip, sampling: Sampling, dice: Dice, still: bool) -> list[int]:
    """Frame numbers of one sample; the first of them shows the person if one of a few draws does."""
    for _ in range(_TRIES):
        numbers = _numbers(clip.length, sampling, dice, still)
        if clip.mask(numbers[0]).any():
            break
    return numbers


def _numbers(length: int, sampling: Sampling, dice: Dice, still: bool) -> list[int]:
    """A stretch of the clip, forwards or backwards; one too short for it turns round at its ends."""
    if still:
        return [dice.integer(0, length - 1)] * sampling.frames
    step = dice.integer(1, max(1, min(sampling.skip, (length - 1) // max(1, sampling.frames - 1))))
    start = dice.integer(0, max(0, length - 1 - step * (sampling.frames - 1)))
    period = max(1, 2 * (length - 1))
    places = [(start + step * k) % period for k in range(sampling.frames)]
    numbers = [min(place, period - place) for place in places]
    return numbers[::-1] if bool(dice.chance(1, 0.5)) else numbers


def _read(clip: MaskClip, number: int, size: tuple[int, int]) -> Tensor:
    """Picture and mask [4,h,w] in 0..1, no larger than they are needed."""
    picture = np.dstack([clip.frame(number), clip.mask(number) * np.uint8(255)])
    scale = _SPARE * max(size[0] / picture.shape[0], size[1] / picture.shape[1])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255


def _view(dice: Dice, mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A matrix [3,3] from the sample's place to the picture's: an undistorted part of it about the person."""
    height, width = mask.shape
    aspect = (size[1] / size[0]) / (width / height)
    share = dice.uniform(1, low=0.6, high=1.0)
    across, down = (share * min(aspect, 1.0), share * min(1 / aspect, 1.0))
    rows, columns = torch.nonzero(mask > 0.5, as_tuple=True)
    middle = torch.zeros(2, device=mask.device)
    if len(rows):
        middle = torch.stack([columns.float().mean() / width, rows.float().mean() / height]) * 2 - 1
    middle = middle + dice.normal(2, sigma=0.15)
    zero = torch.zeros(1, device=mask.device)
    x, y = middle[:1].clamp(across - 1, 1 - across), middle[1:].clamp(down - 1, 1 - down)
    last = torch.cat([zero, zero, zero + 1])
    flipped = across * dice.sign(1)
    return torch.stack([torch.cat([flipped, zero, x]), torch.cat([zero, down, y]), last])


def _motion(dice: Dice, frames: int) -> Tensor:
    """Matrices [T,3,3] of a path: rotation 10 degrees, shift 10 %, scale 0.9 to 1.1, shear 5 degrees at the most."""
    reach = torch.tensor([0.1745, 0.2, 0.2, 0.1, 0.0873], device=dice.device)
    start, end = dice.uniform(2, 5, low=-1.0) * reach
    time = torch.linspace(0, 1, frames, device=dice.device)
    eased = (time * time * (3 - 2 * time))[:, None]
    angle, x, y, scale, shear = torch.lerp(start, end, eased).unbind(1)
    size, zero = 1 + scale, torch.zeros_like(angle)
    across = torch.stack([size * angle.cos(), size * (shear - angle).sin(), x], 1)
    down = torch.stack([size * angle.sin(), size * angle.cos(), y], 1)
    last = torch.stack([zero, zero, zero + 1], 1)
    return torch.stack([across, down, last], 1)
