"""`rtmatte run --on-demand` with stand-ins for the virtual camera and for who watches it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from rtmatte.cli import main
from rtmatte.sinks.memory import MemorySink


class Shown(MemorySink):
    """A virtual camera that keeps its pictures."""

    made: ClassVar[list[Shown]] = []

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.device = "/dev/video-of-nobody"
        self.options = options
        self.made.append(self)


class Watching:
    """Viewers who come when the output has had three pictures: the slates of a line at rest."""

    def __init__(self, device: str) -> None:
        self.device = device

    def count(self) -> int:
        return int(Shown.made[-1].count >= 3)

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Shown]:
    monkeypatch.setattr(Shown, "made", [])
    monkeypatch.setattr("rtmatte.cli.stage.VirtualCameraSink", Shown)
    monkeypatch.setattr("rtmatte.cli.stage.Viewers", Watching)
    return Shown.made


@pytest.mark.usefixtures("fake_engine")
def test_the_camera_is_shown_once_somebody_watches(shown: list[Shown], clip: Path) -> None:
    assert main(["run", "--camera", str(clip), "--on-demand", "1", "--pixel-format", "yuyv"]) == 0

    (sink,) = shown
    assert sink.options["pixel_format"] == "yuyv"
    assert sink.count > 3


@pytest.mark.usefixtures("shown")
def test_without_a_virtual_camera_nobody_can_watch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--on-demand", "5", "--no-virtual-camera", "--preview"]) == 2

    assert "--no-virtual-camera" in capsys.readouterr().err
