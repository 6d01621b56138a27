"""MatAnyone with less to compute and the same function, for inference.

A 1x1 convolution and a bilinear upsampling commute, and two 1x1 convolutions are one. So the shortcut of a stage,
`downsample(up(x) + project(feature))`, is `up(shortcut(x)) + merged(feature)`: a quarter of the positions, and an
upsampling of the narrower map. It also parts the signal itself, which needs its digits, from the wide map that only the
branch sees, which can do with 8 bits.

A convolution to one channel leaves most of a vector unit empty: `PhasedConv` fills it with neighbouring pixels.

Attention between few queries and many tokens need project one of them only: `lowered_attention`. So it is where tokens
are pooled: what follows the last activation can follow the sum (`LoweredSummarizer`).
"""

from __future__ import annotations

from copy import deepcopy
from itertools import product
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rtmatte.network.matanyone.decoder import MaskDecoder, Upsample
from rtmatte.network.matanyone.lowered_attention import FromFew, OverFew
from rtmatte.network.matanyone.summary import ObjectSummarizer
from rtmatte.network.matanyone.tokens import to_tokens
from rtmatte.network.matanyone.transformer import Attention, ReadFromPixel, ReadFromQuery

Module = TypeVar("Module", bound=nn.Module)

PHASES = 4  # pixels a side that are the channels of one position


class LoweredUpsample(nn.Module):
    """An `Upsample` whose shortcut is projected first; takes and gives what that does."""

    def __init__(self, stage: Upsample, project: nn.Conv2d, downsample: nn.Conv2d) -> None:
        super().__init__()
        self.conv1, self.conv2 = stage.out_conv.conv1, stage.out_conv.conv2
        self.shortcut, self.merged = _parted(project, downsample)

    def forward(self, x: Tensor, feature: Tensor, project: nn.Module) -> Tensor:
        branch = F.relu(_doubled(x) + project(feature))
        branch = self.conv2(F.relu(self.conv1(branch)))
        joined: Tensor = branch + (_doubled(self.shortcut(x)) + self.merged(feature))
        return joined


class PhasedConv(nn.Module):
    """A 3x3 convolution to one channel, padded by 1, as one that gives 4x4 pixels as sixteen channels.

    It multiplies four times as much, by zeros; but processors reckon sixteen channels at a time, one or all of them:
    1.5 ms instead of 5.2 for [1,16,288,512] in ONNX Runtime. Height and width are multiples of 4.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        assert convolution.bias is not None
        self.phases = nn.Conv2d(convolution.in_channels, PHASES * PHASES, PHASES + 2, PHASES, padding=1)
        assert self.phases.bias is not None
        with torch.no_grad():
            self.phases.weight.zero_()
            for row, column in product(range(PHASES), repeat=2):
                window = self.phases.weight[PHASES * row + column, :, row : row + 3, column : column + 3]
                window.copy_(convolution.weight[0])
            self.phases.bias.copy_(convolution.bias.expand(PHASES * PHASES))

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.phases(x), PHASES)


class LoweredSummarizer(nn.Module):
    """An `ObjectSummarizer` of two products by every token instead of five; takes and gives what that does.

    Its first three are one; that of the features follows the weighted sums, of 16 rows.
    """

    def __init__(self, summarizer: ObjectSummarizer) -> None:
        super().__init__()
        features, self.pooled = _layers(summarizer.feature_pred)
        weights, self.shares = _layers(summarizer.weights_pred)
        self.placed = _beside(features, weights)
        self.hidden = _after(self.placed, summarizer.input_proj)

    def forward(self, value: Tensor, alpha: Tensor, position_PC: Tensor) -> Tensor:
        placed_P2C = F.linear(position_PC, self.placed.weight)  # of constants
        features_BPC, weights_BPC = F.relu(self.hidden(to_tokens(value)) + placed_P2C).chunk(2, dim=-1)
        weight_BQP = ObjectSummarizer.over_both(self.shares(weights_BPC).sigmoid(), alpha)
        total_BQ1 = weight_BQP.sum(-1, keepdim=True)
        sums = F.linear(weight_BQP @ features_BPC, self.pooled.weight) + total_BQ1 * self.pooled.bias
        return torch.cat([sums, total_BQ1], dim=-1)


def lowered(module: Module) -> Module:
    """Returns a copy of `module` with less to compute: in every decoder the stages that change the width and the
    matting head, in every object transformer the attention between queries and tokens, and the object summariser."""
    module = deepcopy(module)
    for name, part in [*module.named_modules()]:
        if isinstance(part, ObjectSummarizer) and name:
            module.set_submodule(name, LoweredSummarizer(part))
    for part in [*module.modules()]:
        match part:
            case MaskDecoder():
                _lower_decoder(part)
            case ReadFromPixel(cross_attn=Attention() as attention):
                part.cross_attn = FromFew(attention)
            case ReadFromQuery(cross_attn=Attention() as attention):
                part.cross_attn = OverFew(attention)
    return module


def _lower_decoder(decoder: MaskDecoder) -> None:
    projects = decoder.decoder_feat_proc.transforms
    for name, project in zip(("up_16_8", "up_8_4", "up_4_2", "up_2_1"), projects, strict=True):
        stage = getattr(decoder, name)
        if isinstance(stage, Upsample) and isinstance(project, nn.Conv2d) and stage.out_conv.downsample:
            setattr(decoder, name, LoweredUpsample(stage, project, stage.out_conv.downsample))
    if isinstance(decoder.pred_mat, nn.Conv2d):
        decoder.pred_mat = PhasedConv(decoder.pred_mat)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


@torch.no_grad()
def _parted(project: nn.Conv2d, downsample: nn.Conv2d) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Returns two 1x1 convolutions, one of x and one of f, whose sum is `downsample(x + project(f))`.

    The second is `downsample` after `project`, multiplied out in float64, and has both of their biases.
    """
    assert project.bias is not None and downsample.bias is not None  # noqa: PT018
    shortcut = nn.Conv2d(downsample.in_channels, downsample.out_channels, 1, bias=False)
    merged = nn.Conv2d(project.in_channels, downsample.out_channels, 1)
    assert merged.bias is not None
    outer = downsample.weight.flatten(1).double()
    shortcut.weight.copy_(downsample.weight)
    merged.weight.copy_((outer @ project.weight.flatten(1).double())[..., None, None])
    merged.bias.copy_(outer @ project.bias.double() + downsample.bias.double())
    return shortcut, merged


def _layers(predictor: nn.Sequential) -> tuple[nn.Linear, nn.Linear]:
    """Returns the first and the last of a predictor's two layers."""
    first, _, last = predictor
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    return first, last


@torch.no_grad()
def _beside(one: nn.Linear, other: nn.Linear) -> nn.Linear:
    """Returns one projection that gives what two give of the same, one after the other."""
    both = nn.Linear(one.in_features, one.out_features + other.out_features)
    both.weight.copy_(torch.cat([one.weight, other.weight]))
    both.bias.copy_(torch.cat([one.bias, other.bias]))
    return both


@torch.no_grad()
def _after(last: nn.Linear, first: nn.Linear) -> nn.Linear:
    """Returns one projection that gives what `last` gives of what `first` gives, multiplied out in float64."""
    joined = nn.Linear(first.in_features, last.out_features)
    joined.weight.copy_(last.weight.double() @ first.weight.double())
    joined.bias.copy_(last.weight.double() @ first.bias.double() + last.bias.double())
    return joined
