"""An untrained lite as a file: what a user's checkpoint looks like, without anyone's weights."""

from __future__ import annotations

from pathlib import Path

import torch

from rtmatte.network.lite import Lite


def write_checkpoint(path: Path, *, seed: int = 5) -> Path:
    """Returns `path`, to which it writes lite with the random weights of a seed."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        net = Lite()
    torch.save({"widths": net.widths.to_dict(), "net": net.state_dict()}, path)
    return path
