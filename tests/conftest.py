"""What tests of several modules share: a fake engine behind every verb, a short clip of the made scene, the toy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from uuid import uuid4

import pytest

from rtmatte.backends.fake import FakeEngine
from rtmatte.clock import ManualClock
from rtmatte.contract import Contract
from rtmatte.imaging import save_png
from rtmatte.sinks.video import VideoSink
from rtmatte.sources.synthetic import SyntheticSource
from rtmatte.step import Engine
from tests.fake_cuda import FakeDevice
from tests.toy_model import toy_contract

CLIP_SIZE, CLIP_FRAMES = (64, 48), 12

UseEngine = Callable[[Callable[[], Engine]], None]


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps tests away from the settings of whoever runs them; returns the folder that they have instead."""
    folder = tmp_path_factory.getbasetemp() / "settings" / uuid4().hex
    monkeypatch.setattr("rtmatte.settings.config_folder", lambda: folder)
    return folder


@pytest.fixture
def use_engine(monkeypatch: pytest.MonkeyPatch) -> UseEngine:
    """Makes the verbs run on what a maker makes, whatever model they are asked for."""

    def use(make: Callable[[], Engine]) -> None:
        monkeypatch.setattr("rtmatte.cli.line.open_engine", lambda *_, **__: make())

    return use


@pytest.fixture
def fake_engine(use_engine: UseEngine) -> None:
    """Makes the verbs run on an engine that follows a bright disc."""
    use_engine(lambda: FakeEngine(*CLIP_SIZE))


@pytest.fixture(scope="session")
def scene() -> SyntheticSource:
    return SyntheticSource(ManualClock(), size=CLIP_SIZE)


@pytest.fixture(scope="session")
def clip(scene: SyntheticSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of `CLIP_FRAMES` frames of the scene."""
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    with VideoSink(path, size=CLIP_SIZE, fps=30.0) as sink:
        for frame in islice(scene, CLIP_FRAMES):
            sink.write(frame)
    return path


@pytest.fixture
def contract() -> Contract:
    """The contract of the toy, one row of it."""
    return toy_contract()


@pytest.fixture
def device() -> FakeDevice:
    """A GPU that records."""
    return FakeDevice()


@pytest.fixture(scope="session")
def lite_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of an untrained lite, to be read only."""
    from tests.lite_weights import write_checkpoint  # it loads PyTorch, which most tests do without

    return write_checkpoint(tmp_path_factory.mktemp("lite") / "lite.pt")


@pytest.fixture(scope="session")
def pictures(scene: SyntheticSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the first three frames of the scene."""
    folder = tmp_path_factory.mktemp("pictures")
    for seq in range(3):
        save_png(folder / f"{seq}.png", scene.pixels_of(seq))
    return folder
