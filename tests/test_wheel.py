"""What is in the wheel: the package, its models and its clip, and nothing else of the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODELS_BUDGET_BYTES = 10_000_000
CLIP_BUDGET_BYTES = 1_500_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_the_package_only(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert len(tops) == 2
    assert "rtmatte" in tops
    assert all(top == "rtmatte" or top.endswith(".dist-info") for top in tops)


def test_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    package = ROOT / "rtmatte"
    files = {str(p.relative_to(ROOT)) for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts}

    assert {"rtmatte/py.typed", "rtmatte/assets/README.md", "rtmatte/assets/walk.mkv"} <= files
    assert files <= set(wheel.namelist())


def test_clip_travels_with_its_attribution(wheel: zipfile.ZipFile) -> None:
    text = wheel.read("rtmatte/assets/README.md").decode()

    assert "Intel Corporation (github.com/intel-iot-devkit/sample-videos, asl_gestures)" in text
    assert "creativecommons.org/licenses/by/4.0" in text
    assert wheel.getinfo("rtmatte/assets/walk.mkv").file_size <= CLIP_BUDGET_BYTES


def test_models_stay_within_their_budget(wheel: zipfile.ZipFile) -> None:
    assert sum(entry.file_size for entry in wheel.infolist() if entry.filename.endswith(".onnx")) <= MODELS_BUDGET_BYTES
