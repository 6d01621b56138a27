"""Where composites are drawn: with an engine on a GPU and a PyTorch that has it, there; else here."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from rtmatte import torch_device
from rtmatte.backends.fake import FakeEngine
from rtmatte.cli.line import open_drawing
from rtmatte.compose.device import DeviceDrawing
from rtmatte.errors import BackendMissing
from rtmatte.frame import OnDevice
from rtmatte.torch_device import TorchDevice


class Lending(FakeEngine):
    """An engine on a GPU, as far as can be seen."""

    def lent(self) -> OnDevice | None:
        return None


def test_with_an_engine_that_lends_and_a_gpu_for_pytorch_composites_are_drawn_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_device, "check_gpu", lambda: None)
    monkeypatch.setattr(torch_device, "TorchDevice", lambda: TorchDevice("cpu"))
    with ExitStack() as stack:
        assert isinstance(open_drawing(Lending(32, 24), stack), DeviceDrawing)


def test_without_a_gpu_for_pytorch_they_are_drawn_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_gpu() -> None:
        raise BackendMissing("PyTorch finds no NVIDIA GPU")

    monkeypatch.setattr(torch_device, "check_gpu", check_gpu)
    with ExitStack() as stack:
        assert open_drawing(Lending(32, 24), stack) is None


def test_with_an_engine_of_the_cpu_nobody_looks_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_gpu() -> None:
        raise AssertionError("asked for a GPU")

    monkeypatch.setattr(torch_device, "check_gpu", check_gpu)
    with ExitStack() as stack:
        assert open_drawing(FakeEngine(32, 24), stack) is None
