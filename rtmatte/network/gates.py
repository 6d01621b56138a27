"""The gates every network's `step` shares: what a seed, a warm-up pass and a store mean for a state tensor.

Everything is a select, never a product, so that a NaN in what is not selected cannot pass.
Shapes: B rows, T slots of the bank, P tokens of one slot.
"""

from __future__ import annotations

import torch
from torch import Tensor


def where_row(gate_B1: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """Returns `chosen` in the rows whose gate is 1 and `other` [B, ...] elsewhere; `chosen` may be a scalar."""
    return torch.where(gate_B1.reshape(-1, *[1] * (other.ndim - 1)) > 0.5, chosen, other)


def cleared(seed_B1: Tensor, state: Tensor) -> Tensor:
    """Returns `state` with the rows that are being seeded set to zero: the first thing done to every state."""
    return where_row(seed_B1, state.new_zeros(()), state)


def stored(start_B1: Tensor, write_BT: Tensor, bank: Tensor, entry: Tensor) -> Tensor:
    """Returns the bank [B,T,...] with `entry` [B,...] stored.

    A start (seed or settle) stores into slot 0 and clears the other slots; a write stores into its slot; otherwise
    the bank is kept.
    """
    slots = bank.shape[1]
    tail = [1] * (bank.ndim - 2)
    first_T = torch.arange(slots, device=bank.device) == 0
    start = start_B1.reshape(-1, 1, *tail) > 0.5
    write = write_BT.reshape(-1, slots, *tail) > 0.5
    entry_B1 = entry.unsqueeze(1)
    begun = torch.where(first_T.reshape(1, slots, *tail), entry_B1, bank.new_zeros(()))  # a scalar: 1 MB less of graph
    return torch.where(start, begun, torch.where(write, entry_B1, bank))
