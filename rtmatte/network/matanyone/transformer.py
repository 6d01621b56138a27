"""The object transformer: 16 queries, started from the object memory, look at the fused map and it looks at them.

B rows, Q queries (8 of the foreground, 8 of the background), P tokens, C = 256 channels. The queries' mask is dense:
no index is computed from data, so that the graph has static shapes throughout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtmatte.network.matanyone.fusion import ChannelAttentionBlock
from rtmatte.network.matanyone.tokens import PositionalEncoding, to_map, to_tokens

QUERIES = 16
BLOCKS = 3


class Attention(nn.Module):
    """Multi-head attention with one packed projection (Vaswani et al. 2017), written out for export."""

    def __init__(self, channels: int = 256, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None) -> Tensor:
        """Returns [B,Q,C]; `blocked` [B,Q,P] marks what a query may not look at, never everything."""
        q, k, v = (self._projected(x, part) for part, x in enumerate((query, key, value)))
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if blocked is not None:
            scores = torch.where(blocked[:, None], torch.finfo(scores.dtype).min, scores)
        read: Tensor = self.out_proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
        return read

    def _projected(self, x: Tensor, part: int) -> Tensor:
        """Returns [B,heads,Q,C/heads] of the packed projection's part 0, 1 or 2."""
        rows, queries, channels = x.shape
        cut = slice(part * channels, (part + 1) * channels)
        x = F.linear(x, self.in_proj_weight[cut], self.in_proj_bias[cut])
        return x.reshape(rows, queries, self.heads, channels // self.heads).transpose(1, 2)


class ReadFromPixel(nn.Module):
    """Queries look at the tokens they are allowed. The shortcut starts from the normalised queries."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cross_attn: nn.Module = Attention(channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, query: Tensor, query_pe: Tensor, pixel: Tensor, pixel_pe: Tensor, blocked: Tensor) -> Tensor:
        x: Tensor = self.norm(query)
        seen: Tensor = self.cross_attn(x + query_pe, pixel + pixel_pe, pixel, blocked)
        return x + seen


class SelfAttention(nn.Module):
    """Queries look at each other. The shortcut starts from the normalised queries."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.self_attn = Attention(channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, query: Tensor, query_pe: Tensor) -> Tensor:
        x: Tensor = self.norm(query)
        seen: Tensor = self.self_attn(x + query_pe, x + query_pe, x)
        return x + seen


class FeedForward(nn.Module):
    """Each query by itself. The shortcut starts from the queries as they are."""

    def __init__(self, channels: int, inside: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, inside)
        self.linear2 = nn.Linear(inside, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, query: Tensor) -> Tensor:
        branch: Tensor = self.linear2(F.relu(self.linear1(self.norm(query))))
        return query + branch


class ReadFromQuery(nn.Module):
    """Every token looks at all queries, without a norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cross_attn: nn.Module = Attention(channels)

    def forward(self, pixel: Tensor, pixel_pe: Tensor, query: Tensor, query_pe: Tensor) -> Tensor:
        seen: Tensor = self.cross_attn(pixel + pixel_pe, query + query_pe, query)
        return pixel + seen


class PixelFeedForward(nn.Module):
    """A channel-attention block over the tokens as a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ChannelAttentionBlock(channels)

    def forward(self, pixel: Tensor, height: int, width: int) -> Tensor:
        """Returns the map [B,C,h,w]."""
        joined: Tensor = self.conv(to_map(pixel, height, width))
        return joined


class QueryBlock(nn.Module):
    """One exchange between queries and tokens."""

    def __init__(self, channels: int, inside: int) -> None:
        super().__init__()
        self.read_from_pixel = ReadFromPixel(channels)
        self.self_attn = SelfAttention(channels)
        self.ffn = FeedForward(channels, inside)
        self.read_from_query = ReadFromQuery(channels)
        self.pixel_ffn = PixelFeedForward(channels)

    def forward(
        self, query: Tensor, query_pe: Tensor, pixel_map: Tensor, pixel_pe: Tensor, blocked: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the next queries [B,Q,C] and map [B,C,h,w]."""
        height, width = pixel_map.shape[-2:]
        pixel = to_tokens(pixel_map)
        query = self.read_from_pixel(query, query_pe, pixel, pixel_pe, blocked)
        query = self.ffn(self.self_attn(query, query_pe))
        pixel = self.read_from_query(pixel, pixel_pe, query, query_pe)
        return query, self.pixel_ffn(pixel, height, width)


def _blocked(foreground_logits: Tensor) -> Tensor:
    """Returns [B,Q,P]: the first half of the queries sees the foreground only, the other half the background only.

    A query that would see nothing sees everything. The probability is compared, not its logit: both sides of a tie
    round as in the reference.
    """
    foreground_B1P = foreground_logits.sigmoid().flatten(2) >= 0.5
    half = (-1, QUERIES // 2, -1)
    blocked = torch.cat([(~foreground_B1P).expand(half), foreground_B1P.expand(half)], dim=1)
    return blocked & ~blocked.all(dim=-1, keepdim=True)


class ObjectTransformer(nn.Module):
    """Turns the fused map into the memory readout, guided by what the target looked like so far."""

    def __init__(self, channels: int = 256, inside: int = 2048) -> None:
        super().__init__()
        self.query_init = nn.Embedding(QUERIES, channels)
        self.query_emb = nn.Embedding(QUERIES, channels)
        self.summary_to_query_init = nn.Linear(channels, channels)
        self.summary_to_query_emb = nn.Linear(channels, channels)
        self.pixel_init_proj = nn.Conv2d(channels, channels, 1)
        self.pixel_emb_proj = nn.Conv2d(channels, channels, 1)
        self.spatial_pe = PositionalEncoding(channels)
        self.blocks = nn.ModuleList(QueryBlock(channels, inside) for _ in range(BLOCKS))
        self.mask_pred = nn.ModuleList(nn.Sequential(nn.ReLU(), nn.Conv2d(channels, 1, 1)) for _ in range(BLOCKS + 1))

    def forward(self, fused: Tensor, object_memory: Tensor, position_PC: Tensor) -> Tensor:
        """Returns the memory readout [B,C,h,w] of a fused map [B,C,h,w].

        `object_memory` [B,Q,C+1] holds weighted sums and, last, the sum of the weights; `position_PC` is
        `spatial_pe.table(h, w)`.
        """
        return self._exchange(fused, object_memory, position_PC)[0]

    def with_logits(self, fused: Tensor, object_memory: Tensor, position_PC: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the memory readout and, for training, the foreground logits [B,4,h,w] before and after the blocks."""
        readout, logits = self._exchange(fused, object_memory, position_PC)
        return readout, torch.cat([*logits, self.mask_pred[BLOCKS](readout)], dim=1)

    def _exchange(self, fused: Tensor, object_memory: Tensor, position_PC: Tensor) -> tuple[Tensor, list[Tensor]]:
        seen = (object_memory[..., :-1] / (object_memory[..., -1:] + 1e-4)).to(fused.dtype)
        query = self.query_init.weight + self.summary_to_query_init(seen)
        query_pe = self.query_emb.weight + self.summary_to_query_emb(seen)
        pixel_pe = position_PC + to_tokens(self.pixel_emb_proj(fused))
        pixel = self.pixel_init_proj(fused)
        logits = []
        for block, predict in zip(self.blocks, self.mask_pred, strict=False):
            logits.append(predict(pixel))
            query, pixel = block(query, query_pe, pixel, pixel_pe, _blocked(logits[-1]))
        return pixel, logits
