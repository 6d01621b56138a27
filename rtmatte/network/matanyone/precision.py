"""Half precision by hand: which parts of a step compute in float16, and the islands that stay in float32.

The islands are where float16 has too little room (sums of areas, squares) or too few digits (gates that feed back,
logits that are compared, the last layer). The read-out's float32 is in `memory`.

From the pixel fuser to the queries' masks a float32 stream runs through float16 convolutions. A token belongs to the
foreground's queries or to the background's, by a probability above or below 0.5, and one that falls on the other side
moves the whole alpha. On untrained weights at 256x144 a step was off by 1.6e-3 on average with that stream in float16,
with single frames at 7e-3; so it is off by 5e-4, and none by more than 8e-4.

Wider islands would not help: at 112x80, where one token of 35 moves the alpha by up to 2e-2, 2 steps of 40 are decided
the other way, and so they are with the encoder, the fuser and the transformer all in float32: rounding the states and
what the parts hand on is enough. The other 38 are off by 8e-4 at most.
"""

from __future__ import annotations

from copy import deepcopy

from torch import nn

from rtmatte.network.half import Float16, Float32

ISLANDS = (
    "net.key_proj.d_proj",  # squared, and stored as the shrinkage
    "net.temp_sparity",
    "net.pixel_fuser",
    "net.object_transformer",
    "net.mask_decoder.pred_mat",
    "net.mask_decoder.sensory_update.g1_conv",  # sees the unclamped alpha
    "net.mask_decoder.sensory_update.transform",
    "net.mask_encoder.sensory_update.transform",
    "net.object_summarizer",
)
# Nine tenths of the fuser's and the transformer's arithmetic: float16 inside their islands.
HEAVY = frozenset({"conv1", "conv2"})
CONSTANTS = ("mean", "std", "query_position", "summary_position")  # of `Stages`, for parts in float32
HALVED = frozenset(
    {
        *("bank_key", "bank_value", "sensory", "last_value", "last_pix_feat", "last_alpha"),  # states
        *("image", "pix_feat", "key"),  # links
    }
)


def in_half(stages: nn.Module) -> None:
    """Turns a `Stages` into one that computes in float16 but for the islands, in place."""
    wide = {name: _island(stages.get_submodule(name)) for name in ISLANDS}
    constants = {name: stages.get_buffer(name).clone() for name in CONSTANTS}
    stages.half()
    for name, island in wide.items():
        parent, _, last = name.rpartition(".")
        setattr(stages.get_submodule(parent), last, island)
    for name, value in constants.items():
        setattr(stages, name, value)


def _island(part: nn.Module) -> Float32:
    part = deepcopy(part)
    for parent in list(part.modules()):
        for name, child in list(parent.named_children()):
            if name in HEAVY:
                setattr(parent, name, Float16(child))
    return Float32(part)
