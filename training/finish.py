"""Makes the lite that ships of trained ones: the mean of their weights, its levels stretched.

python -m training.finish runs/longer/averaged.pt runs/crowded/averaged.pt --out runs/lite.pt

The mean of runs that began with the same weights does better on people nobody was trained on than each of them
(Wortsman et al. 2022, model soups); a checkpoint named twice counts twice. The stretch is for haze: a network trained
on soft edges hedges, and leaves an alpha of 0.02 in the room and of 0.98 on the person. It is a factor on the last
layer, so the graph stays as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import torch

from rtmatte.network import lite_step
from rtmatte.network.lite import Lite
from training.checkpoint import parser_of, write_made

MARGIN = 0.02


def mean_of(nets: Sequence[Lite]) -> Lite:
    """Returns a network with the mean of the weights of `nets`, in inference mode; ValueError unless of one form."""
    mean = deepcopy(nets[0]).eval()
    if any(net.widths != mean.widths for net in nets):
        raise ValueError("expected checkpoints of one form, found different widths; name runs that began alike")
    every = [net.state_dict() for net in nets]
    weights = {
        name: torch.stack([each[name] for each in every]).mean(0) if first.is_floating_point() else first
        for name, first in every[0].items()
    }
    mean.load_state_dict(weights)
    return mean


@torch.no_grad()
def stretched(net: Lite, margin: float) -> Lite:
    """Returns a copy whose alpha is 0 where that of `net` is `margin` or less, 1 from 1 - `margin` on, linear between.

    What the network is told of its last frame is stretched, too. A margin of -m / (1 - 2m) takes one of m back, before
    training goes on. ValueError unless -0.5 < `margin` < 0.5.
    """
    if not -0.5 < margin < 0.5:
        raise ValueError(f"expected a margin between -0.5 and 0.5, found {margin:g}; 0.02 is usual")
    net = deepcopy(net)
    head = net.decoder.head
    assert head.bias is not None
    head.weight /= 1 - 2 * margin
    head.bias.sub_(margin).div_(1 - 2 * margin)
    return net


def main() -> int:
    """Finishes checkpoints; returns the exit code."""
    parser = parser_of(__doc__)
    parser.add_argument("checkpoint", type=Path, nargs="+")
    parser.add_argument("--margin", type=float, default=MARGIN, help="alpha that is none (default: %(default)s)")
    given = parser.parse_args()

    def finished() -> Lite:
        return stretched(mean_of([lite_step.read(path) for path in given.checkpoint]), given.margin)

    return write_made(finished, given.out, command="training.finish")


if __name__ == "__main__":
    sys.exit(main())
