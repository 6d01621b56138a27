"""What the network sees: the picture's features and keys, and the value of a picture together with its alpha.

Residual trunks after He et al. 2016, cut at stride 16. B rows, (H, W) padded picture, (h, w) = (H/16, W/16).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtmatte.network.matanyone.fusion import FusionBlock
from rtmatte.network.matanyone.sensory import DeepGate


class Features(NamedTuple):
    """The picture at every scale; the number is the stride, `f1` the normalised picture itself."""

    f16: Tensor  # [B,1024,h,w]
    f8: Tensor  # [B,512,2h,2w]
    f4: Tensor  # [B,256,4h,4w]
    f2: Tensor  # [B,64,8h,8w]
    f1: Tensor  # [B,3,H,W]


class Keys(NamedTuple):
    """How a frame asks the memory and is found in it."""

    key: Tensor  # [B,64,h,w]
    shrinkage: Tensor  # [B,1,h,w], at least 1: how sharply a stored token is matched
    selection: Tensor  # [B,64,h,w] in 0..1: which channels a query compares


def _downsample(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """The shortcut's projection; none where the block keeps the shape."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class Bottleneck(nn.Module):
    """The residual block of ResNet-50: 1x1, 3x3 with the stride, 1x1; four times as wide outside as inside."""

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _downsample(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class BasicBlock(nn.Module):
    """The residual block of ResNet-18: two 3x3, the stride on the first."""

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


def _bottlenecks(count: int, inputs: int, width: int, stride: int) -> nn.Sequential:
    following = (Bottleneck(4 * width, width) for _ in range(count - 1))
    return nn.Sequential(Bottleneck(inputs, width, stride), *following)


def _basic_blocks(inputs: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inputs, width, stride), BasicBlock(width, width))


class PixelEncoder(nn.Module):
    """The ResNet-50 trunk of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.res2 = _bottlenecks(3, 64, 64, stride=1)
        self.layer2 = _bottlenecks(4, 256, 128, stride=2)
        self.layer3 = _bottlenecks(6, 512, 256, stride=2)

    def forward(self, image: Tensor) -> Features:
        """Returns the features of a normalised picture [B,3,H,W]."""
        f2 = F.relu(self.bn1(self.conv1(image)))
        f4 = self.res2(F.max_pool2d(f2, 3, 2, padding=1))
        f8 = self.layer2(f4)
        return Features(self.layer3(f8), f8, f4, f2, image)


class KeyProjection(nn.Module):
    """Key, shrinkage and selection, from a projection of their own."""

    def __init__(self, inputs: int = 1024, channels: int = 256, key_channels: int = 64) -> None:
        super().__init__()
        self.pix_feat_proj = nn.Conv2d(inputs, channels, 1)
        self.key_proj = nn.Conv2d(channels, key_channels, 3, padding=1)
        self.d_proj = nn.Conv2d(channels, 1, 3, padding=1)
        self.e_proj = nn.Conv2d(channels, key_channels, 3, padding=1)

    def forward(self, f16: Tensor) -> Keys:
        x = self.pix_feat_proj(f16)
        return Keys(self.key_proj(x), self.d_proj(x).square() + 1, self.e_proj(x).sigmoid())


class MaskEncoder(nn.Module):
    """The value of a frame: a ResNet-18 trunk over picture and alpha, joined with the pixel feature.

    `sensory_update` is the deep update of the sensory state, for frames that are remembered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _basic_blocks(64, 64, stride=1)
        self.layer2 = _basic_blocks(64, 128, stride=2)
        self.layer3 = _basic_blocks(128, 256, stride=2)
        self.fuser = FusionBlock(256)
        self.sensory_update = DeepGate(256)

    def forward(self, image: Tensor, alpha: Tensor, pix_feat: Tensor) -> Tensor:
        """Returns the value [B,256,h,w] of a normalised picture [B,3,H,W] with its alpha [B,1,H,W]."""
        x = self.bn1(self.conv1(torch.cat([image, alpha], dim=1)))
        x = F.relu(F.max_pool2d(x, 3, 2, padding=1))
        value: Tensor = self.fuser(pix_feat, self.layer3(self.layer2(self.layer1(x))))
        return value
