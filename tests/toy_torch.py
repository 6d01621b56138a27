"""The toy of `toy_model` as a PyTorch module, and a module that fails."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Toy(nn.Module):
    """The step, all rows at once."""

    def forward(
        self, frame: Tensor, mask: Tensor, seed: Tensor, settle: Tensor, write: Tensor, bank: Tensor, last: Tensor
    ) -> tuple[Tensor, ...]:
        seeding = seed[:, :, None, None] > 0.5
        starting = torch.maximum(seed, settle)[:, :, None, None] > 0.5
        bank, last = bank.masked_fill(seeding, 0), last.masked_fill(seeding, 0)
        light = frame.mean(dim=3).unsqueeze(1) / 255
        alpha = torch.where(seeding, mask, last / 2 + light / 4 + bank.amax(1, keepdim=True) / 4)
        begun = torch.cat([alpha, torch.zeros_like(bank[:, 1:])], dim=1)
        kept = torch.where(write[:, :, None, None] > 0.5, alpha, bank)
        return alpha, torch.where(starting, begun, kept), alpha


class Broken(nn.Module):
    """A step whose shapes do not fit."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return (tensors[0] @ tensors[1],)
