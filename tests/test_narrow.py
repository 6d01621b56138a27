"""A network made smaller: what nobody listens to goes first, and what was said on average stays."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rtmatte.errors import ExitCode
from rtmatte.network import lite_step
from rtmatte.network.lite import Lite, Widths
from training import narrow
from training.narrow import narrowed

WIDE = Widths(f2=16, f4=16, f8=32, f16=32, inner8=32, inner16=32, squeeze=16, dilations=(1,), key=16, value=16, fuse=16)


def a_network(silent: float) -> Lite:
    """A network whose residual blocks have 16 channels inside that always say `silent`, before the rectification."""
    torch.manual_seed(0)
    net = Lite(WIDE).eval()
    for norm in (net.encoder.block8.first[1], net.encoder.block16[0].first[1]):  # type: ignore[index]
        assert isinstance(norm, nn.BatchNorm2d)
        with torch.no_grad():
            norm.bias[::2] = silent
            norm.weight[::2] = 0
            norm.bias[1::2] = 1.0
    return net


def features_of(net: Lite) -> Tensor:
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        f16: Tensor = net.encoder(image).f16
    return f16


def test_channels_that_never_speak_are_lost_without_a_trace() -> None:
    net = a_network(silent=-1.0)
    assert torch.allclose(features_of(narrowed(net, inner8=16, inner16=16)), features_of(net), atol=1e-5)


def test_what_a_lost_channel_always_said_stays() -> None:
    net = a_network(silent=0.3)
    kept, whole = features_of(narrowed(net, inner8=16, inner16=16)), features_of(net)
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # at the rim a kernel sees fewer cells
    assert (kept - whole)[inside].abs().mean() < 0.02 * whole.abs().mean()


def test_a_narrowed_checkpoint_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide, out = tmp_path / "wide.pt", tmp_path / "narrow.pt"
    torch.save({"widths": WIDE.to_dict(), "net": Lite(WIDE).state_dict()}, wide)
    monkeypatch.setattr("sys.argv", ["narrow", str(wide), "--out", str(out), "--inner8", "16", "--inner16", "16"])
    assert narrow.main() == ExitCode.DONE
    assert lite_step.load(out).widths.inner8 == 16


def test_a_checkpoint_from_before_has_blocks_as_wide_inside_as_outside() -> None:
    saved = {name: width for name, width in WIDE.to_dict().items() if not name.startswith("inner")}
    assert (Widths.from_dict(saved).inner8, Widths.from_dict(saved).inner16) == (32, 32)


def test_more_channels_than_there_are_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wide, out = tmp_path / "wide.pt", tmp_path / "narrow.pt"
    torch.save({"widths": WIDE.to_dict(), "net": Lite(WIDE).state_dict()}, wide)
    monkeypatch.setattr("sys.argv", ["narrow", str(wide), "--out", str(out), "--inner8", "64"])
    assert narrow.main() == ExitCode.BAD_INPUT
    assert "not more than 64" in capsys.readouterr().err
    assert not out.exists()
