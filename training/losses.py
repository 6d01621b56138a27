"""What a matte is trained against. Every function takes float32 and returns a scalar, the mean over what it covers.

Shapes: B clips, T frames, H x W pixels; alphas are [B,T,1,H,W]. Raw alphas are not clamped.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def one_sided(raw: Tensor, truth: Tensor) -> Tensor:
    """Returns `raw` where it counts: below 0 is as good as 0 where the truth is 0, above 1 as good as 1 where it is 1.

    The ends of a clamped output then need no precision, which keeps haze away without a sigmoid's flat slopes.
    """
    return torch.where(truth <= 0, raw.clamp(min=0), torch.where(truth >= 1, raw.clamp(max=1), raw))


@torch.no_grad()
def edge_band(truth: Tensor) -> Tensor:
    """Returns 1 within 4 to 8 pixels of an edge of the truth, 0 elsewhere.

    Found on 4x4 cells: a max-pool at full size took an eighth of a training step.
    """
    mean = F.avg_pool2d(truth.flatten(0, 1), 4)
    edge = ((mean > 0.02) & (mean < 0.98)) | ((mean - F.avg_pool2d(mean, 3, 1, 1)).abs() > 0.02)
    band = F.max_pool2d(edge.float(), 3, 1, 1)
    return F.interpolate(band, size=truth.shape[-2:], mode="nearest").view_as(truth)


def weighted_l1(value: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Returns the mean of |value - truth| x weight."""
    return ((value - truth).abs() * weight).mean()


def squared(value: Tensor, truth: Tensor) -> Tensor:
    """Returns the mean squared error: few large errors, an arm or a second person, count more than a soft edge."""
    return (value - truth).square().mean()


def laplacian(value: Tensor, truth: Tensor, levels: int = 4) -> Tensor:
    """Returns the L1 distance of Laplacian pyramids, level i weighted by 2^i and divided by the number of levels."""
    difference = (value - truth).flatten(0, 1)
    total = difference.new_zeros(())
    for level in range(levels):
        if min(difference.shape[-2:]) < 4:
            break
        smaller = F.avg_pool2d(difference, 2)
        back = F.interpolate(smaller, size=difference.shape[-2:], mode="bilinear", align_corners=False)
        total = total + (difference - back).abs().mean() * 2**level
        difference = smaller
    return total / levels


def temporal(value: Tensor, truth: Tensor) -> Tensor:
    """Returns the mean squared difference of the changes from frame to frame (temporal coherence)."""
    if value.shape[1] < 2:
        return value.new_zeros(())
    error = value - truth
    return (error[:, 1:] - error[:, :-1]).square().mean()


def cells(truth: Tensor, size: int) -> Tensor:
    """Returns the mean alpha of every `size` x `size` cell, [B,T,1,H/size,W/size]."""
    batch, frames = truth.shape[:2]
    mean = F.avg_pool2d(truth.flatten(0, 1), size)
    return mean.view(batch, frames, *mean.shape[1:])


def logits_against(logits: Tensor, truth: Tensor) -> Tensor:
    """Returns the binary cross-entropy of logits against soft truth."""
    return F.binary_cross_entropy_with_logits(logits, truth)


def probability_against(probability: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Returns the weighted binary cross-entropy of a probability, its ends softened by 1 %."""
    soft = probability.clamp(0, 1) * 0.98 + 0.01
    return F.binary_cross_entropy(soft, truth, weight=weight.expand_as(truth))


def changed(truth: Tensor, threshold: float = 0.02) -> Tensor:
    """Returns 1 where any alpha in a 16x16 cell changed by more than `threshold` since the frame before.

    [B,T-1,1,h,w]: the target of the change probability U.
    """
    batch, frames = truth.shape[:2]
    moved = (truth[:, 1:] - truth[:, :-1]).abs().flatten(0, 1)
    cell = (F.max_pool2d(moved, 16) > threshold).float()
    return cell.view(batch, frames - 1, *cell.shape[1:])
