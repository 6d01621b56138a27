"""Half precision by hand: which parts of a step compute in float16, and the islands that stay in float32.

The islands are where float16 has too little room (sums of areas, squares) or too few digits: gates that feed back,
logits that are compared, sums that many layers add to. The read-out's float32 is in `memory`.

A token belongs to the foreground's queries or to the background's, by a probability above or below 0.5, and one that
rounding takes to the other side moves the whole alpha, at 112x80 by 1.5e-2 to 5e-2. Every rounding on the way there
makes that likelier, the states' too; their shares add up as squares do. What a step from a float32 state is expected to
be off by, in 1e-4, on untrained weights at 112x80, tokens counted by how densely logits lie around 0:

| in float16        | tokens | else | | in float16                          | tokens | else |
| ----------------- | -----: | ---: | - | ----------------------------------- | -----: | ---: |
| encoder's stem    |    1.0 |  0.4 | | the value that is propagated        |    3.2 |  0.9 |
| its stride 4      |    2.1 |  0.8 | | the fuser's 3x3 convolutions        |    3.3 |  0.8 |
| its stride 8      |    3.0 |  0.9 | | the transformer's 3x3 convolutions  |    1.2 |  0.7 |
| its stride 16     |    4.1 |  1.1 | | the decoder                         |      0 |  3.6 |
| the pixel feature |    1.8 |  0.6 | | the states                          |    3.1 |  0.9 |
| the keys          |    0.9 |  0.3 | | all of these                        |    7.9 |  4.4 |
| the read-out      |    1.7 |  0.5 | | all of these but the islands        |    5.6 |  3.3 |

So float32 is what runs at stride 16 and is little work there, the sums of the encoder's last stage, and those of the
decoder where they are small or only seen by float32 parts. More would cost more than it gives: the read-out, the
transformer's convolutions and all of the encoder's sums would take 0.5 off between them. A fifth of the convolutions'
arithmetic is in float32.
"""

from __future__ import annotations

from copy import deepcopy

from torch import nn

from rtmatte.network.half import Float16, Float32, Narrowed
from rtmatte.network.matanyone.fusion import ChannelAttentionBlock

ISLANDS = (
    "net.pixel_encoder.layer3.0.downsample",  # the shortcuts of the whole stage start from it
    "net.pix_feat_proj",
    "net.key_proj",
    "net.temp_sparity",
    "net.pixel_fuser",
    "net.object_transformer",
    "net.mask_decoder.up_16_8.shortcut",
    "net.mask_decoder.up_16_8.merged",
    "net.mask_decoder.up_2_1.shortcut",
    "net.mask_decoder.up_2_1.merged",
    "net.mask_decoder.pred_mat",
    "net.mask_decoder.sensory_update.g8_conv",  # sees a float32 map, as the next does
    "net.mask_decoder.sensory_update.g4_conv",
    "net.mask_decoder.sensory_update.g1_conv",  # sees the unclamped alpha
    "net.mask_decoder.sensory_update.transform",
    "net.mask_encoder.sensory_update.transform",
    "net.object_summarizer",
)
# Float16 where a float32 stream comes by: what they give is added to the stream, or goes on in float16.
NARROWED = (
    *(f"net.pixel_encoder.layer3.{block}.conv1" for block in range(1, 6)),
    "net.mask_decoder.up_8_4.out_conv.conv1",
    "net.mask_decoder.up_4_2",
)
CONSTANTS = ("mean", "std", "query_position", "summary_position")  # of `Stages`, for parts in float32
HALVED = frozenset(
    {
        *("bank_key", "bank_value", "sensory", "last_value", "last_pix_feat", "last_alpha"),  # states
        *("image", "pix_feat", "key"),  # links
    }
)


def in_half(stages: nn.Module) -> None:
    """Turns a `Stages` into one that computes in float16 but for the islands, in place."""
    wide = {name: Float32(deepcopy(stages.get_submodule(name))) for name in ISLANDS}
    for part in wide["net.object_transformer"].modules():
        if isinstance(part, ChannelAttentionBlock):  # nine tenths of the transformer's arithmetic
            for name in ("conv1", "conv2"):
                setattr(part, name, Float16(part.get_submodule(name)))
    constants = {name: stages.get_buffer(name).clone() for name in CONSTANTS}
    stages.half()
    narrowed = {name: Narrowed(stages.get_submodule(name)) for name in NARROWED}
    for name, part in (wide | narrowed).items():
        parent, _, last = name.rpartition(".")
        setattr(stages.get_submodule(parent), last, part)
    for name, value in constants.items():
        setattr(stages, name, value)
