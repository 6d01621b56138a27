"""The catalogue of faults, row by row, and which tests play each; the rows that no other file plays are here."""

from __future__ import annotations

import ast
import socket
import string
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Semaphore

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtmatte.backends.fake import FakeEngine
from rtmatte.cli import main
from rtmatte.errors import EnvironmentFault, InputError, SinkError
from rtmatte.frame import Frame, Mask, Phase
from rtmatte.outputs import Outputs
from rtmatte.pipeline import OUTPUT_BUSY, PARCELS
from rtmatte.settings import Settings
from tests.assertions import ROOM_SHARE
from tests.room import LONG, FaultyEngine, Rehearsal, Seated, disc_scene

TESTS = Path(__file__).parent

CATALOGUE: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "camera unplugged",
        ("test_faults_camera::test_row_1_an_unplugged_camera_is_hidden_and_found_again",),
    ),
    2: (
        "camera stalls without an error",
        (
            "test_faults_camera::test_row_2_a_camera_that_stalls_is_told_hidden_and_opened_again",
            "test_faults_camera::test_row_2_a_line_stops_in_time_while_its_camera_hangs",
        ),
    ),
    3: (
        "size, rate or pixel format change midway",
        (
            "test_faults_camera::test_row_3_any_change_of_size_midway_keeps_the_output",
            "test_sources_watch::test_a_rate_that_rises_midway_does_not_reach_the_output",
            "test_sources_camera::test_a_format_that_changes_midway_is_followed",
        ),
    ),
    4: (
        "truncated video",
        (
            "test_bad_input::test_truncated_input_gives_what_there_was_and_says_so",
            "test_sources_file::test_a_cut_file_gives_every_whole_frame_then_says_so",
        ),
    ),
    5: (
        "corrupt video bytes",
        (
            "test_sources_file::test_damaged_pictures_are_skipped_and_counted",
            "test_bad_input::test_empty_or_foreign_input",
        ),
    ),
    6: (
        "an alpha that is not a number or out of range",
        ("test_faults::test_row_6_a_network_that_answers_nonsense_is_counted_and_hidden",),
    ),
    12: (
        "virtual camera missing or busy",
        (
            "test_faults::test_row_12_a_missing_virtual_camera_names_the_command_and_other_outputs_work",
            "test_sinks_virtualcam::test_what_the_backend_says_becomes_what_to_do",
        ),
    ),
    13: (
        "slow consumer",
        ("test_faults::test_row_13_a_slow_output_blocks_nobody_and_holds_no_memory",),
    ),
    14: (
        "clock jump, suspend",
        (
            "test_faults_camera::test_row_14_after_a_machine_slept_the_person_is_found_again",
            "test_sources_lost::test_after_a_machine_slept_blank_frames_do_not_come_in_a_burst",
            "test_sources_paced::test_after_the_machine_slept_there_is_no_burst",
        ),
    ),
    15: (
        "SIGINT, SIGTERM or SIGKILL while writing",
        (
            "test_cli::test_ctrl_c_finalises_the_output_and_says_how_far_it_goes",
            "test_cli::test_sigterm_finalises_the_output_too",
            "test_sinks_video::test_a_killed_process_leaves_a_file_that_plays_to_two_seconds_before_the_end",
        ),
    ),
    16: (
        "disk full while recording",
        (
            "test_faults::test_row_16_a_full_disk_ends_the_recording_and_not_the_call",
            "test_sinks_video::test_a_full_disk_is_an_error_and_what_fits_plays",
        ),
    ),
    27: (
        "a seed mask of a wrong size, empty, full",
        (
            "test_faults::test_row_27_any_mask_is_taken_or_refused_and_an_empty_one_is_nobody",
            "test_bad_input::test_mask_of_another_size_is_scaled_with_a_warning",
            "test_bad_input::test_empty_mask",
        ),
    ),
    29: (
        "nonsense in options and settings",
        (
            "test_faults::test_row_29_nonsense_on_the_command_line_is_one_line_and_code_2",
            "test_faults::test_row_29_nonsense_in_the_settings_is_refused_by_name",
            "test_faults::test_row_29_any_value_of_a_setting_is_taken_or_refused_by_name",
            "test_settings::test_a_damaged_file_is_named",
        ),
    ),
    30: (
        "double start, port taken, folders that cannot be written",
        (
            "test_faults::test_row_30_a_port_that_is_taken_is_named_and_code_2",
            "test_settings::test_a_folder_that_cannot_be_written_is_an_error_that_names_it",
            "test_sinks_virtualcam::test_virtual_cameras_that_are_all_in_use_are_not_missing",
            "test_bad_input::test_unwritable_output",
        ),
    ),
}


