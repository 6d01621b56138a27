"""Loaders of the public data sets, on tiny folders in their layouts, made here."""

from __future__ import annotations

import json
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from rtmatte.errors import SourceError
from training.data.assets import LOOKS, SPRITE, Assets
from training.data.clips import ClipMaker, ClipOptions
from training.data.dice import Dice
from training.data.layouts import aisegment, foreground_clips, portraits
from training.data.masked import MaskClip, Sampling, sample_masked
from training.data.masklets import coco, sav_masklets, youtube_vis
from training.data.mattes import with_mattes
from training.data.rle import decode_mask

Pixels8 = NDArray[np.uint8]


def colour(shade: int, height: int = 24, width: int = 32) -> Pixels8:
    return np.full((height, width, 3), (shade, 60, 20), np.uint8)


def body(height: int = 24, width: int = 32) -> Pixels8:
    matte = np.zeros((height, width), np.uint8)
    matte[height // 4 :, width // 4 : width // 2] = 255
    return matte


def write(path: Path, pixels: Pixels8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    code = {2: None, 3: cv2.COLOR_RGB2BGR}[pixels.ndim]
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        code = cv2.COLOR_RGBA2BGRA
    assert cv2.imwrite(str(path), pixels if code is None else cv2.cvtColor(pixels, code))
    return path


def write_video(path: Path, frames: list[Pixels8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 24, (frames[0].shape[1], frames[0].shape[0]))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def encoded(mask: Pixels8) -> dict[str, Any]:
    """The mask as COCO's text, written from its description alone."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = [0, *edges.tolist(), len(flat)]
    runs = [b - a for a, b in pairwise(bounds)]
    runs = [0, *runs] if flat[0] else runs
    text = ""
    for index, run in enumerate(runs):
        number, more = run - (runs[index - 2] if index > 2 else 0), True
        while more:
            digit, number = number & 31, number >> 5
            more = number != (-1 if digit & 16 else 0)
            text += chr(48 + digit + 32 * more)
    return {"size": list(mask.shape), "counts": text}


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1)))
@settings(max_examples=40, deadline=None)
def test_a_mask_comes_back_from_its_runs(mask: Pixels8) -> None:
    assert np.array_equal(decode_mask(encoded(mask)), mask)


def test_long_runs_and_plain_counts_are_read_too() -> None:
    mask = np.zeros((300, 200), np.uint8)
    mask[:, 150:] = 1

    assert np.array_equal(decode_mask(encoded(mask)), mask)
    assert np.array_equal(decode_mask({"size": [300, 200], "counts": [300 * 150, 300 * 50]}), mask)


@pytest.mark.parametrize("counts", ["1", "0\x01", [3, 400], [-1, 769]])
def test_damaged_runs_are_refused(counts: object) -> None:
    with pytest.raises(SourceError, match="run"):
        decode_mask({"size": [24, 32], "counts": counts})


def test_videomatte_folders_pair_by_stem_and_leave_out_what_has_no_matte(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"train/fgr/0001/{number:05d}.jpg", colour(40 * number))
        write(tmp_path / f"train/fgr/0002/{number:05d}.jpg", colour(0))
    for number in (0, 2):
        write(tmp_path / f"train/pha/0001/{number:05d}.png", body())

    [clip] = foreground_clips(tmp_path)

    assert (clip.name, clip.length) == ("0001", 2)
    assert abs(int(clip.colour(1)[0, 0, 0]) - 80) < 3
    assert np.array_equal(clip.alpha(1), body())


def test_videomatte_videos_are_read_in_any_order(tmp_path: Path) -> None:
    write_video(tmp_path / "fgr/0005.mp4", [colour(60 * n) for n in range(4)])
    write_video(tmp_path / "pha/0005.mp4", [np.dstack([np.full((24, 32), 60 * n, np.uint8)] * 3) for n in range(4)])

    [clip] = foreground_clips(tmp_path)

    assert clip.length == 4
    for number in (0, 1, 3, 2, 0):
        assert abs(float(clip.alpha(number).mean()) - 60 * number) < 6


def test_a_zip_is_read_without_unpacking(tmp_path: Path) -> None:
    archive = tmp_path / "VM.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for number in range(2):
            for part, pixels in (("fgr", colour(50)), ("pha", body())):
                name = f"{part}/clip/{number}.png"
                packed.write(write(tmp_path / "loose" / name, pixels), f"VM/train/{name}")

    [clip] = foreground_clips(archive)

    assert clip.length == 2
    assert np.array_equal(clip.alpha(0), body())


def test_aisegment_takes_the_matte_from_the_transparency(tmp_path: Path) -> None:
    write(tmp_path / "clip_img/1803/clip_0/1803-0007.jpg", colour(90))
    write(tmp_path / "clip_img/1803/clip_0/1803-0008.jpg", colour(90))
    write(tmp_path / "matting/1803/matting_0/1803-0007.png", np.dstack([colour(0), body()]))

    [clip] = aisegment(tmp_path)

    assert (clip.name, clip.length) == ("1803-0007", 1)
    assert np.array_equal(clip.alpha(0), body())


def test_p3m_pairs_pictures_with_mattes(tmp_path: Path) -> None:
    write(tmp_path / "P3M-10k/train/blurred_image/p_1.jpg", colour(90))
    write(tmp_path / "P3M-10k/train/mask/p_1.png", body())

    [clip] = portraits(tmp_path)

    assert np.array_equal(clip.alpha(0), body())


def test_a_folder_of_something_else_is_refused_by_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="fgr and pha"):
        foreground_clips(tmp_path)
    with pytest.raises(SourceError, match="a folder or a zip archive"):
        aisegment(tmp_path / "nothing")


def test_users_mattes_become_people_of_made_clips(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"fgr/a/{number}.png", colour(200))
        write(tmp_path / f"pha/a/{number}.png", body())
    write(tmp_path / "clip_img/x/y/1.jpg", colour(20, 48, 32))
    write(tmp_path / "matting/x/y/1.png", np.dstack([colour(0, 48, 32), body(48, 32)]))
    nothing = torch.zeros(0, 4, SPRITE, SPRITE, dtype=torch.uint8)
    backgrounds = torch.zeros(2, 3, 72, 128, dtype=torch.uint8)
    none, spans = torch.zeros(0), torch.zeros(0, 2, dtype=torch.int64)
    videos = torch.zeros(3, 3, 36, 64, dtype=torch.uint8)
    bare = Assets(
        nothing, none, nothing, spans, none, nothing, backgrounds, backgrounds, videos, torch.tensor([[0, 3]])
    )

    assets = with_mattes(bare, [*foreground_clips(tmp_path), *aisegment(tmp_path)])
    clip = ClipMaker(assets, 0).make(
        ClipOptions(height=48, width=80, frames=3, batch=4, cutout=0.5, occluder=0.0, photometric=0.0, second_person=0)
    )

    assert assets.cutout_spans.tolist() == [[0, 3]]
    assert len(assets.people) == LOOKS
    assert bool(clip.visible[:, 0].all())


def test_a_savs_masklet_is_a_clip_of_every_fourth_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "sav_1.mp4", [colour(20 * n) for n in range(9)])
    person, speck = body() // 255, np.zeros((24, 32), np.uint8)
    speck[3, 3] = 1
    frames = [[encoded(person), encoded(speck)], [None, encoded(speck)], [encoded(person), encoded(speck)]]
    (tmp_path / "sav_1_manual.json").write_text(json.dumps({"video_id": "sav_1", "masklet": frames}))

    [clip] = sav_masklets(tmp_path)

    assert (clip.name, clip.length) == ("sav_1-0", 3)
    assert abs(float(clip.frame(2)[..., 0].mean()) - 160) < 8
    assert [int(clip.mask(n).sum()) for n in range(3)] == [int(person.sum()), 0, int(person.sum())]


def test_youtube_vis_gives_the_people_of_its_videos(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"v1/{number}.jpg", colour(30))
    listing = {
        "videos": [{"id": 1, "file_names": ["v1/0.jpg", "v1/1.jpg"]}],
        "categories": [{"id": 26, "name": "person"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 5, "video_id": 1, "category_id": 26, "segmentations": [None, encoded(body() // 255)]},
            {"id": 6, "video_id": 1, "category_id": 3, "segmentations": [encoded(body() // 255), None]},
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(listing))

    [clip] = youtube_vis(tmp_path, tmp_path / "instances.json")

    assert clip.name == "1-5"
    assert [int(clip.mask(n).sum()) for n in range(2)] == [0, int(body().sum()) // 255]


def test_coco_fills_polygons_and_leaves_out_crowds_and_specks(tmp_path: Path) -> None:
    write(tmp_path / "7.jpg", colour(30))
    square = [[8, 4, 19, 4, 19, 15, 8, 15]]
    note = {"image_id": 7, "category_id": 1, "segmentation": square, "area": 144}
    listing = {
        "images": [{"id": 7, "file_name": "7.jpg", "height": 24, "width": 32}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [note | {"id": 1}, note | {"id": 2, "iscrowd": 1}, note | {"id": 3, "area": 9}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(listing))

    [clip] = coco(tmp_path, tmp_path / "instances.json", least_area=100)

    assert (clip.name, clip.length, int(clip.mask(0).sum())) == ("1", 1, 144)


def walker(length: int) -> MaskClip:
    """A square that moves to the right by three columns a frame; the red channel shows it, the green one the frame."""

    def mask(number: int) -> Pixels8:
        shape = np.zeros((60, 80), np.uint8)
        shape[20:50, 10 + 3 * number : 30 + 3 * number] = 1
        return shape

    def frame(number: int) -> Pixels8:
        return np.dstack([mask(number) * 255, np.full((60, 80), 10 * number, np.uint8), np.zeros((60, 80), np.uint8)])

    return MaskClip("walker", length, frame, mask)


@pytest.mark.parametrize("still", [False, True])
def test_a_sample_of_footage_keeps_picture_and_mask_together_and_moves(still: bool) -> None:
    sampling = Sampling((32, 48), frames=4, batch=8, skip=3)

    frames, masks = sample_masked([walker(8)], sampling, Dice(4), still=still)

    assert frames.shape == (8, 4, 3, 32, 48)
    assert masks.shape == (8, 4, 1, 32, 48)
    assert set(masks.flatten().tolist()) == {0.0, 1.0}
    assert bool((masks[:, 0].sum((1, 2, 3)) > 0).all())
    assert float(((frames[:, :, :1] > 0.5).float() - masks).abs().mean()) < 0.01
    assert bool((masks[:, 0] != masks[:, -1]).flatten(1).any(1).all())
    if still:
        assert float((frames[:, :, 1] - frames[:, :1, 1]).abs().max()) < 0.02


def test_equal_dice_cut_equal_samples() -> None:
    sampling = Sampling((16, 32), frames=3, batch=2, skip=2)

    one, two, other = (sample_masked([walker(8)], sampling, Dice(seed), still=False)[0] for seed in (1, 1, 2))

    assert torch.equal(one, two)
    assert not torch.equal(one, other)
