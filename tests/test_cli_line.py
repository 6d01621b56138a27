"""Where composites are drawn: with an engine on a GPU and a PyTorch that has it, there; else here."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtmatte import torch_device
from rtmatte.backends.fake import FakeEngine
from rtmatte.cli import file, main
from rtmatte.cli.line import open_drawing
from rtmatte.compose.device import DeviceDrawing
from rtmatte.errors import BackendMissing, EngineError
from rtmatte.frame import OnDevice
from rtmatte.step import Engine
from rtmatte.torch_device import TorchDevice
from tests.assertions import assert_within_a_level


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


class Flaky(TorchDevice):
    """A device that fails after `good` composites."""

    def __init__(self, good: int) -> None:
        super().__init__("cpu")
        self._good = good

    def wait(self) -> None:
        self._good -= 1
        if self._good < 0:
            raise EngineError("PyTorch says: out of memory")


@pytest.mark.usefixtures("fake_engine")
@pytest.mark.parametrize("good", [100, 1])
def test_a_file_is_drawn_there_and_goes_on_here_when_that_fails(
    good: int, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["file", str(pictures), str(tmp_path / "here")]) == 0

    def opened(engine: Engine, stack: ExitStack) -> DeviceDrawing:
        return DeviceDrawing(Flaky(good))

    monkeypatch.setattr(file, "open_drawing", opened)
    assert main(["file", str(pictures), str(tmp_path / "there")]) == 0

    for path in sorted((tmp_path / "here").iterdir()):
        here, there = (cv2.imread(str(folder / path.name)) for folder in (tmp_path / "here", tmp_path / "there"))
        assert_within_a_level(np.asarray(there), np.asarray(here))
    failed = "composites are drawn on the CPU from here on (PyTorch says: out of memory)" in capsys.readouterr().err
    assert failed == (good == 1)
