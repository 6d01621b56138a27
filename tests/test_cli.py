"""The command line: what each verb leaves behind, says and returns. The network is a fake."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rtmatte.backends.fake import FakeEngine, Faults
from rtmatte.cli import main
from rtmatte.clock import ManualClock
from rtmatte.contract import Gates
from rtmatte.sources.file import FileSource
from rtmatte.sources.synthetic import SyntheticSource
from rtmatte.step import State
from tests.conftest import CLIP_FRAMES, CLIP_SIZE, UseEngine


def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    with FileSource(path, ManualClock()) as source:
        return [np.array(frame.pixels, np.uint8) for frame in source]


def png(path: Path) -> NDArray[Any]:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return picture


def test_no_arguments_show_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0

    shown = capsys.readouterr().out
    assert all(verb in shown for verb in ("demo", "run", "file", "bench", "devices", "doctor"))


@pytest.mark.parametrize("line", ["fil a b", "file", "file a b --wirte alpha", "file a b --write alpah", "run --fps 0"])
def test_a_misspelt_command_is_one_line_and_code_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2

    said = capsys.readouterr().err
    assert said.startswith("rtmatte: ")
    assert said.count("\n") == 1
    assert "--help" in said


def test_a_mistake_of_ours_is_one_line_and_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RTMATTE_DEBUG", raising=False)
    monkeypatch.setattr("rtmatte.cli.machine.gpus", lambda: 1 // 0)
    monkeypatch.setattr("rtmatte.cli.machine.probe_backends", list)
    monkeypatch.setattr("rtmatte.models.listing", tuple)

    assert main(["devices"]) == 1

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "RTMATTE_DEBUG=1" in said


def test_the_traceback_is_shown_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTMATTE_DEBUG", "1")

    assert main(["file", "nothing.mp4", "out.mp4"]) == 2

    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("fake_engine")
def test_alpha_goes_to_a_folder_of_one_grey_png_a_frame(tmp_path: Path, clip: Path, scene: SyntheticSource) -> None:
    assert main(["file", str(clip), str(tmp_path / "alpha"), "--write", "alpha"]) == 0

    files = sorted((tmp_path / "alpha").iterdir())
    assert [file.name for file in files] == [f"{n:04d}.png" for n in range(CLIP_FRAMES)]
    last = png(files[-1])
    assert last.shape == (CLIP_SIZE[1], CLIP_SIZE[0])
    assert np.abs(last / 255 - scene.alpha_of(CLIP_FRAMES - 1)).mean() < 0.05


@pytest.mark.usefixtures("fake_engine")
def test_max_size_limits_the_shorter_side(tmp_path: Path, pictures: Path) -> None:
    assert main(["file", str(pictures), str(tmp_path / "out"), "--write", "alpha", "--max-size", "24"]) == 0

    assert png(tmp_path / "out" / "0000.png").shape == (24, 32)


@pytest.mark.usefixtures("fake_engine")
def test_foreground_is_rgba_without_the_room(tmp_path: Path, pictures: Path) -> None:
    assert main(["file", str(pictures), str(tmp_path / "cut"), "--write", "foreground"]) == 0

    cut = png(tmp_path / "cut" / "0002.png")
    assert cut.shape[2] == 4
    assert cut[..., 3].max() == 255
    assert not cut[cut[..., 3] == 0].any()


@pytest.mark.usefixtures("fake_engine")
def test_composite_is_a_video_of_the_same_frames(tmp_path: Path, clip: Path) -> None:
    output = tmp_path / "out.mp4"

    assert main(["file", str(clip), str(output), "--background", "#0000ff"]) == 0

    frames = frames_of(output)
    assert len(frames) == CLIP_FRAMES
    corner = frames[-1][-6:, :6].reshape(-1, 3).mean(axis=0)
    assert corner[2] > 200
    assert corner[0] < 60


@pytest.mark.usefixtures("fake_engine")
def test_a_video_can_be_the_background(tmp_path: Path, clip: Path, pictures: Path) -> None:
    assert main(["file", str(pictures), str(tmp_path / "out"), "--background", str(clip)]) == 0


@pytest.mark.usefixtures("fake_engine")
def test_an_output_is_replaced_only_when_told_to(tmp_path: Path, pictures: Path) -> None:
    line = ["file", str(pictures), str(tmp_path / "out.mkv")]

    assert [main(line), main(line), main([*line, "--overwrite"])] == [0, 2, 0]


def test_faults_of_the_network_are_told_and_code_3(
    tmp_path: Path, clip: Path, use_engine: UseEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    use_engine(lambda: FakeEngine(*CLIP_SIZE, faults=Faults(fail_at={12})))

    assert main(["file", str(clip), str(tmp_path / "out"), "--write", "alpha"]) == 3

    assert len(list((tmp_path / "out").iterdir())) == CLIP_FRAMES
    assert "told to fail" in capsys.readouterr().err


def test_nobody_in_the_whole_input_is_code_3(
    tmp_path: Path, pictures: Path, use_engine: UseEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    use_engine(lambda: FakeEngine(*CLIP_SIZE, faults=Faults(nan_at=range(100))))

    assert main(["file", str(pictures), str(tmp_path / "out")]) == 3

    assert "--mask" in capsys.readouterr().err


class Interrupted(FakeEngine):
    """Has the handler of a signal called in the middle of the clip, as the interpreter does when one arrives.

    No signal is sent: after AMX products in the same process, one has been seen to end it whatever the handler.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(*CLIP_SIZE)
        self._number = number

    def step(
        self, frame: NDArray[Any], mask: NDArray[np.float32] | None, gates: Gates, state: State
    ) -> tuple[NDArray[Any], State]:
        if len(self.calls) == 12:
            handler = signal.getsignal(self._number)
            if not callable(handler):  # a shell that starts a process in the background has it ignore Ctrl-C
                handler = signal.default_int_handler
            handler(self._number, None)
        return super().step(frame, mask, gates, state)


