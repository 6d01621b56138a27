"""Contact sheets: chosen frames of a clip, the truth and every method side by side over green."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from benchmarks.clips import Clip, Matte8, Pixels8
from benchmarks.quality.evaluate import Result

GREEN = np.array([0, 177, 64], np.float32)
CELL_WIDTH = 320
HEADER_HEIGHT = 24


def pick_frames(length: int, count: int = 6) -> list[int]:
    """Returns up to `count` frame numbers, evenly spread, the first and the last among them."""
    return sorted({int(n) for n in np.linspace(0, length - 1, count).round()})


def picked_frames(clip: Clip) -> list[int]:
    """Returns the frames of a clip's sheet, all of them with a truth."""
    shown = [number for number in range(clip.length) if clip.has_truth(number)]
    return [shown[place] for place in pick_frames(len(shown))]


def contact_sheet(clip: Clip, results: Sequence[Result], frames: Sequence[int]) -> Pixels8:
    """Returns one picture (H, W, 3) RGB: a row per frame; the frame, the truth and each result's matte as columns."""
    header = [_label(text) for text in ("frame", "truth", *(_title(result) for result in results))]
    rows = [np.hstack(header)]
    for number in frames:
        pixels = clip.frame(number)
        mattes = [clip.truth(number), *(result.mattes[number] for result in results)]
        rows.append(np.hstack([_cell(pixels), *(_cell(over_green(pixels, matte)) for matte in mattes)]))
    return np.vstack(rows)


def over_green(pixels: Pixels8, matte: Matte8) -> Pixels8:
    """Returns the frame where the matte is, green elsewhere; the frame's own colours, so its edges keep their room."""
    alpha = matte[..., None].astype(np.float32) / 255
    return np.rint(alpha * pixels + (1 - alpha) * GREEN).astype(np.uint8)


def _title(result: Result) -> str:
    return f"{result.method}  MAD {np.mean(result.per_frame['mad']):.1f}"


def _cell(pixels: Pixels8) -> Pixels8:
    height = round(pixels.shape[0] * CELL_WIDTH / pixels.shape[1])
    return cv2.resize(pixels, (CELL_WIDTH, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _label(text: str) -> Pixels8:
    label = np.full((HEADER_HEIGHT, CELL_WIDTH, 3), 32, np.uint8)
    cv2.putText(label, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (240, 240, 240), 1, cv2.LINE_AA)
    return label
