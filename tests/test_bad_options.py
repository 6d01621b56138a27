"""Options of `rtmatte run`, `file` and `bench` that cannot be: one line that says what to do, and nothing is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from rtmatte.cli import main
from rtmatte.imaging import save_png
from rtmatte.sources.synthetic import SyntheticSource
from tests.assertions import only_line

BAD_INPUT = 2
VIDEOS = ("--camera", "--background")


@pytest.mark.parametrize("option", ["--camera", "--background", "--mask", "--plate"])
def test_a_recording_over_what_is_read_is_refused(
    option: str, clip: Path, scene: SyntheticSource, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, picture = tmp_path / "read.mp4", tmp_path / "read.png"
    shutil.copy(clip, video)
    save_png(picture, np.rint(scene.alpha_of(0) * 255).astype(np.uint8))
    given: dict[str, Path | str] = {
        "--camera": clip,
        "--background": "green",
        option: video if option in VIDEOS else picture,
    }
    record = given[option] if option in VIDEOS else picture.rename(tmp_path / "read.mkv")
    given[option], before = record, Path(record).read_bytes()
    words = [str(word) for pair in given.items() for word in pair]

    assert main(["run", *words, "--no-virtual-camera", "--record", str(record), "--overwrite"]) == BAD_INPUT

    assert "other than the input" in only_line(capsys)
    assert Path(record).read_bytes() == before


def test_a_file_written_over_its_own_background_is_refused(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clip, tmp_path / "waves.mp4")
    waves = str(tmp_path / "waves.mp4")

    assert main(["file", str(clip), waves, "--background", waves, "--overwrite"]) == BAD_INPUT

    assert "other than the input" in only_line(capsys)
    assert (tmp_path / "waves.mp4").read_bytes() == clip.read_bytes()


@pytest.mark.parametrize("size", ["0x0", "99999999x99999999", "16385x9", "1280", "x", "1e3x3", "9" * 5000 + "x1"])
@pytest.mark.parametrize("verb", ["bench", "run"])
def test_a_size_that_cannot_be(verb: str, size: str, capsys: pytest.CaptureFixture[str]) -> None:
    camera = ["--camera", "synthetic", "--no-virtual-camera", "--record", "x.mkv"] if verb == "run" else []

    assert main([verb, "--size", size, *camera]) == BAD_INPUT

    assert "expected a size like 1280x720" in only_line(capsys)


def test_too_little_memory_is_no_mistake_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 3.0 GiB")

    monkeypatch.setattr("rtmatte.cli.bench.SyntheticSource", refuse)

    assert main(["bench"]) == BAD_INPUT

    said = only_line(capsys)
    assert "3.0 GiB" in said
    assert "smaller size" in said


def test_an_empty_name_is_not_the_folder_one_stands_in(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(pictures)

    assert main(["run", "--camera", "", "--no-virtual-camera", "--record", "x.mkv"]) == BAD_INPUT

    assert "empty name" in only_line(capsys)


def test_a_token_file_that_is_a_folder_or_has_none_around_it(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--camera", str(clip), "--no-virtual-camera", "--control", "0", "--control-token"]

    assert main([*words, str(tmp_path)]) == BAD_INPUT
    assert "folder" in only_line(capsys)

    assert main([*words, str(tmp_path / "none" / "token")]) == BAD_INPUT
    assert "No such file or directory; name another" in only_line(capsys)


def test_a_preset_that_was_never_kept(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))

    assert (
        main(["run", "--camera", str(clip), "--no-virtual-camera", "--control", "0", "--preset", "talk"]) == BAD_INPUT
    )

    said = only_line(capsys)
    assert "'talk'" in said
    assert "none is kept yet" in said
