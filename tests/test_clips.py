"""Finding clips on disk, and the order in which they are played."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.clips import back_and_forth, find_clips
from rtmatte.errors import InputError
from rtmatte.imaging import save_png


def save_frame(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(path, np.full((6, 8, 3), (level, 0, 255), np.uint8))


def save_matte(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(path, np.full((6, 8), level, np.uint8))


@pytest.mark.parametrize(
    ("length", "order"),
    [(1, [0, 0, 0]), (2, [0, 1, 0, 1]), (4, [0, 1, 2, 3, 2, 1, 0, 1, 2])],
)
def test_a_clip_is_played_back_and_forth_without_repeating_its_ends(length: int, order: list[int]) -> None:
    assert list(islice(back_and_forth(length), len(order))) == order


def test_img_and_pha_files_of_one_folder_are_a_clip(tmp_path: Path) -> None:
    for level in (10, 200):
        save_frame(tmp_path / "val" / "walk" / f"{level:04d}_img.png", level)
        save_matte(tmp_path / "val" / "walk" / f"{level:04d}_pha.png", level)

    (clip,) = find_clips(tmp_path)

    assert (clip.name, clip.length) == ("val/walk", 2)
    assert clip.frame(1)[0, 0].tolist() == [200, 0, 255]
    assert clip.truth(0)[0, 0] == 10
    assert clip.first_mask().area == 0


@pytest.mark.parametrize(("frames", "mattes"), [("com", "pha"), ("har", "alpha"), ("img", "pha")])
def test_two_folders_are_paired_by_stem_whatever_the_extension(tmp_path: Path, frames: str, mattes: str) -> None:
    for name in ("a", "b"):
        save_frame(tmp_path / name / frames / "0000.PNG", 1)
        save_matte(tmp_path / name / mattes / "0000.png", 255)
        (tmp_path / name / mattes / "readme.txt").write_text("not a picture")

    clips = find_clips(tmp_path)

    assert [(clip.name, clip.length) for clip in clips] == [("a", 1), ("b", 1)]
    assert clips[0].first_mask().area == 1


def test_a_folder_that_is_itself_a_clip_has_its_own_name(tmp_path: Path) -> None:
    save_frame(tmp_path / "walk" / "0_img.png", 1)
    save_matte(tmp_path / "walk" / "0_pha.png", 1)

    assert find_clips(tmp_path / "walk")[0].name == "walk"


def test_a_frame_without_a_matte_is_played_and_not_scored(tmp_path: Path) -> None:
    for number in range(3):
        save_frame(tmp_path / f"000{number}_img.png", number)
    save_matte(tmp_path / "0000_pha.png", 255)
    save_matte(tmp_path / "0002_pha.png", 7)

    (clip,) = find_clips(tmp_path)

    assert clip.length == 3
    assert [clip.has_truth(number) for number in range(3)] == [True, False, True]
    assert clip.truth(2)[0, 0] == 7
    assert clip.first_mask().area == 1


def test_a_clip_whose_first_frame_has_no_matte_needs_a_mask(tmp_path: Path) -> None:
    for number in range(2):
        save_frame(tmp_path / f"{number}_img.png", number)
    save_matte(tmp_path / "1_pha.png", 255)

    with pytest.raises(InputError, match="a first mask"):
        find_clips(tmp_path)[0].first_mask()


def test_a_matte_without_a_frame_is_refused_by_name(tmp_path: Path) -> None:
    save_frame(tmp_path / "0000_img.png", 1)
    save_matte(tmp_path / "0000_pha.png", 1)
    save_matte(tmp_path / "0001_pha.png", 1)

    with pytest.raises(InputError, match="'0001' is alone"):
        find_clips(tmp_path)


def test_mattes_may_be_grey_transparent_or_jpeg(tmp_path: Path) -> None:
    shape = np.zeros((16, 16), np.uint8)
    shape[4:12] = 255
    for name in ("grey", "clear", "lossy"):
        save_frame(tmp_path / name / "com" / "0.png", 1)
        (tmp_path / name / "pha").mkdir()
    save_png(tmp_path / "grey" / "pha" / "0.png", shape)
    bgra = np.dstack([np.full((16, 16, 3), 9, np.uint8), shape])
    assert cv2.imwrite(str(tmp_path / "clear" / "pha" / "0.png"), bgra)
    assert cv2.imwrite(str(tmp_path / "lossy" / "pha" / "0.jpg"), shape)

    found = {clip.name: clip.truth(0) for clip in find_clips(tmp_path)}

    assert np.array_equal(found["grey"], shape)
    assert np.array_equal(found["clear"], shape)
    assert int(np.abs(found["lossy"].astype(int) - shape).max()) < 8


def test_two_videos_are_a_clip(tmp_path: Path) -> None:
    for name, levels in (("com", (10, 90, 170)), ("pha", (0, 128, 255))):
        writer = cv2.VideoWriter(str(tmp_path / f"{name}.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 24, (32, 16))
        for level in levels:
            writer.write(np.full((16, 32, 3), level, np.uint8))
        writer.release()

    (clip,) = find_clips(tmp_path)

    assert clip.length == 3
    assert abs(int(clip.frame(2)[8, 8, 0]) - 170) < 6
    assert [abs(int(clip.truth(n)[8, 8]) - level) < 6 for n, level in enumerate((0, 128, 255))] == [True] * 3


def test_a_made_set_in_a_folder_is_read_when_it_is_looked_at(tmp_path: Path) -> None:
    frames = np.arange(2 * 3 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 3, 4, 5, 3)
    np.save(tmp_path / "frames.npy", frames)
    np.save(tmp_path / "alpha.npy", frames[..., 0])
    np.save(tmp_path / "tags.npy", np.array(["single", "twins"]))

    (clip,) = find_clips(tmp_path, "*twins")

    assert clip.name == f"{tmp_path.name}-001 twins"
    np.testing.assert_array_equal(clip.frame(2), frames[1, 2])
    assert type(clip.frame(2)) is np.ndarray
    (tmp_path / "alpha.npy").unlink()
    with pytest.raises(InputError, match="made set"):
        find_clips(tmp_path)


def test_made_clips_are_read_from_an_archive(tmp_path: Path) -> None:
    frames = np.arange(2 * 3 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 3, 4, 5, 3)
    np.savez(tmp_path / "made.npz", frames=frames, alpha=frames[..., 0])

    clips = find_clips(tmp_path / "made.npz")

    assert [(clip.name, clip.length) for clip in clips] == [("made-000", 3), ("made-001", 3)]
    np.testing.assert_array_equal(clips[1].frame(2), frames[1, 2])
    np.testing.assert_array_equal(clips[1].truth(2), frames[1, 2, ..., 0])


def test_tags_of_made_clips_are_in_their_names_and_can_be_chosen(tmp_path: Path) -> None:
    frames = np.zeros((3, 2, 4, 5, 3), np.uint8)
    np.savez(tmp_path / "made.npz", frames=frames, alpha=frames[..., 0], tags=np.array(["single", "twins", "single"]))

    names = [clip.name for clip in find_clips(tmp_path / "made.npz", "*single")]

    assert names == ["made-000 single", "made-002 single"]
    with pytest.raises(InputError, match="made-001 twins"):
        find_clips(tmp_path / "made.npz", "*dark")


@pytest.mark.parametrize(
    "arrays",
    [
        {"frames": np.zeros((1, 2, 4, 5, 3), np.uint8)},
        {"frames": np.zeros((1, 2, 4, 5, 3), np.uint8), "alpha": np.zeros((1, 2, 4, 5), np.float32)},
        {"frames": np.zeros((1, 2, 4, 5, 3), np.uint8), "alpha": np.zeros((1, 3, 4, 5), np.uint8)},
        {"frames": np.zeros((0, 2, 4, 5, 3), np.uint8), "alpha": np.zeros((0, 2, 4, 5), np.uint8)},
    ],
)
def test_an_archive_of_another_layout_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "made.npz", **arrays)  # type: ignore[arg-type]

    with pytest.raises(InputError, match="expected"):
        find_clips(tmp_path / "made.npz")


@pytest.mark.parametrize("name", ["", "missing", "missing.npz", "text.npz"])
def test_data_without_a_clip_is_an_input_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.npz").write_text("no archive")

    with pytest.raises(InputError):
        find_clips(tmp_path / name)
