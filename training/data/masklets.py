"""Data sets of people with masks: SA-V's masklets, YouTubeVIS and COCO, each object a clip or picture of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import SourceError
from training.data.footage import Video, read_colour
from training.data.masked import MaskClip
from training.data.rle import decode_mask

Mask8 = NDArray[np.uint8]

SAV_EVERY = 4  # SA-V's videos have 24 frames a second, its masklets 6


def sav_masklets(root: Path, *, least_share: float = 0.02) -> list[MaskClip]:
    """Returns SA-V's masklets: `<video>.mp4` beside `<video>_manual.json` or `_auto.json`, anywhere below `root`.

    SA-V names no classes. Parts and specks, less than `least_share` of the picture in their largest frame, are left
    out; which of the others are people is the user's choice, by keeping those files. SourceError when there are none.
    """
    clips: list[MaskClip] = []
    for listing in sorted([*root.rglob("*_manual.json"), *root.rglob("*_auto.json")]):
        name = listing.stem.rpartition("_")[0]
        video = listing.with_name(f"{name}.mp4")
        if video.is_file():
            clips += _of_video(name, video, _read_json(listing)["masklet"], least_share)
    return _found(clips, root, "<video>.mp4 and <video>_manual.json")


def youtube_vis(pictures: Path, listing: Path, category: str = "person") -> list[MaskClip]:
    """Returns the objects of `category` in videos: `listing` is instances.json, `pictures` its JPEGImages folder."""
    content = _read_json(listing)
    wanted = _categories(content, category)
    files = {video["id"]: [pictures / name for name in video["file_names"]] for video in content["videos"]}
    clips = []
    for note in content["annotations"]:
        if note["category_id"] not in wanted or not any(note["segmentations"]):
            continue
        places, masks = files[note["video_id"]], note["segmentations"]
        size = next((mask["size"] for mask in masks if isinstance(mask, Mapping)), [0, 0])
        clips.append(
            MaskClip(
                f"{note['video_id']}-{note['id']}", len(masks), partial(_picture, places), partial(_shape, masks, size)
            )
        )
    return _found(clips, listing, f"an annotation of the category {category!r}")


def coco(pictures: Path, listing: Path, category: str = "person", *, least_area: int = 10_000) -> list[MaskClip]:
    """Returns the objects of `category` in pictures, each of at least `least_area` pixels; crowds are left out."""
    content = _read_json(listing)
    wanted = _categories(content, category)
    images = {image["id"]: image for image in content["images"]}
    clips = []
    for note in content["annotations"]:
        if note["category_id"] not in wanted or note.get("iscrowd") or note.get("area", least_area) < least_area:
            continue
        image = images[note["image_id"]]
        size = [image["height"], image["width"]]
        picture = partial(_picture, [pictures / image["file_name"]])
        clips.append(MaskClip(str(note["id"]), 1, picture, partial(_shape, [note["segmentation"]], size)))
    return _found(clips, listing, f"an annotation of the category {category!r}")


def _of_video(name: str, path: Path, masklets: Sequence[Sequence[Any]], least_share: float) -> list[MaskClip]:
    """One clip of every object: SA-V lists the frames, and of each frame the objects, one that is away as null."""
    video = Video(path)
    length = min(len(masklets), -(-video.length // SAV_EVERY))
    clips = []
    for number in range(max((len(objects) for objects in masklets), default=0)):
        masks = [objects[number] if number < len(objects) else None for objects in masklets[:length]]
        size = next((mask["size"] for mask in masks if mask), None)
        if size is None or max(_share(mask) for mask in masks if mask) < least_share:
            continue
        clips.append(MaskClip(f"{name}-{number}", length, _every(video), partial(_shape, masks, size)))
    return clips


def _every(video: Video) -> Callable[[int], NDArray[np.uint8]]:
    return lambda number: video.frame(number * SAV_EVERY)


def _share(mask: Mapping[str, Any]) -> float:
    return float(decode_mask(mask).mean())


def _picture(places: Sequence[Path], number: int) -> NDArray[np.uint8]:
    return read_colour(places[number])


def _shape(masks: Sequence[Any], size: Sequence[int], number: int) -> Mask8:
    """The mask of one frame: runs, polygons, or nothing where the object is away."""
    mask = masks[number]
    if not mask:
        return np.zeros((size[0], size[1]), np.uint8)
    if isinstance(mask, Mapping):
        return decode_mask(mask)
    canvas = np.zeros((size[0], size[1]), np.uint8)
    outlines = [np.rint(np.array(outline).reshape(-1, 1, 2)).astype(np.int32) for outline in mask]
    cv2.fillPoly(canvas, outlines, 1)
    return canvas


def _categories(content: Mapping[str, Any], category: str) -> set[int]:
    found = {entry["id"] for entry in content["categories"] if entry["name"] == category}
    if not found:
        names = ", ".join(sorted(entry["name"] for entry in content["categories"])[:8])
        raise SourceError(f"expected a category {category!r}, found {names}; name one of them")
    return found


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"expected a list of masks in {path}, found none: {error}") from error
    return content


def _found(clips: list[MaskClip], root: Path, expected: str) -> list[MaskClip]:
    if not clips:
        raise SourceError(f"expected {expected} in {root}, found none; check the path")
    return clips