def test_ctrl_c_finalises_the_output_and_says_how_far_it_goes(
    tmp_path: Path, clip: Path, use_engine: UseEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    use_engine(lambda: Interrupted(signal.SIGINT))
    output = tmp_path / "out.mp4"

    assert main(["file", str(clip), str(output)]) == 130

    whole = len(frames_of(output))
    assert 0 < whole < CLIP_FRAMES
    assert f"holds the first {whole} frames only" in capsys.readouterr().err


def test_sigterm_finalises_the_output_too(tmp_path: Path, clip: Path, use_engine: UseEngine) -> None:
    use_engine(lambda: Interrupted(signal.SIGTERM))
    output, before = tmp_path / "out.mp4", signal.getsignal(signal.SIGTERM)

    with pytest.raises(SystemExit) as left:
        main(["file", str(clip), str(output)])

    assert left.value.code == 143
    assert 0 < len(frames_of(output)) < CLIP_FRAMES
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.usefixtures("fake_engine")
def test_run_plays_a_file_as_if_it_were_a_camera(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.mkv"

    assert main(["run", "--camera", str(clip), "--no-virtual-camera", "--record", str(output)]) == 0

    assert frames_of(output)[0].shape == (CLIP_SIZE[1], CLIP_SIZE[0], 3)


def test_run_never_shows_the_room(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--background", "none", "--no-virtual-camera", "--preview"]) == 2

    assert "hides the room" in capsys.readouterr().err


def test_run_without_any_output_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--no-virtual-camera"]) == 2

    assert "--record" in capsys.readouterr().err


@pytest.mark.usefixtures("fake_engine")
def test_bench_shows_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--frames", "10", "--size", "64x48"]) == 0

    shown = capsys.readouterr().out
    assert all(word in shown for word in ("network", "composited", "p50", "p99", "frames a second"))
