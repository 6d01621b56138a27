"""The lite that ships, of trained ones: the mean of their weights, and levels stretched to either end."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rtmatte.errors import ExitCode
from rtmatte.network import lite_step
from rtmatte.network.lite import Lite, Widths
from training import finish
from training.finish import mean_of, stretched

SMALL = Widths(
    f2=16, f4=16, f8=16, f16=16, inner8=16, inner16=16, squeeze=16, dilations=(1,), key=16, value=16, fuse=16
)


def raw_of(net: Lite) -> Tensor:
    features = torch.randn(1, net.decoder.head.in_channels, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        raw: Tensor = net.decoder.head(features)
    return raw


def test_the_ends_come_together_by_the_margin_on_either_side() -> None:
    torch.manual_seed(0)
    net = Lite(SMALL).eval()
    assert torch.allclose(raw_of(stretched(net, 0.1)), (raw_of(net) - 0.1) / 0.8, atol=1e-5)


def test_a_stretch_is_taken_back() -> None:
    torch.manual_seed(0)
    net = Lite(SMALL).eval()
    assert torch.allclose(raw_of(stretched(stretched(net, 0.02), -0.02 / 0.96)), raw_of(net), atol=1e-5)


def test_the_mean_lies_between_and_what_is_named_twice_counts_twice() -> None:
    one, other = Lite(SMALL).eval(), Lite(SMALL).eval()
    with torch.no_grad():
        one.decoder.head.weight.fill_(0.0)
        other.decoder.head.weight.fill_(3.0)
    assert torch.allclose(mean_of([one, other, other]).decoder.head.weight, torch.tensor(2.0))


def test_networks_of_different_forms_have_no_mean() -> None:
    with pytest.raises(ValueError, match="of one form"):
        mean_of([Lite(SMALL), Lite(replace(SMALL, f2=32))])


def test_the_network_that_was_given_stays_as_it_was() -> None:
    net = Lite(SMALL).eval()
    before = raw_of(net)
    stretched(net, 0.1)
    assert torch.equal(raw_of(net), before)


@pytest.mark.parametrize(
    ("margin", "code"), [("0.02", ExitCode.DONE), ("0.5", ExitCode.BAD_INPUT), ("-0.5", ExitCode.BAD_INPUT)]
)
def test_a_stretched_checkpoint_is_read_again_and_a_margin_without_sense_refused(
    margin: str, code: ExitCode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, out = tmp_path / "given.pt", tmp_path / "stretched.pt"
    torch.save({"widths": SMALL.to_dict(), "net": Lite(SMALL).state_dict()}, given)
    monkeypatch.setattr("sys.argv", ["finish", str(given), str(given), "--out", str(out), "--margin", margin])
    assert finish.main() == code
    assert out.exists() == (code == ExitCode.DONE)
    if out.exists():
        assert lite_step.load(out).widths == SMALL
