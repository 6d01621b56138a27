"""Half precision by hand: which parts of a step compute in float16, and the islands that stay in float32.

The islands are where float16 has too little room (sums of areas, squares) or too few digits (gates that feed back,
logits that are compared, the last layer). The read-out's float32 is in `memory`.
"""

from __future__ import annotations

from copy import deepcopy

from torch import nn

from rtmatte.network.half import Float32

ISLANDS = (
    "net.key_proj.d_proj",  # squared, and stored as the shrinkage
    "net.temp_sparity",
    "net.mask_decoder.pred_mat",
    "net.mask_decoder.sensory_update.g1_conv",  # sees the unclamped alpha
    "net.mask_decoder.sensory_update.transform",
    "net.mask_encoder.sensory_update.transform",
    "net.object_summarizer",
)
CONSTANTS = ("mean", "std", "summary_position")  # of `Stages`, for parts in float32
HALVED = frozenset(
    {
        *("bank_key", "bank_value", "sensory", "last_value", "last_pix_feat", "last_alpha"),  # states
        *("image", "pix_feat", "key"),  # links
    }
)


def in_half(stages: nn.Module) -> None:
    """Turns a `Stages` into one that computes in float16 but for the islands, in place."""
    wide = {name: Float32(deepcopy(stages.get_submodule(name))) for name in ISLANDS}
    constants = {name: stages.get_buffer(name).clone() for name in CONSTANTS}
    stages.half()
    for name, island in wide.items():
        parent, _, last = name.rpartition(".")
        setattr(stages.get_submodule(parent), last, island)
    for name, value in constants.items():
        setattr(stages, name, value)
