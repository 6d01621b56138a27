"""MatAnyone lowered: the same function, with less to compute."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rtmatte.network.matanyone.decoder import MaskDecoder
from rtmatte.network.matanyone.encoder import Features
from rtmatte.network.matanyone.lowered_attention import FromFew, OverFew
from rtmatte.network.matanyone.lowering import LoweredSummarizer, LoweredUpsample, PhasedConv, lowered
from rtmatte.network.matanyone.summary import ObjectSummarizer
from rtmatte.network.matanyone.transformer import Attention, ObjectTransformer

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


@pytest.mark.parametrize("many", ["keys", "queries"])
def test_attention_that_projects_few_gives_what_all_projected_give(many: str) -> None:
    torch.manual_seed(0)
    attention = Attention().eval()
    nn.init.normal_(attention.in_proj_bias)
    nn.init.normal_(attention.out_proj.bias)
    few, tokens, blocked = torch.randn(2, 16, 256), torch.randn(2, 48, 256), torch.rand(2, 16, 48) > 0.5

    with torch.inference_mode():
        if many == "keys":
            found, expected = (part(few, tokens + 1, tokens, blocked) for part in (FromFew(attention), attention))
        else:
            found, expected = (part(tokens, few + 1, few) for part in (OverFew(attention), attention))

    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_lowered_transformer_gives_the_same_readout() -> None:
    torch.manual_seed(0)
    transformer = ObjectTransformer().eval()
    fused, memory = torch.randn(2, 256, 4, 6), torch.rand(2, 16, 257)
    position = transformer.spatial_pe.table(4, 6)

    with torch.inference_mode():
        found = lowered(transformer)(fused, memory, position)

        torch.testing.assert_close(found, transformer(fused, memory, position), rtol=1e-4, atol=1e-4)


def test_attention_between_queries_and_tokens_is_lowered_once_in_a_copy() -> None:
    transformer = ObjectTransformer()

    twice = lowered(lowered(transformer))

    assert [type(part) for part in twice.modules() if isinstance(part, FromFew | OverFew)] == [FromFew, OverFew] * 3
    assert not any(isinstance(part, FromFew | OverFew) for part in transformer.modules())


def test_a_lowered_summariser_gives_the_same_sums() -> None:
    torch.manual_seed(0)
    summarizer = ObjectSummarizer().eval()
    value, alpha = torch.randn(2, 256, 4, 6), torch.rand(2, 1, 4, 6)
    position = summarizer.pos_enc.table(4, 6)

    with torch.inference_mode():
        found = LoweredSummarizer(summarizer)(value, alpha, position)

        torch.testing.assert_close(found, summarizer(value, alpha, position), rtol=1e-4, atol=1e-4)


def test_the_summariser_of_a_network_is_lowered_in_a_copy() -> None:
    network = nn.Sequential(ObjectSummarizer())

    assert isinstance(lowered(network)[0], LoweredSummarizer)
    assert isinstance(network[0], ObjectSummarizer)
