"""How methods are played over clips and what is scored, on a method that answers from the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import report
from benchmarks.baselines import HeldMask
from benchmarks.quality.evaluate import Result, evaluate, to_8_bits
from benchmarks.quality.sheet import CELL_WIDTH, contact_sheet, over_green, pick_frames
from benchmarks.quality.table import score_table, scores
from rtmatte.errors import InputError, SinkError
from tests.replay import Replay, numbered_clip


def test_the_third_forward_pass_is_the_last_thing_played_and_the_only_thing_scored() -> None:
    clip = numbered_clip(4)
    forward, back = [1, 2, 3], [2, 1, 0]
    played = [0, *forward, *back, *forward, *back, *forward]
    wrong_until_the_last_pass = Replay(clip, lambda n, alpha: alpha if n >= len(played) - 4 else 1 - alpha)

    result = evaluate(wrong_until_the_last_pass, clip)

    assert wrong_until_the_last_pass.seen == played
    assert result.per_frame["mad"] == [0, 0, 0, 0]


def test_every_scored_frame_meets_its_own_truth() -> None:
    clip = numbered_clip()
    late = Replay(clip, lambda n, alpha: alpha if n % 8 != 2 else 1 - alpha)

    result = evaluate(late, clip, rounds=1)

    assert late.seen == [0, 1, 2, 3, 4]
    assert result.per_frame["mad"] == [0, 0, 1000, 0, 0]


def test_the_mask_is_given_once_and_is_the_first_matte() -> None:
    clip = numbered_clip()
    method = Replay(clip)

    evaluate(method, clip)

    (mask,) = method.masks
    np.testing.assert_array_equal(mask.values, clip.truth(0) > 127)


def test_kept_mattes_are_those_of_the_scored_pass() -> None:
    clip = numbered_clip()

    result = evaluate(Replay(clip), clip, keep=[0, 3])

    assert set(result.mattes) == {0, 3}
    np.testing.assert_array_equal(result.mattes[3], clip.truth(3))


def test_a_clip_of_one_frame_can_be_scored() -> None:
    clip = numbered_clip(1)

    assert evaluate(HeldMask(), clip).per_frame["mad"] == [0]


def test_zero_rounds_are_refused() -> None:
    with pytest.raises(InputError, match="round"):
        evaluate(HeldMask(), numbered_clip(), rounds=0)


def test_an_alpha_is_scored_as_it_would_be_saved() -> None:
    alpha = np.array([[-0.5, 0.0, 0.4999, 1.0, 1.5]], np.float32)

    assert to_8_bits(alpha).tolist() == [[0, 0, 127, 255, 255]]


def test_picked_frames_are_spread_and_include_the_ends() -> None:
    assert pick_frames(20) == [0, 4, 8, 11, 15, 19]
    assert pick_frames(2) == [0, 1]


def test_a_sheet_has_a_row_per_frame_and_shows_the_matte_over_green() -> None:
    clip = numbered_clip()
    result = evaluate(HeldMask(), clip, keep=[0, 4])

    sheet = contact_sheet(clip, [result], [0, 4])

    cell_height = CELL_WIDTH * 24 // 32
    assert sheet.shape[1] == 3 * CELL_WIDTH
    assert sheet.shape[0] - 2 * cell_height in range(10, 60)
    assert sheet[-1, 0].tolist() == [14, 14, 14]
    assert sheet[-1, -1].tolist() == [0, 177, 64]


def test_half_an_alpha_over_green_is_half_green() -> None:
    pixels = np.full((1, 1, 3), 100, np.uint8)

    assert over_green(pixels, np.full((1, 1), 51, np.uint8))[0, 0].tolist() == [20, 162, 71]


def two_results() -> dict[str, list[Result]]:
    clips = [numbered_clip(3), numbered_clip(6)]
    return {"held mask": [evaluate(HeldMask(), clip, rounds=1) for clip in clips]}


def test_written_scores_hold_means_and_every_frame() -> None:
    written = scores({"held mask": two_results()["held mask"][:1]})["held mask"]

    frames = written["clips"]["numbered"]["per_frame"]["mad"]
    assert len(frames) == 3
    assert written["mean"]["mad"] == pytest.approx(np.mean(frames), abs=1e-3)


def test_the_table_lists_few_clips_and_only_the_mean_of_many() -> None:
    few = score_table(two_results())
    many = score_table({"held mask": two_results()["held mask"] * 10})

    assert few.row_count == 3
    assert many.row_count == 1


def test_a_report_carries_the_command_and_the_machine_but_no_place_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["x", "--data", str(tmp_path / "val"), "--model", "lite"])

    report.write_json(tmp_path / "new" / "q.json", "benchmarks.quality", {"rounds": 3, "mad": [1.5, 2]})

    text = (tmp_path / "new" / "q.json").read_text()
    written = json.loads(text)
    assert written["command"] == "python -m benchmarks.quality --data val --model lite"
    assert written["rounds"] == 3
    assert '"mad": [ 1.5, 2 ]' in text
    assert written["machine"]["cores"] >= 1
    assert str(tmp_path) not in text
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["q.json"]


def test_a_report_that_cannot_be_written_is_a_sink_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SinkError, match="--json"):
        report.write_json(tmp_path / "file" / "q.json", "benchmarks.quality", {})
