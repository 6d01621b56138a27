"""Segmentation losses: cross-entropy and dice where the network is unsure, as in PointRend (Kirillov et al. 2020).

Shapes: B clips, T frames, P points of a frame; logits and masks are [B,T,1,H,W], masks 0..1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

OVERSAMPLED = 3  # points drawn for each that is used
UNSURE = 0.75  # share of the points that are the least sure of those drawn; the others are anywhere
FIRST_FRAME = 5.0


@torch.no_grad()
def unsure_points(logits: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Returns `count` places [B*T,1,P,2] for `grid_sample`, most of them where the logits are nearest to 0."""
    maps = logits.flatten(0, 1)
    frames = len(maps)

    def anywhere(number: int) -> Tensor:
        return torch.rand(frames, number, 2, generator=generator).to(logits) * 2 - 1

    drawn = anywhere(count * OVERSAMPLED)
    doubt = -F.grid_sample(maps, drawn[:, None], align_corners=False)[:, 0, 0].abs()
    least_sure = doubt.topk(round(count * UNSURE), dim=1).indices
    chosen = drawn.gather(1, least_sure[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, anywhere(count - chosen.shape[1])], dim=1)[:, None]


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Returns the values [B,T,P] of maps [B,T,1,H,W] at `points`, bilinear."""
    seen = F.grid_sample(maps.flatten(0, 1).float(), points.float(), align_corners=False)
    return seen[:, 0, 0].view(*maps.shape[:2], -1)


def cross_entropy(logits_BTP: Tensor, truth_BTP: Tensor) -> Tensor:
    """Returns the binary cross-entropy, the mean over all points, the first frame's counted 5 times."""
    per_frame = F.binary_cross_entropy_with_logits(logits_BTP, truth_BTP, reduction="none").mean(2)
    return _first_frame_heavy(per_frame)


def dice(logits_BTP: Tensor, truth_BTP: Tensor) -> Tensor:
    """Returns 1 - 2 |p t| / (|p| + |t|) (Milletari et al. 2016), the first frame's counted 5 times.

    One is added above and below: an empty truth costs nothing where nothing is found.
    """
    probability = logits_BTP.sigmoid()
    common = 2 * (probability * truth_BTP).sum(2) + 1
    return _first_frame_heavy(1 - common / (probability.sum(2) + truth_BTP.sum(2) + 1))


def _first_frame_heavy(per_frame_BT: Tensor) -> Tensor:
    weight = torch.ones_like(per_frame_BT[0])
    weight[0] = FIRST_FRAME
    return (per_frame_BT * weight).mean()
