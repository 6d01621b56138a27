"""The parts of MatAnyone under the names of the released files; `step` says in which order they run."""

from __future__ import annotations

from torch import nn

from rtmatte.network.matanyone.decoder import MaskDecoder
from rtmatte.network.matanyone.encoder import KeyProjection, MaskEncoder, PixelEncoder
from rtmatte.network.matanyone.fusion import PixelFuser
from rtmatte.network.matanyone.heads import AuxComputer
from rtmatte.network.matanyone.memory import ChangePredictor
from rtmatte.network.matanyone.summary import ObjectSummarizer
from rtmatte.network.matanyone.transformer import ObjectTransformer


class MatAnyone(nn.Module):
    """MatAnyone's modules (Yang et al., CVPR 2025): 35.2 M parameters, 562 entries of state dict.

    It has no `forward`: a frame is a step over recurrent state, see `step.Step`. `temp_sparity` predicts change; it
    is spelled as in the files. `aux_computer`, `mask_decoder.pred_seg` and the last `mask_pred` serve training only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pixel_encoder = PixelEncoder()
        self.pix_feat_proj = nn.Conv2d(1024, 256, 1)
        self.key_proj = KeyProjection()
        self.mask_encoder = MaskEncoder()
        self.mask_decoder = MaskDecoder()
        self.pixel_fuser = PixelFuser()
        self.object_transformer = ObjectTransformer()
        self.object_summarizer = ObjectSummarizer()
        self.aux_computer = AuxComputer()
        self.temp_sparity = ChangePredictor()
