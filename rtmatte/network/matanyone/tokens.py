"""Maps and tokens: the same features as [B,C,h,w] or, row by row, as [B,P,C] with P = h*w; and where a token is."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def to_tokens(map_BChw: Tensor) -> Tensor:
    """Returns a map as tokens [B,P,C], row-major."""
    return map_BChw.flatten(2).transpose(1, 2)


def to_map(tokens_BPC: Tensor, height: int, width: int) -> Tensor:
    """Returns tokens as a map [B,C,h,w]."""
    rows, _, channels = tokens_BPC.shape
    return tokens_BPC.transpose(1, 2).reshape(rows, channels, height, width)


class PositionalEncoding(nn.Module):
    """Sines and cosines of the column (first half of the channels) and of the row (second half).

    Depends on the size of the map only: whoever knows the size calls `table` once and keeps it as a constant.
    """

    inv_freq: Tensor

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        per_axis = channels // 2
        exponent = torch.arange(0, per_axis, 2, dtype=torch.float32) / per_axis
        self.register_buffer("inv_freq", 1.0 / per_axis**exponent)

    def table(self, height: int, width: int) -> Tensor:
        """Returns the encoding of every token of an (h, w) map, [P,C] in float32."""
        columns = self._axis(width).expand(height, width, -1)
        rows = self._axis(height)[:, None].expand(height, width, -1)
        return torch.cat([columns, rows], dim=-1).flatten(0, 1)

    def _axis(self, length: int) -> Tensor:
        """Returns [length, channels / 2]: positions scaled to 0..32, sine and cosine interleaved."""
        position = torch.arange(length, dtype=torch.float32, device=self.inv_freq.device) / (length - 1 + 1e-6) * 32
        angle = position[:, None] * self.inv_freq.float()
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
