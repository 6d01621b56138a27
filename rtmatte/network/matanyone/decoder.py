"""The decoder: from the memory readout up to the full-size alpha, and back into the sensory state.

B rows, (H, W) padded picture, (h, w) = (H/16, W/16). pN is the map of stride N.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from rtmatte.network.matanyone.encoder import Features
from rtmatte.network.matanyone.sensory import PyramidGate


class SkipProjection(nn.Module):
    """The projections that bring the picture's features of stride 8, 4, 2 and 1 to the decoder's widths."""

    def __init__(self) -> None:
        super().__init__()
        widths = ((512, 256), (256, 128), (64, 128), (3, 64))
        self.transforms = nn.ModuleList(nn.Conv2d(inputs, outputs, 1) for inputs, outputs in widths)


class ResidualConv(nn.Module):
    """A residual block without norms."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.downsample = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        branch: Tensor = self.conv2(F.relu(self.conv1(F.relu(x))))
        return branch + shortcut


class Upsample(nn.Module):
    """One stage up: twice the size, plus the projected feature of that size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.out_conv = ResidualConv(inputs, outputs)

    def forward(self, x: Tensor, feature: Tensor, project: nn.Module) -> Tensor:
        # One expression, so that neither term outlives the sum: at 1920x1080 each is 535 MB in the last stage.
        joined: Tensor = self.out_conv(
            F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False) + project(feature)
        )
        return joined


class MaskDecoder(nn.Module):
    """The memory readout's way up. Two heads share it: `forward` mattes, `segment` is for segmentation training."""

    def __init__(self) -> None:
        super().__init__()
        self.sensory_update = PyramidGate(256)
        self.decoder_feat_proc = SkipProjection()
        self.up_16_8 = Upsample(256, 128)
        self.up_8_4 = Upsample(128, 128)
        self.up_4_2 = Upsample(128, 64)
        self.up_2_1 = Upsample(64, 16)
        self.pred_seg = nn.Conv2d(16, 1, 3, padding=1)
        self.pred_mat: nn.Module = nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, features: Features, readout: Tensor, sensory: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the raw alpha [B,1,H,W], to be clamped to 0..1, and the sensory state [B,256,h,w] after it."""
        return self._decode(self.pred_mat, features, readout, sensory)

    def segment(self, features: Features, readout: Tensor, sensory: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the segmentation logit [B,1,H,W] and the sensory state [B,256,h,w] after it."""
        return self._decode(self.pred_seg, features, readout, sensory)

    def _decode(
        self, predict: nn.Module, features: Features, readout: Tensor, sensory: Tensor
    ) -> tuple[Tensor, Tensor]:
        pyramid = [readout]
        stages = (self.up_16_8, self.up_8_4, self.up_4_2, self.up_2_1)
        for stage, feature, project in zip(stages, features[1:], self.decoder_feat_proc.transforms, strict=True):
            pyramid.append(stage(pyramid[-1], feature, project))
        raw: Tensor = predict(F.relu(pyramid[-1]))
        return raw, self.sensory_update(pyramid, raw, sensory)