@pytest.mark.parametrize("row", CATALOGUE)
def test_every_row_has_tests_that_are_there(row: int) -> None:
    for name in CATALOGUE[row][1]:
        module, _, function = name.partition("::")
        tree = ast.parse((TESTS / f"{module}.py").read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("calls", [(0,), (20,), tuple(range(10, 13)), tuple(range(1000))], ids=len)
@pytest.mark.parametrize("answer", [np.nan, np.inf, 7.0])
def test_row_6_a_network_that_answers_nonsense_is_counted_and_hidden(calls: tuple[int, ...], answer: float) -> None:
    scene = Seated(disc_scene(), frames=1_000_000)
    engine = FaultyEngine(FakeEngine(*scene.size), answer_at=calls, answer=answer)
    stage = Rehearsal(scene, engine)

    stage.run(stage.play(45))

    status = stage.line.status
    assert stage.worst <= ROOM_SHARE
    assert status.faults == len([call for call in calls if call < engine.calls])
    assert sum("not" in warning or "alpha" in warning for warning in status.warnings) == 1
    assert stage.people[-1] is (len(calls) < 1000)


@pytest.mark.usefixtures("fake_engine")
def test_row_12_a_missing_virtual_camera_names_the_command_and_other_outputs_work(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(**_: object) -> None:
        raise EnvironmentFault("expected a virtual camera, found none; run: sudo modprobe v4l2loopback")

    monkeypatch.setattr("rtmatte.cli.stage.VirtualCameraSink", missing)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    recording = tmp_path / "out.mkv"
    line = ["run", "--camera", str(clip), "--record", str(recording)]

    assert main(line) == 2
    assert "sudo modprobe v4l2loopback" in capsys.readouterr().err
    assert main([*line, "--no-virtual-camera", "--overwrite"]) == 0
    assert recording.stat().st_size > 0


def test_row_13_a_slow_output_blocks_nobody_and_holds_no_memory() -> None:
    stage = Rehearsal(disc_scene())
    read, writing, cut = Event(), Event(), Semaphore(0)
    memory: set[int] = set()
    process = stage.line._cutter.process

    def cutting(frame: Frame) -> object:
        memory.add(frame.pixels.__array_interface__["data"][0])
        try:
            return process(frame)
        finally:
            cut.release()

    stage.line._cutter.process = cutting  # type: ignore[method-assign, assignment]

    def frames() -> Iterator[Frame]:
        for seq in range(60):
            yield Frame(seq, stage.scene.pixels_of(seq), stage.clock.now())
            assert cut.acquire(timeout=LONG)  # the network is through with it, while the output holds the first one
            if seq == 1:
                assert writing.wait(LONG)
        read.set()

    class Slow:
        def write(self, frame: Frame) -> None:
            writing.set()
            assert read.wait(LONG)

    counts = stage.line.run(frames(), Slow())

    assert counts.received == 60 == counts.sent + sum(counts.dropped.values())
    assert counts.dropped[OUTPUT_BUSY] >= 55
    assert len(memory) <= PARCELS


def test_row_16_a_full_disk_ends_the_recording_and_not_the_call() -> None:
    stage = Rehearsal(disc_scene())

    class Recording:
        written = closed = 0

        def write(self, frame: Frame) -> None:
            if self.written == 10:
                raise SinkError("cannot write talk.mkv: no space left; free some and record again")
            self.written += 1

        def close(self) -> None:
            self.closed += 1

    class Live:
        def write(self, frame: Frame) -> None:
            stage.write(frame)

        def close(self) -> None: ...

    recording = Recording()
    counts = stage.line.run(stage.play(30), Outputs([Live(), recording]), progress=lambda counts: stage._sent.set())

    assert (counts.sent, len(stage.people)) == (30, 30)
    assert (recording.written, recording.closed) == (10, 1)
    assert any("no space left" in warning for warning in stage.line.status.warnings)
    assert stage.worst <= ROOM_SHARE


@settings(max_examples=15, deadline=None)
@given(width=st.integers(1, 200), height=st.integers(1, 200), value=st.sampled_from([0.0, 1.0, 0.5, 3.0]))
def test_row_27_any_mask_is_taken_or_refused_and_an_empty_one_is_nobody(width: int, height: int, value: float) -> None:
    stage = Rehearsal(Seated(disc_scene(), frames=1_000_000), first=False)
    mask = Mask(np.full((height, width), value, np.float32))

    def choose(seq: int) -> None:
        if seq == 0:
            stage.control.give_mask(mask)

    stage.run(stage.play(8, choose))

    assert len(stage.people) == 8
    if not value:
        assert not any(stage.people)
        assert stage.line.status.phase is Phase.TRACKING


@settings(max_examples=25, deadline=None)
@given(
    verb=st.sampled_from(["run", "file", "doctor", "devices", "bench", "build", "demo"]),
    option=st.text(string.ascii_lowercase, min_size=3, max_size=12),
)
def test_row_29_nonsense_on_the_command_line_is_one_line_and_code_2(verb: str, option: str) -> None:
    assert main([verb, f"--no-such-{option}", "x", "y", "z"]) == 2


@settings(max_examples=100)
@given(
    name=st.sampled_from(sorted(Settings().to_dict())),
    value=st.none()
    | st.text(max_size=8)
    | st.floats()
    | st.integers()
    | st.booleans()
    | st.binary()
    | st.lists(st.none()),
)
def test_row_29_any_value_of_a_setting_is_taken_or_refused_by_name(name: str, value: object) -> None:
    said, taken = "", Settings()
    try:
        taken = Settings.from_dict({name: value})
    except InputError as refused:
        said = str(refused)

    assert name in said or taken.to_dict()[name] == value
    assert Settings.from_dict(taken.to_dict()) == taken


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=12), st.none() | st.text() | st.floats() | st.binary(), min_size=1))
def test_row_29_nonsense_in_the_settings_is_refused_by_name(values: dict[str, object]) -> None:
    known = Settings().to_dict()
    if not values.keys() <= known.keys():
        with pytest.raises(InputError, match="expected settings out of"):
            Settings.from_dict(values)


@pytest.mark.usefixtures("fake_engine")
def test_row_30_a_port_that_is_taken_is_named_and_code_2(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = ["run", "--camera", str(clip), "--no-virtual-camera", "--record", str(tmp_path / "out.mkv")]

        assert main([*line, "--control", port]) == 2

    assert port in capsys.readouterr().err
