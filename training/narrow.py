"""Makes a smaller lite of a trained one: residual blocks lose the channels inside them that matter least.

python -m training.narrow training/checkpoints/lite.pt --out runs/narrow.pt

No data is needed: what a channel says is known from its batch norm, as a rectified normal distribution, and how far it
is heard from the weights that read it. What a lost channel said on average is put into the next norm's mean. The
result is a start for training, not a network to use.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from rtmatte.network import lite_step
from rtmatte.network.lite import Lite, Widths
from training.checkpoint import parser_of, write_made


def narrowed(net: Lite, *, inner8: int, inner16: int) -> Lite:
    """Returns a network with `inner8` and `inner16` channels inside its residual blocks, in inference mode.

    ValueError where a block has no more than that already.
    """
    small = Lite(replace(net.widths, inner8=inner8, inner16=inner16)).eval()
    weights = net.state_dict()
    weights |= _narrowed_block(weights, "encoder.block8", inner8)
    for index in range(net.widths.wide):
        weights |= _narrowed_block(weights, f"encoder.block16.{index}", inner16)
    small.load_state_dict(weights)
    return small


def _narrowed_block(weights: dict[str, Tensor], name: str, inner: int) -> dict[str, Tensor]:
    """Returns the entries of one block with only its `inner` most important channels inside."""
    norm = f"{name}.first.1"
    mean, power = _rectified(weights[f"{norm}.bias"], weights[f"{norm}.weight"].abs())
    reads = weights[f"{name}.second.0.weight"]  # [outer, inner, 3, 3]
    importance = reads.square().sum((0, 2, 3)) * power
    if inner > len(importance):
        raise ValueError(f"{name} has {len(importance)} channels inside, not more than {inner}; ask for fewer")
    kept = importance.topk(inner).indices.sort().values
    lost = torch.ones_like(importance, dtype=torch.bool)
    lost[kept] = False
    said = (reads.sum((2, 3)) * mean * lost).sum(1)
    per_channel = [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    return {
        f"{name}.first.0.weight": weights[f"{name}.first.0.weight"][kept],
        **{key: weights[key][kept] for key in per_channel},
        f"{name}.second.0.weight": reads[:, kept],
        f"{name}.second.1.running_mean": weights[f"{name}.second.1.running_mean"] - said,
    }


def _rectified(mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean and the mean square of max(0, x) for normal x."""
    spread = spread.clamp(min=1e-6)
    z = mean / spread
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    return mean * below + spread * density, (mean.square() + spread.square()) * below + mean * spread * density


def main() -> int:
    """Narrows a checkpoint; returns the exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--inner8", type=int, default=Widths().inner8, help="channels at 1/8 (default: %(default)s)")
    parser.add_argument("--inner16", type=int, default=Widths().inner16, help="channels at 1/16 (default: %(default)s)")
    given = parser.parse_args()

    def smaller() -> Lite:
        return narrowed(lite_step.read(given.checkpoint), inner8=given.inner8, inner16=given.inner16)

    return write_made(smaller, given.out, command="training.narrow")


if __name__ == "__main__":
    sys.exit(main())
