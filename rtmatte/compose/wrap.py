"""Light of the new background on the person's edge, as a lens and the air between would carry it there."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte import imaging
from rtmatte.compose.cutout import Cutout
from rtmatte.compose.scratch import Bytes, Scratch

REACH = 0.03  # how far light reaches into the person, of the shorter side
SHRINK = 4  # light is soft: it is computed in a picture so much smaller than the working size


def reach(shape: tuple[int, ...]) -> int:
    """Returns how many pixels deep light reaches into the person in a picture of `shape` (h, w)."""
    return max(1, round(REACH * min(shape[:2])))


class LightWrap:
    """Adds the background's light to the person's colours, in memory that is made once per size."""

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._shrink = imaging.Shrink()

    def add(self, person: NDArray[Any], cutout: Cutout, behind: Bytes, strength: float) -> None:
        """Screens the blurred background `behind` (H, W, 3) onto the colours `person` (1, edge.count, 3), in place.

        Light only adds: person + light - person * light / 255, where light fades out from the person's border inwards.
        """
        height, width = (max(1, side // SHRINK) for side in cutout.cover.shape)
        around = self._scratch.array("around", (height, width), np.float32)
        np.subtract(1, imaging.resize(cutout.cover, (width, height), around), out=around)
        light = self._scratch.array("light", (height, width, 3), np.uint8)
        self._shrink.into(behind, light)
        sigma = max(0.5, reach(cutout.cover.shape) / SHRINK / 2)
        for plane in (around, light):
            cv2.GaussianBlur(plane, (0, 0), sigma, plane, borderType=cv2.BORDER_REPLICATE)
        shining = self._scratch.array("shining", light.shape, np.float32)
        cv2.merge([around] * 3, shining)
        cv2.multiply(light, shining, light, strength, dtype=cv2.CV_8U)
        shone = cutout.edge.enlarged("light", light[cutout.edge.part(light.shape)], light.shape)
        left = cutout.edge.memory("left", (3,), np.float32)
        np.subtract(255, person, out=left)
        cv2.multiply(left, shone, left, 1 / 255, dtype=cv2.CV_32F)
        person += left
