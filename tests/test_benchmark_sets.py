"""Public benchmarks in tiny folders of their layouts, what was published beside them, and runs that are resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.baselines import HeldMask
from benchmarks.clips import Clip
from benchmarks.quality.evaluate import Result, evaluate
from benchmarks.quality.ledger import ResultLedger
from benchmarks.quality.plot import mean_curve, plot_scores
from benchmarks.quality.published import PUBLISHED, published, source
from benchmarks.quality.sets import LARGE, REAL, SMALL, open_set
from benchmarks.quality.sheet import picked_frames
from benchmarks.quality.table import score_table, scores
from rtmatte.errors import InputError
from rtmatte.imaging import save_png
from tests.replay import Replay, numbered_clip

Pixels8 = NDArray[np.uint8]
SHAPE = (24, 32)


def write(path: Path, pixels: Pixels8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(path, pixels)


def frame(level: int, shape: tuple[int, int] = SHAPE) -> Pixels8:
    return np.full((*shape, 3), level, np.uint8)


def person(step: int = 0, shape: tuple[int, int] = SHAPE) -> Pixels8:
    matte = np.zeros(shape, np.uint8)
    matte[6:20, 6 + step : 16 + step] = 255
    return matte


def composites(root: Path, folder: str, shape: tuple[int, int] = SHAPE) -> None:
    for subset in ("set_motion", "set_static"):
        for number in range(3):
            write(root / subset / "0001" / folder / f"{number:04d}.png", frame(50 + number, shape))
            write(root / subset / "0001" / "pha" / f"{number:04d}.png", person(number, shape))
        write(root / subset / "0001" / "fgr" / "0000.png", frame(9, shape))


@pytest.mark.parametrize(("name", "folder"), [("videomatte", "com"), ("youtubematte", "har")])
def test_composites_are_found_below_their_subsets(tmp_path: Path, name: str, folder: str) -> None:
    composites(tmp_path, folder)

    found = open_set(name, tmp_path)

    assert [clip.name for clip in found.clips] == ["set_motion/0001", "set_static/0001"]
    assert (found.size, found.settings) == ((32, 24), SMALL)
    clip = found.clips[1]
    assert int(clip.frame(2)[0, 0, 0]) == 52
    assert np.array_equal(clip.truth(2), person(2))


@pytest.mark.parametrize("folder", ["com", "har", "src"])
@pytest.mark.parametrize("name", ["videomatte", "youtubematte"])
def test_the_input_folder_may_have_the_name_it_has_in_another_set(tmp_path: Path, name: str, folder: str) -> None:
    composites(tmp_path, folder)

    assert [clip.length for clip in open_set(name, tmp_path).clips] == [3, 3]


def test_a_set_takes_its_own_folder_where_there_are_two(tmp_path: Path) -> None:
    composites(tmp_path, "com")
    for subset in ("set_motion", "set_static"):
        for number in range(3):
            write(tmp_path / subset / "0001" / "har" / f"{number:04d}.png", frame(200))

    assert int(open_set("youtubematte", tmp_path).clips[0].frame(0)[0, 0, 0]) == 200
    assert int(open_set("videomatte", tmp_path).clips[0].frame(0)[0, 0, 0]) == 50


def test_large_sets_come_as_jpeg_small_ones_as_png_and_both_may_be_mixed(tmp_path: Path) -> None:
    for number in range(2):
        for part, pixels in (("com", frame(80)), ("pha", person(number))):
            path = tmp_path / "set_motion" / "0001" / part / f"{number:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 100])
    write(tmp_path / "set_motion" / "0001" / "com" / "0002.png", frame(90))

    (clip,) = open_set("videomatte", tmp_path).clips

    assert (clip.length, sorted(clip.annotated or ())) == (3, [0, 1])
    assert int(np.abs(clip.truth(1).astype(int) - person(1)).max()) < 30
    assert int(clip.frame(2)[0, 0, 0]) == 90


def test_a_set_may_come_as_pairs_of_videos(tmp_path: Path) -> None:
    folder = tmp_path / "set_motion" / "0001"
    folder.mkdir(parents=True)
    for part, levels in (("har", (40, 80)), ("pha", (0, 255))):
        writer = cv2.VideoWriter(str(folder / f"{part}.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 24, (32, 16))
        for level in levels:
            writer.write(np.full((16, 32, 3), level, np.uint8))
        writer.release()

    (clip,) = open_set("youtubematte", tmp_path).clips

    assert clip.name == "set_motion/0001"
    assert [abs(int(clip.truth(n)[8, 8]) - level) < 6 for n, level in enumerate((0, 255))] == [True, True]


def test_large_frames_have_the_settings_of_large_frames(tmp_path: Path) -> None:
    composites(tmp_path, "com", (1080, 16))

    assert open_set("videomatte", tmp_path).settings == LARGE


@pytest.mark.parametrize("place", ["set_motion/0001.png", "0001.png"])
def test_masks_lie_with_or_without_their_subset_and_are_closed_as_published(tmp_path: Path, place: str) -> None:
    composites(tmp_path / "data", "com")
    holed = person()
    holed[12, 10] = 0
    for name in (place, place.replace("motion", "static")):
        write(tmp_path / "masks" / name, holed)

    clip = open_set("videomatte", tmp_path / "data", tmp_path / "masks").clips[0]

    given = clip.first_mask().values
    assert given[12, 10] == 1
    assert abs(float(given.sum()) - person().sum() / 255) < 16


def test_a_clip_without_its_mask_is_told_with_both_places(tmp_path: Path) -> None:
    composites(tmp_path / "data", "com")
    (tmp_path / "masks").mkdir()

    with pytest.raises(InputError, match=r"set_motion/0001\.png.*0001\.png"):
        open_set("videomatte", tmp_path / "data", tmp_path / "masks")


def crgnn(root: Path, frames: int = 21, truths: int = 3) -> None:
    for number in range(frames):
        write(root / "image_allframe" / "walk" / f"{number:05d}.png", frame(number))
    for number in range(truths):
        write(root / "alpha" / "walk" / f"{number:05d}.png", person(number))
    write(root / "mask" / "walk.png", person())


def test_sparse_truth_scores_every_tenth_frame_and_plays_them_all(tmp_path: Path) -> None:
    crgnn(tmp_path)
    found = open_set("crgnn", tmp_path)
    (clip,) = found.clips

    result = evaluate(HeldMask(), clip, rounds=1, protocol=found.settings.protocol)

    assert found.settings == REAL
    assert sorted(clip.annotated or ()) == [0, 10, 20]
    assert len(result.per_frame["mad"]) == 3
    assert result.per_frame["mad"][1] < result.per_frame["mad"][2]
    assert len(result.step_ms) == 20
    assert picked_frames(clip) == [0, 10, 20]


def test_truth_that_does_not_fit_the_frames_is_refused(tmp_path: Path) -> None:
    crgnn(tmp_path, frames=15)

    with pytest.raises(InputError, match="every 10th of 15 frames"):
        open_set("crgnn", tmp_path)


@pytest.mark.parametrize("name", ["videomatte240k", "vm800"])
def test_foregrounds_are_laid_over_a_made_background(tmp_path: Path, name: str) -> None:
    for number in range(2):
        write(tmp_path / "fgr" / "a" / f"{number}.png", frame(240))
        write(tmp_path / "pha" / "a" / f"{number}.png", person(number))

    (clip,) = open_set(name, tmp_path).clips

    picture, inside = clip.frame(1), person(1) > 0
    assert bool((picture[inside] == 240).all())
    assert float(picture[~inside].std()) > 10
    assert np.array_equal(picture[0], clip.frame(0)[0])


def test_portraits_are_clips_of_one_frame(tmp_path: Path) -> None:
    write(tmp_path / "clip_img" / "1" / "clip_0" / "1-7.png", frame(99))
    write(tmp_path / "matting" / "1" / "matting_0" / "1-7.png", np.dstack([frame(0), person()]))

    (clip,) = open_set("aisegment", tmp_path).clips

    assert clip.length == 1
    assert evaluate(Replay(clip), clip, rounds=1).per_frame["dtssd"] == [0]


def test_an_unknown_set_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="youtubematte"):
        open_set("davis", tmp_path)
    with pytest.raises(InputError, match="no clip of its layout"):
        open_set("videomatte", tmp_path)


def test_published_rows_name_their_source_and_matanyone_leads_where_the_paper_says() -> None:
    assert "CVPR 2025" in source()
    won = 0
    for name, rows in json.loads(PUBLISHED.read_text())["sets"].items():
        data_set, _, size = name.partition(" ")
        width, _, height = size.partition("x")
        methods = published(data_set, (int(width), int(height)))
        assert set(methods) >= {"MODNet", "RVM", "RVM-Large", "FTP-VM", "MaGGIe", "MatAnyone"}
        won += sum(min(row, key=row.__getitem__) == "MatAnyone" for row in rows.values())
    assert won == 15
    assert published("videomatte", (512, 288))["MatAnyone"]["mad"] == 5.15
    assert "conn" not in published("videomatte", (1920, 1080))["RVM"]
    assert published("crgnn", (512, 288)) == {}


def result(method: str = "ours", clip: str = "a", mad: float = 2.0) -> Result:
    return Result(method, clip, {"mad": [mad, mad + 2], "mse": [1.0, 1.0]}, {}, (5.0, 7.0))


def test_published_figures_stand_below_ours_and_steps_are_timed() -> None:
    table = score_table({"ours": [result()]}, {"RVM": {"mad": 6.08, "grad": 0.88}})

    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows[-1] == ("published", "RVM", "6.08", "-", "")
    assert rows[-2] == ("mean of 1", "ours", "3.00", "1.00", "6.0")
    assert scores({"ours": [result()]})["ours"]["step_ms"]["p50"] == 6.0


def test_the_table_averages_as_published_where_that_is_wanted() -> None:
    long, short = {"mad": [3.0, 5.0, 10.0]}, {"mad": [1.0, 3.0]}
    results = {"ours": [Result("ours", name, scores, {}) for name, scores in (("a", long), ("b", short))]}

    means = [list(score_table(results, averaging=way).columns[2].cells)[-1] for way in ("plain", "published")]

    assert means == ["4.00", "5.33"]


def named(name: str, length: int = 5) -> Clip:
    return replace(numbered_clip(length), name=name)


def test_finished_clips_are_read_back_and_only_if_clip_settings_and_model_are_the_same(tmp_path: Path) -> None:
    path, settings = tmp_path / "run" / "scores.jsonl", {"data": "set", "rounds": 1}
    ResultLedger(path, settings, {"ours": "abc"}).add(result(), named("a"))

    assert ResultLedger(path, settings, {"ours": "abc"}).find("ours", named("a")) == result()
    assert ResultLedger(path, settings, {"ours": "abc"}).find("ours", named("b")) is None
    assert ResultLedger(path, settings, {"ours": "abc"}).find("ours", named("a", 6)) is None
    assert ResultLedger(path, settings, {"ours": "def"}).find("ours", named("a")) is None
    assert ResultLedger(path, settings | {"rounds": 3}, {"ours": "abc"}).find("ours", named("a")) is None
    repainted = replace(named("a"), frame=lambda number: frame(7))
    assert ResultLedger(path, settings, {"ours": "abc"}).find("ours", repainted) is None


def test_a_line_that_a_killed_run_left_half_written_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    ResultLedger(path, {}, {}).add(result(clip="a"), named("a"))
    whole = path.read_text()
    path.write_text(whole + whole[: len(whole) // 2])

    ResultLedger(path, {}, {}).add(result(clip="b"), named("b"))

    again = ResultLedger(path, {}, {})
    assert again.find("ours", named("a")) == result(clip="a")
    assert again.find("ours", named("b")) == result(clip="b")


def test_curves_of_different_lengths_count_as_long_as_they_last(tmp_path: Path) -> None:
    assert mean_curve([[1, 2, 3], [3, 4]]) == [2, 3, 3]

    names = ("mad", "mse", "dtssd", "core")
    plot_scores({"ours": [Result("ours", "a", {name: [1.0, 2.0] for name in names}, {})]}, tmp_path / "plots" / "p.png")

    assert (tmp_path / "plots" / "p.png").stat().st_size > 1000
