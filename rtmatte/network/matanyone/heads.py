"""Heads that only a trainer uses: logits from the sensory state, and the log-odds step its auxiliary losses share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SensoryHead(nn.Module):
    """One logit per token: the sensory state says how to weigh the pixel feature's channels."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, channels + 1, 1)

    def forward(self, sensory: Tensor, pix_feat: Tensor) -> Tensor:
        """Returns logits [B,1,h,w] of maps [B,C,h,w]."""
        projected: Tensor = self.projection(sensory)
        return (projected[:, :-1] * pix_feat).sum(dim=1, keepdim=True) + projected[:, -1:]


class AuxComputer(nn.Module):
    """Holds the sensory head under the name the released files give it."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        self.sensory_aux = SensoryHead(channels)


def class_probabilities(logits: Tensor) -> Tensor:
    """Returns probabilities [B,1+N,...], background first, of the logits [B,N,...] of N objects.

    The background is what no object claims; all are compared by their log-odds, clamped to 1e-7.
    """
    objects = logits.sigmoid()
    background = (1 - objects).prod(dim=1, keepdim=True)
    p = torch.cat([background, objects], dim=1).clamp(1e-7, 1 - 1e-7)
    return (p / (1 - p)).log().softmax(dim=1)
