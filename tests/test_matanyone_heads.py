"""MatAnyone's training heads: they share the network's state dict and nothing else runs them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rtmatte.network.matanyone.heads import class_probabilities
from rtmatte.network.matanyone.net import MatAnyone
from tests.golden_weights import GOLDEN, golden_network


@pytest.fixture(scope="module")
def net() -> MatAnyone:
    return golden_network(GOLDEN / "weights_seed0.json")


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_the_sensory_head_weighs_the_pixel_feature_by_channel(net: MatAnyone) -> None:
    sensory, pix_feat = noise(2, 256, 3, 4), noise(2, 256, 3, 4)
    head = net.aux_computer.sensory_aux

    logits = head(sensory, pix_feat)

    projected = head.projection(sensory)
    expected = torch.einsum("bchw,bchw->bhw", projected[:, :256], pix_feat) + projected[:, 256]
    torch.testing.assert_close(logits, expected[:, None])


def test_the_transformer_gives_four_logits_and_the_readout_it_always_gives(net: MatAnyone) -> None:
    fused, object_memory = noise(1, 256, 5, 6), noise(1, 16, 257).abs()
    position = net.object_transformer.spatial_pe.table(5, 6)

    readout, logits = net.object_transformer.with_logits(fused, object_memory, position)

    assert logits.shape == (1, 4, 5, 6)
    assert torch.equal(readout, net.object_transformer(fused, object_memory, position))
    assert torch.equal(logits[:, 3:], net.object_transformer.mask_pred[3](readout))


def test_a_segmentation_pass_uses_its_own_head_for_the_logit_and_the_sensory_state(net: MatAnyone) -> None:
    features = net.pixel_encoder(noise(1, 3, 80, 96))
    readout, sensory = noise(1, 256, 5, 6), noise(1, 256, 5, 6)

    matte, segment = (decode(features, readout, sensory) for decode in (net.mask_decoder, net.mask_decoder.segment))

    assert matte[0].shape == segment[0].shape == (1, 1, 80, 96)
    assert not torch.allclose(matte[0], segment[0])
    assert not torch.allclose(matte[1], segment[1])


def test_one_object_against_the_background_has_twice_its_log_odds() -> None:
    logits = torch.linspace(-4, 4, 9).reshape(1, 1, 9)

    probabilities = class_probabilities(logits)

    torch.testing.assert_close(probabilities[:, 1:], (2 * logits).sigmoid())
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1, 9))


def test_what_no_object_claims_is_background_and_certainty_stays_finite() -> None:
    logits = torch.tensor([[[-90.0, 90.0], [-90.0, -90.0]]])

    probabilities = class_probabilities(logits)

    assert probabilities.argmax(dim=1).tolist() == [[0, 1]]
    assert bool(probabilities.log().isfinite().all())
