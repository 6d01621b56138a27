"""The memory: reading the bank by similarity, and telling where to trust it more than the last frame.

B rows, T slots, P tokens of one frame, Q of them asked at a time, N = T*P tokens of the bank.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtmatte.network.matanyone.encoder import Keys
from rtmatte.network.matanyone.tokens import to_map, to_tokens

Read = Literal["topk", "full"]

TOP_K = 30
UNREACHABLE = -1e30  # a similarity: its share of a softmax is 0, and what is added to it is lost

# Similarities held at a time: a whole frame's at 1280x720 with five slots (259 MB), a fifth of one's at 1920x1080.
MOST_SIMILARITIES = 2**26


class Bank(NamedTuple):
    """The remembered frames of every row, one a slot."""

    key: Tensor  # [B,T,P,64]
    shrinkage: Tensor  # [B,T,P]
    value: Tensor  # [B,T,P,256]
    valid: Tensor  # [B,T] 1 where the slot holds a frame


class MemoryReader(nn.Module):
    """Reads the bank: each token of the frame gets the values of the stored tokens most similar to it.

    `read="topk"` keeps the `top_k` best of the bank, as the authors do; `"full"` is a softmax over all of it.
    Similarities and their softmax are float32 whatever the rest is: in half precision distant keys lose their order.
    """

    def __init__(self, read: Read = "topk", top_k: int = TOP_K) -> None:
        super().__init__()
        self.read = read
        self.top_k = top_k

    def forward(self, keys: Keys, bank: Bank) -> Tensor:
        """Returns the values read [B,256,h,w]; finite (zero) in a row with no valid slot."""
        height, width = keys.key.shape[-2:]
        query_BPC = _query(to_tokens(keys.key).float(), to_tokens(keys.selection).float())
        value_BNC = torch.where(bank.valid[:, :, None, None] > 0.5, bank.value, 0).flatten(1, 2)
        rows, tokens = query_BPC.shape[:2]
        pieces = math.ceil(rows * tokens * value_BNC.shape[1] / MOST_SIMILARITIES)
        remembered = _remembered(bank)
        weigh = self._best if self.read == "topk" else self._all
        read = [
            weigh(query @ remembered).to(value_BNC.dtype) @ value_BNC
            for query in torch.split(query_BPC, math.ceil(tokens / pieces), dim=1)
        ]
        return to_map(torch.cat(read, dim=1), height, width)

    def _best(self, similarity_BQN: Tensor) -> Tensor:
        best, index = similarity_BQN.topk(self.top_k, dim=-1)
        return torch.zeros_like(similarity_BQN).scatter(-1, index, best.softmax(dim=-1))

    def _all(self, similarity_BQN: Tensor) -> Tensor:
        return similarity_BQN.softmax(dim=-1)


def _query(key_BPC: Tensor, selection_BPC: Tensor) -> Tensor:
    """Returns the frame's side [B,P,2*64+2] of the product that is the similarity."""
    weighted = selection_BPC * key_BPC
    square = (weighted * key_BPC).sum(-1, keepdim=True)
    return torch.cat([selection_BPC, weighted, square, torch.ones_like(square)], dim=-1)


def _remembered(bank: Bank) -> Tensor:
    """Returns the bank's side [B,2*64+2,N]: with `_query`, minus the selection-weighted squared distance times the
    stored token's shrinkage over sqrt(64). The square is multiplied out, so that it is one matrix product.

    Tokens of invalid slots are out of reach, whatever these hold; where no slot is valid all are alike, and a softmax
    is finite even so.
    """
    used_BT11 = bank.valid[:, :, None, None] > 0.5
    key_BNC = torch.where(used_BT11, bank.key, 0).flatten(1, 2).float()
    shrinkage_BN1 = torch.where(used_BT11, bank.shrinkage[..., None], 8).flatten(1, 2)
    hidden_BN1 = torch.where(used_BT11, 0.0, UNREACHABLE).expand(*bank.shrinkage.shape, 1).flatten(1, 2)
    terms = torch.cat([-key_BNC.square(), 2 * key_BNC, -torch.ones_like(hidden_BN1), hidden_BN1], dim=-1)
    return (terms * (shrinkage_BN1 / 8)).transpose(1, 2)


class ChangePredictor(nn.Module):
    """How likely each token has changed since the last frame, 0..1: near 1 trust the memory, near 0 the last value."""

    def __init__(self, inputs: int = 2 * 256 + 1 + 256) -> None:
        super().__init__()
        self.conv1x1_v2 = nn.Conv2d(inputs, 64, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv3x3 = nn.Conv2d(64, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3x3_out = nn.Conv2d(32, 1, 3, padding=1, bias=False)

    def forward(self, last_pix_feat: Tensor, pix_feat: Tensor, last_alpha: Tensor, value_change: Tensor) -> Tensor:
        """Returns [B,1,h,w]; `value_change` is the value read minus the last value."""
        x = torch.cat([last_pix_feat, pix_feat, last_alpha, value_change], dim=1)
        x = F.relu(self.bn1(self.conv1x1_v2(x)))
        x = F.relu(self.bn2(self.conv3x3(x)))
        change: Tensor = self.conv3x3_out(x).sigmoid()
        return change
