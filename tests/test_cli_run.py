"""`rtmatte run` beyond the picture: what its keys do, what it keeps, when it records, and what its options refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtmatte.cli import main
from rtmatte.cli.kept import KeptSettings
from rtmatte.cli.keys import HELP, Keys
from rtmatte.cli.recording import Recorder
from rtmatte.cli.run import parse_point
from rtmatte.clock import ManualClock
from rtmatte.control import Command, Control, FindPerson, Pick, Point, Reseed
from rtmatte.errors import InputError
from rtmatte.frame import Frame
from rtmatte.imaging import save_png
from rtmatte.outputs import Outputs
from rtmatte.settings import Settings, SettingsFolder
from rtmatte.sources.file import FileSource
from tests.conftest import CLIP_SIZE


class FakeWindow:
    mirror = False
    note: tuple[str, ...] = ()


def keys_of(control: Control, *, recording: bool = False) -> Keys:
    return Keys(control, ["#102030", "blur", "green", "blur"], recording=lambda: recording)


@pytest.mark.parametrize(
    ("key", "command"),
    [("r", Reseed()), ("u", FindPerson()), ("a", FindPerson())],
)
def test_a_key_is_a_command(key: str, command: Command) -> None:
    control = Control()

    keys_of(control).key(key)

    assert control.commands() == [command]


@pytest.mark.parametrize(("key", "name"), [("f", "frozen"), ("p", "privacy"), ("m", "mirror")])
def test_a_key_turns_a_setting_on_and_off(key: str, name: str) -> None:
    control = Control()
    keys = keys_of(control)

    keys.key(key)
    assert control.settings == Settings.from_dict({name: True})
    keys.key(key)
    assert control.settings == Settings()


@pytest.mark.parametrize("recording", [False, True])
def test_the_recording_key_begins_a_recording_and_ends_it(recording: bool) -> None:
    control = Control()
    control.record(recording)

    keys_of(control, recording=recording).key("v")

    assert control.recording is not recording


def test_backgrounds_go_round_and_one_from_elsewhere_leads_to_the_first() -> None:
    control = Control(Settings(background="#102030"))
    keys, seen = keys_of(control), []

    for _ in range(3):
        keys.key("b")
        seen.append(control.settings.background)
    control.change(background="transparent")
    keys.key("b")

    assert seen == ["blur", "green", "#102030"]
    assert control.settings.background == "#102030"


def test_clicks_choose_refine_and_start_over() -> None:
    control = Control()
    keys = keys_of(control)

    keys.point(0.1, 0.2, wanted=False)
    assert control.commands() == []  # there is nothing to refine
    keys.point(0.5, 0.5, wanted=True)
    keys.point(0.7, 0.5, wanted=False)
    assert control.commands() == [Pick((Point(0.5, 0.5), Point(0.7, 0.5, wanted=False)))]
    keys.box(0.1, 0.1, 0.5, 0.9)
    assert control.commands() == [Pick((), (0.1, 0.1, 0.5, 0.9))]
    keys.point(0.2, 0.2, wanted=True)
    assert control.commands() == [Pick((Point(0.2, 0.2),))]


def test_more_points_than_a_pick_may_have_are_no_error() -> None:
    control = Control()
    keys = keys_of(control)

    for _ in range(80):
        keys.point(0.5, 0.5, wanted=True)
        keys.point(0.7, 0.5, wanted=False)
    for _ in range(80):
        keys.point(0.7, 0.5, wanted=False)

    assert isinstance(control.choice, Pick)


def test_the_window_tells_how_things_stand_and_lists_the_keys_on_request() -> None:
    control, window = Control(Settings(frozen=True, mirror=True)), FakeWindow()
    keys = keys_of(control, recording=True)

    keys.tell(window)
    assert (window.mirror, window.note) == (True, ("standing still", "recording"))
    keys.key("h")
    keys.tell(window)
    assert window.note == ("standing still", "recording", *HELP)
    keys.key("h")
    keys.key("f1")
    keys.tell(window)
    assert len(window.note) == 2


def test_the_command_line_counts_for_one_run_and_changes_for_the_next(tmp_path: Path) -> None:
    folder = SettingsFolder(tmp_path)
    folder.save(Settings(edge_shift=1.0))
    kept = KeptSettings(folder, None, {"background": "green", "despill": 0.5, "mirror": None})

    assert kept.first == Settings(edge_shift=1.0, background="green", despill=0.5)
    kept.keep(replace(kept.first, steadiness=0.5, despill=0.25, privacy=True))

    assert folder.load() == Settings(edge_shift=1.0, steadiness=0.5, despill=0.25)


def test_nothing_is_written_when_nothing_was_changed(tmp_path: Path) -> None:
    kept = KeptSettings(SettingsFolder(tmp_path), None, {"background": "green"})

    kept.keep(kept.first)

    assert list(tmp_path.iterdir()) == []


def test_a_preset_is_begun_with(tmp_path: Path) -> None:
    folder = SettingsFolder(tmp_path)
    folder.save_preset("office", Settings(background="green", mirror=True))

    assert KeptSettings(folder, "office", {"mirror": False}).first == Settings(background="green")
    with pytest.raises(InputError, match="office"):
        KeptSettings(folder, "home", {})


def test_damaged_settings_are_told_and_left_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = SettingsFolder(tmp_path)
    folder.path.write_text("edge_shift = much")

    kept = KeptSettings(folder, None, {})
    kept.keep(Settings(mirror=True))

    assert kept.first == Settings()
    assert str(folder.path) in capsys.readouterr().err
    assert folder.path.read_text() == "edge_shift = much"


def test_a_home_that_cannot_be_written_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()

    KeptSettings(SettingsFolder(tmp_path / "missing"), None, {})
    kept = KeptSettings(SettingsFolder(tmp_path / "missing"), None, {})
    (tmp_path / "missing").touch()  # a file where the folder should be
    kept.keep(Settings(mirror=True))

    assert "cannot keep the settings" in capsys.readouterr().err


def test_a_kept_picture_that_has_gone_is_told_and_the_room_blurred(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SettingsFolder(tmp_path).save(Settings(background="gone.jpg", mirror=True))

    assert KeptSettings(SettingsFolder(tmp_path), None, {}).first == Settings(mirror=True)
    assert "gone.jpg" in capsys.readouterr().err


def test_a_recording_begins_and_ends_while_the_picture_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = Outputs()
    recorder = Recorder(outputs, size=CLIP_SIZE, fps=30.0)
    frame = Frame(0, np.zeros((CLIP_SIZE[1], CLIP_SIZE[0], 3), np.uint8), 0.0)

    states = []
    for seq, asked in enumerate([False, True, True, False, False]):
        recorder.obey(asked)
        states.append(recorder.on)
        outputs.write(replace(frame, seq=seq))

    assert states == [False, True, True, False, False]
    [file] = tmp_path.glob("rtmatte-*.mkv")
    with FileSource(file, ManualClock()) as source:
        assert len(list(source)) == 2


def test_a_recording_from_the_start_goes_on_when_it_is_asked_for_again(tmp_path: Path) -> None:
    recorder = Recorder(Outputs(), size=CLIP_SIZE, fps=30.0)
    recorder.begin(tmp_path / "talk.mkv")

    recorder.obey(False)
    recorder.obey(True)

    assert recorder.on
    assert [file.name for file in tmp_path.iterdir()] == ["talk.mkv"]


def test_a_recording_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("time.strftime", lambda pattern: str(tmp_path / "nowhere" / "x.mkv"))
    recorder = Recorder(Outputs(), size=CLIP_SIZE, fps=30.0)

    recorder.obey(True)

    assert not recorder.on
    assert "nowhere" in capsys.readouterr().err


def test_two_recordings_of_one_second_are_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda pattern: "rtmatte-20260101-000000")
    outputs = Outputs()
    recorder = Recorder(outputs, size=CLIP_SIZE, fps=30.0)

    for seq, asked in enumerate([True, False, True, False]):
        recorder.obey(asked)
        outputs.write(Frame(seq, np.zeros((CLIP_SIZE[1], CLIP_SIZE[0], 3), np.uint8), 0.0)) if asked else None

    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "rtmatte-20260101-000000-2.mkv",
        "rtmatte-20260101-000000.mkv",
    ]


@pytest.mark.parametrize("text", ["0.5", "a,b", "0.5,1.5", "nan,0", ""])
def test_a_place_is_two_numbers_in_the_frame(text: str) -> None:
    with pytest.raises(InputError, match="expected a place"):
        parse_point(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run --preset office --no-virtual-camera --preview", "preset"),
        ("run --despill 2 --preview", "despill"),
        ("run --pick 2,2 --no-virtual-camera --preview", "0.5,0.4"),
        ("run --no-virtual-camera --control-token t --preview", "--control PORT"),
    ],
)
def test_options_that_cannot_be_are_one_line(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2

    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


@pytest.mark.usefixtures("fake_engine")
def test_what_is_not_in_a_picture_of_the_empty_room_is_cut_out(tmp_path: Path, clip: Path) -> None:
    empty = np.zeros((CLIP_SIZE[1], CLIP_SIZE[0], 3), np.uint8)
    save_png(tmp_path / "empty.png", empty)
    options = ["--camera", str(clip), "--no-virtual-camera", "--record", str(tmp_path / "out.mkv")]

    assert main(["run", *options, "--plate", str(tmp_path / "empty.png")]) == 0


@pytest.mark.usefixtures("fake_engine")
def test_a_preview_alone_is_an_output(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame", reason="needs rtmatte[preview]")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")

    assert main(["run", "--camera", str(clip), "--no-virtual-camera", "--preview", "--mirror"]) == 0


@pytest.mark.usefixtures("fake_engine")
def test_a_sam_2_that_is_not_there_is_an_error(tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--camera", str(clip), "--no-virtual-camera", "--record", str(tmp_path / "out.mkv")]

    assert main(["run", *options, "--sam2", str(tmp_path)]) == 2

    assert "encoder" in capsys.readouterr().err


@pytest.mark.usefixtures("fake_engine")
def test_a_run_with_everything_ends_with_its_file(tmp_path: Path, clip: Path, own_settings: Path) -> None:
    SettingsFolder(own_settings).save_preset("bright", Settings(background="#ffff00"))
    output = tmp_path / "out.mkv"
    options = ["--camera", str(clip), "--no-virtual-camera", "--record", str(output), "--preset", "bright"]
    picture = ["--edge-shift", "1", "--steadiness", "0.2", "--pick", "0.5,0.5", "--reseed-every", "5"]

    assert main(["run", *options, *picture, "--control", "0"]) == 0

    with FileSource(output, ManualClock()) as source:
        corner = next(source).pixels[:6, :6].reshape(-1, 3).mean(axis=0)
    assert corner[0] > 200
    assert corner[1] > 200
    assert corner[2] < 60


def test_the_service_file_runs_a_command_that_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    unit = (Path(__file__).parents[1] / "docs" / "rtmatte.service").read_text()
    [command] = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    verb, *options = command.split()[1:]

    assert main([verb, "--help"]) == 0

    shown = capsys.readouterr().out
    assert all(option in shown for option in options if option.startswith("--"))
