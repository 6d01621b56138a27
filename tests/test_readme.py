"""The README's program runs and its commands are those of the command line. The network is a fake."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from rtmatte.backends.fake import FakeEngine
from rtmatte.cli import main
from rtmatte.clock import ManualClock
from rtmatte.errors import SourceError
from rtmatte.imaging import save_png
from rtmatte.sources.file import FileSource
from rtmatte.sources.synthetic import SyntheticSource
from tests.conftest import CLIP_FRAMES, CLIP_SIZE

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(verb: str) -> list[str]:
    lines = [line.partition("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith(f"rtmatte {verb}")]


@pytest.fixture
def desk(tmp_path: Path, clip: Path, pictures: Path, scene: SyntheticSource, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the README's reader works."""
    shutil.copy(clip, tmp_path / "talk.mp4")
    shutil.copytree(pictures, tmp_path / "frames")
    save_png(tmp_path / "mask.png", np.rint(scene.alpha_of(0) * 255).astype(np.uint8))
    save_png(tmp_path / "beach.jpg", np.full((60, 80, 3), 200, np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_program_runs(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtmatte.engine.open_engine", lambda *_, **__: FakeEngine(*CLIP_SIZE))
    (program,) = blocks("python")

    exec(compile(program, "README.md", "exec"), {})

    with FileSource(desk / "blurred.mp4", ManualClock()) as source:
        assert sum(1 for _ in source) == CLIP_FRAMES


@pytest.mark.usefixtures("fake_engine", "desk")
@pytest.mark.parametrize("command", commands("file"))
def test_a_file_command_runs(command: str) -> None:
    assert main(shlex.split(command)[1:]) == 0


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("command", commands("run"))
def test_a_run_command_gets_as_far_as_the_camera(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_camera(*_: object, **__: object) -> None:
        raise SourceError("here the camera would be opened")

    monkeypatch.setattr("rtmatte.cli.run.open_source", no_camera)

    assert main(shlex.split(command)[1:]) == 2

    assert "here the camera would be opened" in capsys.readouterr().err
