"""The sensory state: a recurrent map [B,C,h,w] of what the last frames looked like, and its two updates."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _gated(transform: nn.Module, new: Tensor, sensory: Tensor) -> Tensor:
    """Returns the next state. Both gates weaken the old one, so this is not the textbook GRU."""
    forget, update, candidate = transform(torch.cat([new, sensory], dim=1)).chunk(3, dim=1)
    update = update.sigmoid()
    after: Tensor = forget.sigmoid() * sensory * (1 - update) + update * candidate.tanh()
    return after


class DeepGate(nn.Module):
    """The update on remembered frames, from the frame's value."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        self.transform = nn.Conv2d(2 * channels, 3 * channels, 3, padding=1)

    def forward(self, value: Tensor, sensory: Tensor) -> Tensor:
        return _gated(self.transform, value, sensory)


class PyramidGate(nn.Module):
    """The update on every predicted frame: all decoder maps, averaged to tokens, enter the gate."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        self.g16_conv = nn.Conv2d(256, channels, 1)
        self.g8_conv = nn.Conv2d(128, channels, 1)
        self.g4_conv = nn.Conv2d(128, channels, 1)
        self.g2_conv = nn.Conv2d(64, channels, 1)
        self.g1_conv = nn.Conv2d(16 + 1, channels, 1)
        self.transform = nn.Conv2d(2 * channels, 3 * channels, 3, padding=1)

    def forward(self, pyramid: list[Tensor], raw: Tensor, sensory: Tensor) -> Tensor:
        """`pyramid` is the decoder's maps of stride 16, 8, 4, 2, 1; `raw` the head's output [B,1,H,W], unclamped."""
        p16, p8, p4, p2, p1 = pyramid
        finest = torch.cat([F.avg_pool2d(p1, 16), F.avg_pool2d(raw, 16)], dim=1)
        gathered = (
            self.g16_conv(p16)
            + self.g8_conv(F.avg_pool2d(p8, 2))
            + self.g4_conv(F.avg_pool2d(p4, 4))
            + self.g2_conv(F.avg_pool2d(p2, 8))
            + self.g1_conv(finest)
        )
        return _gated(self.transform, gathered, sensory)
