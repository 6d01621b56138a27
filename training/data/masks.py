"""First masks as users and segmenters give them: too wide, too narrow, coarse, or with a part missing."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.dice import Dice

_MOST_PIXELS = 7  # of growth or shrinkage, in a frame of 192 rows or more


def given_mask(alpha: Tensor, dice: Dice, *, rough: float = 0.0, limbless: float = 0.0) -> Tensor:
    """A degraded 0/1 mask (sometimes soft) [n, 1, H, W] of `alpha` [n, 1, H, W]; never much smaller than the person.

    A share `rough` of them are polygons of few corners, as one draws with a dozen clicks; of the rest a share
    `limbless` has lost hands and arms, or some of them, as segmenters lose them.
    """
    n, _, height, width = alpha.shape
    true = (alpha > 0.5).float()
    mask = torch.where(_column(dice.chance(n, 0.25)), _coarse(true, dice), true)
    mask = _regrown(mask, dice)
    if limbless > 0:
        mask = torch.where(_column(dice.chance(n, limbless)), _without_limbs(mask, dice), mask)
    if rough > 0:
        mask = torch.where(_column(dice.chance(n, rough)), _polygons(true, dice), mask)
    mask = torch.where(_column(dice.chance(n, 0.12)), _with_part_missing(mask, dice, height, width), mask)
    kept = (mask * true).sum((1, 2, 3)) > 0.5 * true.sum((1, 2, 3))
    mask = torch.where(_column(kept), mask, true)
    return torch.where(_column(dice.chance(n, 0.1)), alpha, mask)


def _column(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)


def _regrown(mask: Tensor, dice: Dice) -> Tensor:
    """Each mask dilated or eroded by its own number of pixels; a third stay as they are."""
    n, height = len(mask), mask.shape[-2]
    most = max(1, round(_MOST_PIXELS * min(1.0, height / 192)))
    radius = dice.integers(n, low=-most, high=most) * ~dice.chance(n, 0.3)
    wide, narrow, out = mask, mask, mask
    for step in range(1, most + 1):
        wide = F.max_pool2d(wide, 3, 1, 1)
        narrow = -F.max_pool2d(-narrow, 3, 1, 1)
        out = torch.where(_column(radius == step), wide, torch.where(_column(radius == -step), narrow, out))
    return out


def _coarse(mask: Tensor, dice: Dice) -> Tensor:
    """Masks drawn at a low resolution: straight pieces of outline, fingers lost."""
    size = (mask.shape[-2], mask.shape[-1])
    cells = dice.integer(10, 28)
    small = F.adaptive_avg_pool2d(mask, (cells, max(round(cells * size[1] / size[0]), 4)))
    return (F.interpolate(small, size, mode="bilinear") > 0.5).float()


def _polygons(mask: Tensor, dice: Dice) -> Tensor:
    """Masks drawn as the largest outline through 8 to 24 of its points, evenly spread from a random one on."""
    filled = np.zeros((len(mask), *mask.shape[-2:]), np.float32)
    corners = dice.integers(len(mask), low=8, high=24).tolist()
    starts = dice.uniform(len(mask)).tolist()
    for shape, drawn, count, start in zip((mask[:, 0] > 0.5).cpu().numpy(), filled, corners, starts, strict=True):
        outlines, _ = cv2.findContours(shape.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if outlines:
            outline = max(outlines, key=cv2.contourArea)
            chosen = (np.arange(count) + start) * len(outline) / count
            cv2.fillPoly(drawn, [outline[chosen.astype(int) % len(outline)]], 1.0)
    return torch.from_numpy(filled).to(mask)[:, None]


def _without_limbs(mask: Tensor, dice: Dice) -> Tensor:
    """Masks without what is narrower than a twentieth to an eighth of their height, half of them on one side only."""
    opened = np.zeros((len(mask), *mask.shape[-2:]), np.uint8)
    share = dice.uniform(len(mask), low=0.05, high=0.13).tolist()
    for shape, left, part in zip((mask[:, 0] > 0.5).cpu().numpy(), opened, share, strict=True):
        rows = np.flatnonzero(shape.any(1))
        across = 2 * round(part * len(rows) / 2) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across))
        # a body goes on beyond the frame: what lies at its edge is not narrow
        around = cv2.copyMakeBorder(shape.astype(np.uint8), *4 * (across,), cv2.BORDER_REPLICATE)
        left[:] = cv2.morphologyEx(around, cv2.MORPH_OPEN, disc)[across:-across, across:-across]
    x = torch.arange(mask.shape[-1], device=mask.device) / mask.shape[-1]
    middle = (mask * x).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)
    beyond = (x - _column(middle)) * _column(dice.sign(len(mask))) > 0
    spared = beyond & _column(dice.chance(len(mask), 0.5))
    return torch.where(spared, mask, torch.from_numpy(opened).to(mask)[:, None])


def _with_part_missing(mask: Tensor, dice: Dice, height: int, width: int) -> Tensor:
    """Masks without what lies in one random tilted oval."""
    n = len(mask)
    y = torch.linspace(0, 1, height, device=mask.device)[:, None] - dice.uniform(n, 1, 1)
    x = torch.linspace(0, 1, width, device=mask.device) - dice.uniform(n, 1, 1)
    tilt = dice.uniform(n, 1, 1, low=-1.0)
    reach = dice.uniform(n, 2, 1, 1, low=0.06, high=0.18)
    oval = ((x + tilt * y) / reach[:, 0]) ** 2 + ((y - tilt * x) / reach[:, 1]) ** 2 < 1
    return mask * ~oval[:, None]
