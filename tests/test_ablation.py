"""The ablation: each variant is the network with one part off, and the score runs through the real session."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.ablation import score, variants
from benchmarks.clips import Clip
from rtmatte.network.lite import Bank, Last, Lite, Widths
from rtmatte.network.lite_step import fold

NARROW = Widths(f2=16, f4=16, f8=16, f16=16, squeeze=16, dilations=(1,), key=16, value=16, fuse=16, d8=16, d4=16)


@pytest.fixture
def net() -> Lite:
    torch.manual_seed(0)
    return fold(Lite(NARROW).eval())


def a_last() -> Last:
    torch.manual_seed(1)
    sizes = ((1, 24, 32), (16, 3, 4), (16, 3, 4), (32, 3, 4), (16, 6, 8))
    return Last(*(torch.randn(1, *size) for size in sizes))


def a_bank(fill: float = 1.0) -> Bank:
    torch.manual_seed(2)
    return Bank(torch.randn(1, 2, 12, 16), fill * torch.randn(1, 2, 12, 16), torch.ones(1, 2))


@torch.inference_mode()
def test_each_reader_reads_what_its_name_says(net: Lite) -> None:
    key, last, made = torch.randn(1, 16, 3, 4), a_last(), variants(net)
    mean = made["bank replaced by its mean"].reader(key, a_bank(), last).memory
    assert torch.allclose(mean, a_bank().value.mean((1, 2))[..., None, None].expand_as(mean), atol=1e-5)
    assert torch.equal(made["U = 0: bank never read"].reader(key, a_bank(), last).fused, last.value)
    alone = made["U = 1: bank only"].reader(key, a_bank(), last)
    assert torch.equal(alone.fused, alone.memory)
    assert torch.equal(alone.memory, net.reader(key, a_bank(), last).memory)


@torch.inference_mode()
def test_a_forgetful_decoder_does_not_see_what_it_forgets(net: Lite) -> None:
    features = net.encoder(torch.rand(1, 3, 48, 64))
    value, last, made = torch.randn(1, 16, 3, 4), a_last(), variants(net)
    other = last._replace(alpha=last.alpha + 1)
    blind = made["no last alpha"].decoder
    assert torch.equal(blind(features, value, value, last).raw, blind(features, value, value, other).raw)
    seeing = made["as trained"].decoder
    assert not torch.equal(seeing(features, value, value, last).raw, seeing(features, value, value, other).raw)


def test_scores_cover_plain_play_and_both_interruptions(net: Lite) -> None:
    def frame(number: int) -> NDArray[np.uint8]:
        return np.full((48, 64, 3), 40 + number, np.uint8)

    def truth(number: int) -> NDArray[np.uint8]:
        matte = np.zeros((48, 64), np.uint8)
        matte[16:, 20:44] = 255
        return matte

    scores = score(net, [Clip("square", 6, frame, truth)], "0" * 64)
    assert list(scores) == ["plain", "5th after covered", "5th after away"]
    assert all(np.isfinite(value) and value > 0 for value in scores.values())
