"""From a checkpoint file to a step that can be run or exported, whichever of our networks it holds.

A file that says what it is, is lite's; any other is taken for MatAnyone's, whose files say nothing of themselves.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from rtmatte.contract import Contract, DType
from rtmatte.network import lite_step


def open_step(
    path: Path, *, width: int, height: int, slots: int | None = None, batch: int = 1, frame_dtype: DType = "uint8"
) -> tuple[nn.Module, Contract]:
    """Returns the checkpoint's network as one step for frames of that size, in inference mode, and its contract.

    The module takes and returns the contract's tensors in the contract's order. `slots` None is the network's own.
    Raises ModelError for a file that is missing, damaged or holds another network.
    """
    net = lite_step.load(path)
    contract = lite_step.contract_of(
        net, width=width, height=height, slots=slots or lite_step.SLOTS, batch=batch, frame_dtype=frame_dtype
    )
    return lite_step.LiteStep(net, width=width, height=height).eval(), contract
