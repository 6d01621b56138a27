"""What a text given by the user opens, for every kind of source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rtmatte.clock import ManualClock
from rtmatte.errors import SourceError
from rtmatte.imaging import save_png
from rtmatte.ring import Ring
from rtmatte.sources import open_source
from tests.video_files import patches, write_video


def test_a_folder_a_file_and_the_scene_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    save_png(tmp_path / "pictures" / "1.png", patches())
    write_video(tmp_path / "clip.mkv", [patches()])

    opened = {}
    for text in (tmp_path / "pictures", str(tmp_path / "clip.mkv"), "synthetic"):
        with open_source(text, ManualClock(), size=(160, 96), fps=25) as source:
            opened[source.name] = (type(source).__name__, source.size, source.fps)

    assert opened == {
        "pictures": ("FolderSource", (192, 64), 25),
        "clip.mkv": ("FileSource", (192, 64), 30),
        "synthetic": ("SyntheticSource", (160, 96), 25),
    }


@pytest.mark.skipif(sys.platform != "linux", reason="cameras are nodes below /dev on Linux only")
@pytest.mark.parametrize("text", ["/dev/video987", "987"])
def test_a_camera_that_is_not_there_is_an_error(text: str) -> None:
    with pytest.raises(SourceError, match="expected a camera at /dev/video987, found none"):
        open_source(text, ManualClock())


@pytest.mark.parametrize("text", ["https://example.org/clip.mp4", "rtsp://camera.local/1"])
def test_an_address_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match="local file"):
        open_source(text, ManualClock())


def test_nothing_there_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(tmp_path / "clip.mp4", ManualClock())

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package", ["rtmatte.sources", "rtmatte.sinks"])
def test_importing_the_package_loads_no_codec(package: str) -> None:
    heavy = ("av", "cv2", "pygame", "pyvirtualcam")
    code = f"import sys, {package}; print(*[name for name in {heavy} if name in sys.modules])"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.split() == []


def test_leases_come_round_in_turn_and_another_shape_starts_anew() -> None:
    ring = Ring(3)

    first, second, third, fourth = (ring.lease((4, 6, 3)) for _ in range(4))
    other = ring.lease((2, 2, 3))

    assert fourth is first
    assert len({id(first), id(second), id(third)}) == 3
    assert (first.shape, other.shape) == ((4, 6, 3), (2, 2, 3))
    assert first.dtype == np.uint8
