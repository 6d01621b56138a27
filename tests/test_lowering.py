"""MatAnyone's decoder lowered: the same function, with less to compute at full size."""

from __future__ import annotations

import torch
from torch import nn

from rtmatte.network.matanyone.decoder import MaskDecoder
from rtmatte.network.matanyone.encoder import Features
from rtmatte.network.matanyone.lowering import LoweredUpsample, PhasedConv, lowered

SHAPES = ((1024, 2, 3), (512, 4, 6), (256, 8, 12), (64, 16, 24), (3, 32, 48))  # f16 .. f1


def test_a_lowered_decoder_gives_the_same_alpha_and_state() -> None:
    torch.manual_seed(0)
    decoder = MaskDecoder().eval()
    features = Features(*(torch.randn(2, *shape) for shape in SHAPES))
    readout, sensory = torch.randn(2, 256, 2, 3), torch.randn(2, 256, 2, 3)

    with torch.inference_mode():
        expected = decoder(features, readout, sensory)
        found = lowered(decoder)(features, readout, sensory)

    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_matting_head_gives_neighbouring_pixels_at_once_and_the_same_picture() -> None:
    torch.manual_seed(0)
    head = nn.Conv2d(16, 1, 3, padding=1)
    picture = torch.randn(2, 16, 12, 20)

    with torch.inference_mode():
        torch.testing.assert_close(PhasedConv(head)(picture), head(picture), rtol=1e-5, atol=1e-6)


def test_stages_that_change_the_width_and_the_head_are_lowered_once_in_a_copy() -> None:
    decoder = MaskDecoder()

    once = lowered(decoder)

    expected = {"up_16_8", "up_4_2", "up_2_1", "pred_mat"}
    assert stages_lowered(once) == stages_lowered(lowered(once)) == expected
    assert not stages_lowered(decoder)


def stages_lowered(decoder: MaskDecoder) -> set[str]:
    return {name for name, part in decoder.named_children() if isinstance(part, LoweredUpsample | PhasedConv)}
