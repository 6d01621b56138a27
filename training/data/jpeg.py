"""JPEG's losses, batched: 4:2:0 chroma and quantised 8x8 cosine blocks (ITU-T T.81 annexes A and K.1)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_LUMA = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
_CHROMA = """17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"""
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def jpeg(pictures: Tensor, quality: Tensor) -> Tensor:
    """Pictures RGB [n, 3, H, W] in 0..1 as they come back from JPEG at `quality` [n], 1..100; any H and W."""
    height, width = pictures.shape[-2:]
    pad_y, pad_x = -height % 16, -width % 16
    if pad_y or pad_x:
        pictures = F.pad(pictures, (0, pad_x, 0, pad_y), mode="replicate")
    matrix = torch.tensor(_TO_YCC, device=pictures.device)
    ycc = torch.matmul(matrix, pictures.flatten(2)).reshape(pictures.shape).mul_(255)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    luma = _quantised(ycc[:, :1] - 128, _table(_LUMA, scale)) + 128
    chroma = _quantised(F.avg_pool2d(ycc[:, 1:], 2), _table(_CHROMA, scale))
    ycc = torch.cat([luma, F.interpolate(chroma, scale_factor=2, mode="bilinear")], 1)
    rgb = torch.matmul(torch.linalg.inv(matrix), ycc.flatten(2)).reshape(ycc.shape)
    return rgb[..., :height, :width].mul(1 / 255).clamp_(0, 1)


def _table(text: str, scale: Tensor) -> Tensor:
    base = torch.tensor([float(step) for step in text.split()], device=scale.device)
    return (base * scale[:, None]).round_().clamp_(1, 255)


def _quantised(planes: Tensor, steps: Tensor) -> Tensor:
    """Planes [n, c, h, w] after quantising their 8x8 cosine blocks by `steps` [n, 64]."""
    n, c, height, width = planes.shape
    k = torch.arange(8, device=planes.device, dtype=torch.float32)
    basis = torch.cos((2 * k + 1) * k[:, None] * math.pi / 16) * 0.5
    basis[0] *= 2**-0.5
    block = torch.kron(basis, basis)  # [64, 64], orthonormal
    cells = planes.reshape(n, c, height // 8, 8, width // 8, 8).transpose(3, 4).reshape(n, -1, 64)
    waves = cells @ block.T
    waves = torch.div(waves, steps[:, None]).round_().mul_(steps[:, None])
    cells = waves @ block
    return cells.reshape(n, c, height // 8, width // 8, 8, 8).transpose(3, 4).reshape(planes.shape)
