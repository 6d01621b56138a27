"""Attention between few queries and many tokens with half to compute, and the same function, for inference.

With (x A)(y B)^T = (x A B^T) y^T a projection can be made on either side of a product. `Attention` projects everything
it is given; of the object transformer's 16 queries and its hundreds of tokens, these two project the queries only, and
never part the tokens' channels into heads. Head by head, rows of a softmax sum to 1: a bias of the keys changes
nothing, and one of the values comes through as it is.

B rows, H heads of d channels each, Q queries, P tokens, C = H*d channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtmatte.network.matanyone.transformer import Attention


class _ByHead(nn.Module):
    """The projections of an `Attention`, that of the query with the scale of the products in it."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.heads
        channels = attention.out_proj.in_features
        scale = (channels // self.heads) ** -0.5
        query, key, value = attention.in_proj_weight.detach().reshape(3, channels, channels)
        query_bias, _, value_bias = attention.in_proj_bias.detach().reshape(3, channels)
        self.query, self.query_bias = nn.Parameter(query * scale), nn.Parameter(query_bias * scale)
        self.key = nn.Parameter(key.clone())
        self.value, self.value_bias = nn.Parameter(value.clone()), nn.Parameter(value_bias.clone())
        self.out_proj = attention.out_proj

    def _of_each(self, weight: Tensor) -> Tensor:
        """Returns a projection's rows, [C,X], by the head that they lead to, [H,d,X]."""
        return weight.reshape(self.heads, -1, weight.shape[1])

    def _in_heads(self, x_BQC: Tensor) -> Tensor:
        """Returns [B,H,Q,d]."""
        rows, queries, _ = x_BQC.shape
        return x_BQC.reshape(rows, queries, self.heads, -1).transpose(1, 2)


class FromFew(_ByHead):
    """An `Attention` of few queries over many tokens; takes and gives what that does."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None) -> Tensor:
        by_head = (len(query), self.heads, query.shape[1], -1)
        asked_BHQC = self._in_heads(F.linear(query, self.query, self.query_bias)) @ self._of_each(self.key)
        scores_BHQP = (asked_BHQC.flatten(1, 2) @ key.transpose(1, 2)).reshape(by_head)
        if blocked is not None:
            scores_BHQP = torch.where(blocked[:, None], torch.finfo(scores_BHQP.dtype).min, scores_BHQP)
        read_BHQC = (scores_BHQP.softmax(dim=-1).flatten(1, 2) @ value).reshape(by_head)
        read_BHQd = read_BHQC @ self._of_each(self.value).transpose(1, 2)
        read: Tensor = self.out_proj(read_BHQd.transpose(1, 2).flatten(2) + self.value_bias)
        return read


class OverFew(_ByHead):
    """An `Attention` of many tokens over few keys; takes and gives what that does, but for what is blocked."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        rows, tokens, _ = query.shape
        key_BHQd = self._in_heads(F.linear(key, self.key))
        known_BHQC = key_BHQd @ self._of_each(self.query)
        always_BHQ1 = key_BHQd @ self._of_each(self.query_bias[:, None])
        scores_BPX = query @ known_BHQC.flatten(1, 2).transpose(1, 2) + always_BHQ1.reshape(rows, 1, -1)
        weights_BPHQ = scores_BPX.reshape(rows, tokens, self.heads, -1).softmax(dim=-1)
        value_BHQd = self._in_heads(F.linear(value, self.value, self.value_bias))
        shown_BHQC = value_BHQd @ self._of_each(self.out_proj.weight.transpose(0, 1))
        return weights_BPHQ.flatten(2) @ shown_BHQC.flatten(1, 2) + self.out_proj.bias
