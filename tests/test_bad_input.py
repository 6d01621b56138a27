"""What users get wrong, and what they get for it: one line on stderr, the documented exit code, never a traceback, and
never an output that looks whole and is not."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from rtmatte.cli import main
from rtmatte.clock import ManualClock
from rtmatte.imaging import load_image, save_png
from rtmatte.modelfile import seal
from rtmatte.sources.file import FileSource
from rtmatte.sources.synthetic import SyntheticSource
from tests.assertions import only_line
from tests.conftest import CLIP_SIZE
from tests.toy_model import save_toy, toy_contract

DONE, BAD_INPUT, INCOMPLETE = 0, 2, 3
CLIP = Path(__file__).parents[1] / "rtmatte" / "assets" / "walk.mkv"


@pytest.fixture
def mask(tmp_path: Path, scene: SyntheticSource) -> Path:
    path = tmp_path / "mask.png"
    save_png(path, np.rint(scene.alpha_of(0) * 255).astype(np.uint8))
    return path


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    path = save_toy(tmp_path / "toy.onnx", toy_contract(*CLIP_SIZE))
    seal(path)
    return path


def test_missing_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["file", str(tmp_path / "none.mp4"), str(tmp_path / "out.mp4")]) == BAD_INPUT

    assert "none.mp4" in only_line(capsys)
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("content", [b"", b"this is no video\n" * 100, bytes(range(256)) * 64])
def test_empty_or_foreign_input(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.mp4").write_bytes(content)

    assert main(["file", str(tmp_path / "in.mp4"), str(tmp_path / "out.mp4")]) == BAD_INPUT

    assert "in.mp4" in only_line(capsys)
    assert not (tmp_path / "out.mp4").exists()


def test_unreadable_input(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(file: str, **_: object) -> None:  # a mode of 0 would not stop root
        raise av.PermissionError(errno.EACCES, "Permission denied", file)

    monkeypatch.setattr(av, "open", refuse)

    assert main(["file", str(clip), str(tmp_path / "out.mp4")]) == BAD_INPUT

    assert "Permission denied" in only_line(capsys)


def test_folder_without_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()

    assert main(["file", str(tmp_path / "in"), str(tmp_path / "out.mp4")]) == BAD_INPUT

    assert "pictures" in only_line(capsys)


@pytest.mark.usefixtures("fake_engine")
def test_truncated_input_gives_what_there_was_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = CLIP.read_bytes()
    (tmp_path / "in.mkv").write_bytes(data[: len(data) * 3 // 10])
    output = tmp_path / "out.mp4"

    assert main(["file", str(tmp_path / "in.mkv"), str(output)]) == INCOMPLETE

    with FileSource(output, ManualClock()) as source:
        written = sum(1 for _ in source)
    said = capsys.readouterr().err
    assert written > 0
    assert f"holds the first {written} frames only" in said
    assert "cut off" in said


@pytest.mark.usefixtures("fake_engine")
def test_mask_of_another_size_is_scaled_with_a_warning(
    tmp_path: Path, pictures: Path, mask: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = tmp_path / "large.png"
    picture = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    save_png(large, np.repeat(np.repeat(picture, 2, axis=0), 2, axis=1).astype(np.uint8))

    assert main(["file", str(pictures), str(tmp_path / "out"), "--mask", str(large)]) == DONE

    assert "warning: the mask is 128x96, the frame 64x48" in capsys.readouterr().err


@pytest.mark.usefixtures("fake_engine")
@pytest.mark.parametrize("value", [0, 1])
def test_empty_mask(value: int, tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_png(tmp_path / "black.png", np.full((48, 64), value, np.uint8))

    assert main(["file", str(pictures), str(tmp_path / "out"), "--mask", str(tmp_path / "black.png")]) == BAD_INPUT

    assert "mask" in only_line(capsys)


@pytest.mark.usefixtures("fake_engine")
@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_unreadable_mask(
    content: bytes | None, tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "mask.png").write_bytes(content)

    assert main(["file", str(pictures), str(tmp_path / "out"), "--mask", str(tmp_path / "mask.png")]) == BAD_INPUT

    assert "mask.png" in only_line(capsys)


@pytest.mark.parametrize("camera", ["/dev/video97", "97"])
def test_no_such_camera(camera: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--camera", camera]) == BAD_INPUT

    assert "97" in only_line(capsys)


@pytest.mark.usefixtures("fake_engine")
@pytest.mark.parametrize("output", ["no/such/folder/out.mp4", "file.txt/out", "out.wav", "pictures"])
def test_unwritable_output(output: str, tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file.txt").touch()
    (tmp_path / "pictures").symlink_to(pictures)

    line = ["file", str(pictures), str(tmp_path / output), "--overwrite"]

    assert main(line) == BAD_INPUT
    assert Path(output).name in only_line(capsys)
    assert len(list(pictures.iterdir())) == 3


@pytest.mark.usefixtures("fake_engine")
@pytest.mark.parametrize("background", ["nothing.png", "#12345", "blur:0", "purple"])
def test_no_such_background(
    background: str, tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["file", str(pictures), str(tmp_path / "out"), "--background", background]) == BAD_INPUT

    assert "background" in only_line(capsys) or "blur" in background


def test_transparent_pictures_need_a_file_that_can_hold_them(
    tmp_path: Path, fake_engine: None, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["file", str(pictures), str(tmp_path / "out.mp4"), "--write", "foreground"]) == BAD_INPUT

    assert ".mkv" in only_line(capsys)
    assert not (tmp_path / "out.mp4").exists()


def test_model_runs_as_it_was_sealed(tmp_path: Path, pictures: Path, mask: Path, toy: Path) -> None:
    line = ["file", str(pictures), str(tmp_path / "out"), "--mask", str(mask), "--model", str(toy)]

    assert main(line) == DONE


def test_changed_model_is_refused_unless_trusted(
    tmp_path: Path, pictures: Path, mask: Path, toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(toy.read_bytes())
    data[data.index(b"toy")] = ord("T")
    toy.write_bytes(data)
    line = ["file", str(pictures), str(tmp_path / "out"), "--mask", str(mask), "--model", str(toy)]

    assert main(line) == BAD_INPUT
    assert "--trust" in only_line(capsys)
    assert not (tmp_path / "out").exists()
    assert main([*line, "--trust"]) == DONE


def test_model_without_a_contract(tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = save_toy(tmp_path / "bare.onnx", toy_contract(), metadata="")
    seal(bare)

    assert main(["file", str(pictures), str(tmp_path / "out"), "--model", str(bare)]) == BAD_INPUT

    assert "python -m export" in only_line(capsys)


@pytest.mark.parametrize("name", ["no-such-model", "missing.onnx", "model.txt"])
def test_no_such_model(name: str, tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["file", str(pictures), str(tmp_path / "out"), "--model", name]) == BAD_INPUT

    assert name in only_line(capsys)


def test_a_gpu_that_is_not_there_is_no_silent_cpu_run(
    tmp_path: Path, pictures: Path, toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["file", str(pictures), str(tmp_path / "out"), "--model", str(toy), "--device", "cuda"]

    if main(line) == BAD_INPUT:  # a machine with a GPU runs it
        assert "cuda" in only_line(capsys)


@pytest.mark.usefixtures("fake_engine")
@pytest.mark.parametrize("name", ["out", "out.mkv", "out.mp4"])
@pytest.mark.parametrize("size", [(1, 1), (101, 57), (3840, 2160)])
def test_any_size_goes_through(size: tuple[int, int], name: str, tmp_path: Path, mask: Path) -> None:
    (tmp_path / "in").mkdir()
    save_png(tmp_path / "in" / "0.png", np.full((size[1], size[0], 3), 90, np.uint8))
    output = tmp_path / name

    code = main(["file", str(tmp_path / "in"), str(output), "--mask", str(mask), "--background", "green"])

    assert code == DONE
    if output.is_dir():
        assert load_image(output / "0000.png").shape == (size[1], size[0], 3)
    else:
        with FileSource(output, ManualClock()) as source:
            assert [frame.size for frame in source] == [size]


@pytest.mark.usefixtures("fake_engine")
def test_a_size_that_changes_midway_is_kept_in_a_folder_and_fitted_in_a_video(tmp_path: Path, mask: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, (width, height) in enumerate([(64, 48), (64, 48), (40, 80), (128, 96)]):
        save_png(tmp_path / "in" / f"{number}.png", np.full((height, width, 3), 90, np.uint8))
    line = ["file", str(tmp_path / "in"), "--mask", str(mask)]

    assert main([*line, str(tmp_path / "out")]) == DONE
    assert main([*line, str(tmp_path / "out.mkv")]) == DONE

    assert load_image(tmp_path / "out" / "0002.png").shape == (80, 40, 3)
    with FileSource(tmp_path / "out.mkv", ManualClock()) as source:
        assert [frame.size for frame in source] == [(64, 48)] * 4


def test_the_installed_command_returns_the_code_to_the_shell(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "rtmatte", "file", str(tmp_path / "none.mp4"), str(tmp_path / "out.mp4")]

    ended = subprocess.run(line, capture_output=True, text=True, check=False)

    assert ended.returncode == BAD_INPUT
    assert ended.stdout == ""
    assert ended.stderr.startswith("rtmatte: ")
    assert ended.stderr.count("\n") == 1
