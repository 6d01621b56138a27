"""What is not the empty room: a picture taken before anybody came in says who is there, with what they brought.

A chair or a microphone that is not in that picture stays in the cut-out, which no network for people would do.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.frame import Alpha, Frame, Mask, Pixels
from rtmatte.imaging import Fit, resize
from rtmatte.targets import Pick

Colours = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PlateOptions:
    """A pixel differs from the room by more than `least` of 255 for a trace, and by `most` for certain.

    `smallest` is the share of the picture that counts as a thing; holes below it are closed.
    """

    least: float = 18.0
    most: float = 42.0
    smallest: float = 0.004


class PlateTarget:
    """Proposes whatever differs from `plate` (H, W, 3), the empty room from the same camera, and picks parts of it.

    The camera must not move. Its light may change, as a whole: the plate is fitted to each frame.
    """

    name = "plate"

    def __init__(self, plate: Pixels, options: PlateOptions = PlateOptions()) -> None:
        self._plate = plate
        self._options = options
        self._fitted: Colours = np.empty((0, 0, 3), np.float32)

    def propose(self, frame: Frame) -> Mask | None:
        """Returns all that differs from the room, at the frame's size, or None when nothing does."""
        return _mask(self._parts(frame, Pick((), (0.0, 0.0, 1.0, 1.0))), frame)

    def pick(self, frame: Frame, pick: Pick) -> Mask | None:
        """Returns what differs from the room in the box of `pick`, or holds one of its wanted points and no other."""
        return _mask(self._parts(frame, pick), frame)

    def _parts(self, frame: Frame, pick: Pick) -> Alpha:
        """Returns the connected parts that are pointed at, (h, w) in 0..1."""
        found = self._difference(frame)
        height, width = found.shape
        if pick.box is not None:
            left, top, right, bottom = (
                round(place * side) for place, side in zip(pick.box, (width, height) * 2, strict=True)
            )
            inside = np.zeros_like(found)
            inside[top:bottom, left:right] = found[top:bottom, left:right]
            found = inside
        _, labels, stats, _ = cv2.connectedComponentsWithStats((found > 0.5).astype(np.uint8))
        kept = {
            int(label) for label in np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= self._options.smallest * found.size)
        }
        at = [
            (int(labels[min(int(p.y * height), height - 1), min(int(p.x * width), width - 1)]), p.wanted)
            for p in pick.points
        ]
        if any(wanted for _, wanted in at):
            kept &= {label for label, wanted in at if wanted}
        kept -= {0, *(label for label, wanted in at if not wanted)}
        chosen = cv2.dilate(
            np.isin(labels, list(kept)).astype(np.uint8), np.ones((3, 3), np.uint8)
        )  # its soft rim, too
        return np.where(chosen > 0, found, np.float32(0))

    def _difference(self, frame: Frame) -> Alpha:
        """Returns how surely each pixel is not of the room, (h, w) in 0..1, small holes closed."""
        fit = Fit.contain(frame.size, (512, 512))
        size = fit.box[2], fit.box[3]
        pixels = np.asarray(resize(frame.pixels, size), np.float32)
        if self._fitted.shape != pixels.shape:
            self._fitted = np.asarray(resize(self._plate, size), np.float32)
        room = self._fitted * _light(pixels, self._fitted)
        apart = cv2.GaussianBlur(np.abs(pixels - room), (5, 5), 0).max(axis=2)
        options = self._options
        sure = np.clip((apart - options.least) / (options.most - options.least), 0.0, 1.0).astype(np.float32)
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
        opened = cv2.morphologyEx(sure, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        return _without_holes(np.asarray(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, disc), np.float32), options.smallest)


def _light(pixels: Colours, room: Colours) -> Colours:
    """Returns by how much each colour of the room is lighter now, (3,).

    It is the median of the ratios, so that whoever covers less than half of the picture has no say.
    """
    ratios = (pixels.reshape(-1, 3) + 8.0) / (room.reshape(-1, 3) + 8.0)
    return np.asarray(np.clip(np.median(ratios[::7], axis=0), 0.5, 2.0), np.float32)


def _without_holes(alpha: Alpha, smallest: float) -> Alpha:
    """Returns `alpha` with holes of less than `smallest` of the picture filled: clothes of the wall's colour."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((alpha < 0.5).astype(np.uint8), connectivity=4)
    small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < smallest * alpha.size)
    return np.where(np.isin(labels, small[small > 0]), np.float32(1), alpha)


def _mask(found: Alpha, frame: Frame) -> Mask | None:
    return Mask(resize(found, frame.size)) if found.any() else None
