"""The object summariser: what a remembered frame adds to the object memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rtmatte.network.matanyone.tokens import PositionalEncoding, to_tokens
from rtmatte.network.matanyone.transformer import QUERIES


def _two_layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, outputs))


class ObjectSummarizer(nn.Module):
    """Pools a frame's value into weighted sums: half of them over the foreground, half over the background."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        self.pos_enc = PositionalEncoding(channels)
        self.input_proj = nn.Linear(channels, channels)
        self.feature_pred = _two_layers(channels, channels)
        self.weights_pred = _two_layers(channels, QUERIES)

    def forward(self, value: Tensor, alpha: Tensor, position_PC: Tensor) -> Tensor:
        """Returns [B,16,257]: weighted sums over the tokens and, last, the sum of the weights.

        `value` is [B,256,h,w], `alpha` [B,1,h,w], `position_PC` is `pos_enc.table(h, w)`.
        """
        x = self.input_proj(to_tokens(value)) + position_PC
        weight_BQP = self.over_both(self.weights_pred(x).sigmoid(), alpha)
        sums = weight_BQP @ self.feature_pred(x)
        return torch.cat([sums, weight_BQP.sum(-1, keepdim=True)], dim=-1)

    @staticmethod
    def over_both(share_BPQ: Tensor, alpha: Tensor) -> Tensor:
        """Returns weights [B,16,P]: the first half of the shares over the foreground, the others over the background.

        `alpha` is [B,1,h,w].
        """
        foreground_BP1 = to_tokens(alpha)
        half = (-1, -1, QUERIES // 2)
        area_BPQ = torch.cat([foreground_BP1.expand(half), (1 - foreground_BP1).expand(half)], dim=-1)
        return (share_BPQ * area_BPQ).transpose(1, 2)


def add_compensated(total: Tensor, carry: Tensor, term: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the sum `total + term` and what rounding took from it, to be passed as `carry` next time.

    Kahan's summation: over any number of terms the error stays near one rounding of the sum. A plain float32 sum of
    areas drifts by every term's rounding once it is thousands of times as large as they are.
    """
    owed = term - carry
    grown = total + owed
    return grown, (grown - total) - owed
