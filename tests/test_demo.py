"""The demo: the bundled clip, or the start of it, through the live line. The network is a fake but in the last test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from rtmatte.cli import main
from rtmatte.clock import ManualClock
from rtmatte.frame import Frame
from rtmatte.imaging import load_mask, save_png
from rtmatte.sources.file import FileSource
from rtmatte.sources.paced import PacedSource

FRAMES = 15
CLIP = Path(__file__).parents[1] / "rtmatte" / "assets" / "walk.mkv"


@pytest.fixture
def short_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the clip after half a second: the demo plays at a camera's pace."""
    whole = PacedSource.__iter__

    def start(source: PacedSource) -> Iterator[Frame]:
        return islice(whole(source), FRAMES)

    monkeypatch.setattr(PacedSource, "__iter__", start)


@pytest.mark.usefixtures("fake_engine", "short_clip")
def test_demo_writes_input_alpha_and_composite_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "demo.mp4"

    assert main(["demo", "--output", str(output)]) == 0

    with FileSource(output, ManualClock()) as source:
        frames = [frame.pixels.astype(np.int16) for frame in source]
    assert 0 < len(frames) <= FRAMES
    assert frames[0].shape == (480, 3 * 640, 3)
    grey = frames[0][:, 640:1280]
    assert np.abs(grey[..., 0] - grey[..., 1]).max() <= 2
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("network", "end to end", "p50", "p95", "p99", "demo.mp4"))


@pytest.mark.usefixtures("fake_engine", "short_clip")
def test_demo_replaces_its_last_video(tmp_path: Path) -> None:
    (tmp_path / "demo.mp4").write_bytes(b"the demo of last week")

    assert main(["demo", "--output", str(tmp_path / "demo.mp4")]) == 0

    with FileSource(tmp_path / "demo.mp4", ManualClock()) as source:
        assert source.size == (3 * 640, 480)


@pytest.mark.usefixtures("fake_engine")
def test_demo_needs_somewhere_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--output", str(tmp_path / "no" / "demo.mp4")]) == 2

    assert capsys.readouterr().err.count("\n") == 1


def test_the_bundled_network_finds_the_person_of_the_bundled_clip(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with FileSource(CLIP, ManualClock()) as source:
        for frame in islice(source, 4):
            save_png(tmp_path / "in" / f"{frame.seq}.png", frame.pixels.astype(np.uint8))

    assert main(["file", str(tmp_path / "in"), str(tmp_path / "out"), "--write", "alpha", "--device", "cpu"]) == 0

    alpha = load_mask(tmp_path / "out" / "0003.png").values
    assert alpha[300:400, 290:340].min() > 0.9  # her chest
    assert alpha[:60].max() < 0.1  # the wall above her
    assert 0.1 < alpha.mean() < 0.4
