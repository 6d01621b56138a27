"""Blocks that join feature maps: channel-attention residuals, the two-input fusion and the pixel fuser.

B rows, C channels, maps of (h, w) tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelAttentionBlock(nn.Module):
    """A residual block whose branch is weighted per channel by what the neighbouring channels hold on average."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv = nn.Conv1d(1, 1, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv2(F.relu(self.conv1(F.relu(x))))
        # Channels laid out as the width of a picture: a plain 2-D convolution in every runtime.
        mean_B11C = branch.mean(dim=(2, 3))[:, None, None]
        weight = F.conv2d(mean_B11C, self.conv.weight[:, :, None], padding=(0, 2)).sigmoid()
        weighted: Tensor = branch * weight.transpose(1, 3)
        return weighted + x


class Distributor(nn.Module):
    """The sum of two maps, each after its own projection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.x_transform = nn.Conv2d(channels, channels, 1)
        self.g_transform = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        joined: Tensor = self.x_transform(x) + self.g_transform(g)
        return joined


class FusionBlock(nn.Module):
    """Joins what the picture shows (`x`) with what is known of the target (`g`)."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        self.distributor = Distributor(channels)
        self.block1 = ChannelAttentionBlock(channels)
        self.block2 = ChannelAttentionBlock(channels)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        fused: Tensor = self.block2(self.block1(self.distributor(x, g)))
        return fused


class PixelFuser(nn.Module):
    """Joins the remembered value, the sensory state and the last alpha with the pixel feature."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        self.fuser = FusionBlock(channels)
        self.sensory_compress = nn.Conv2d(channels + 1, channels, 1)

    def forward(self, pix_feat: Tensor, value: Tensor, sensory: Tensor, last_alpha: Tensor) -> Tensor:
        """Returns the fused map [B,C,h,w]; `last_alpha` is [B,1,h,w]."""
        remembered = value + self.sensory_compress(torch.cat([sensory, last_alpha], dim=1))
        fused: Tensor = self.fuser(pix_feat, remembered)
        return fused
