"""The person drawn over a picture, or alone. Only the edge is computed, everything else is copied."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.compose.cutout import Cutout
from rtmatte.compose.despill import Despill
from rtmatte.compose.look import Look
from rtmatte.compose.scratch import Bytes
from rtmatte.compose.wrap import LightWrap


class Painter:
    """Draws cut-outs, in memory that is made once per size."""

    def __init__(self) -> None:
        self._despill = Despill()
        self._light = LightWrap()

    def over(self, cutout: Cutout, out: Bytes, look: Look) -> None:
        """Draws the person over the picture `out` (H, W, 3): cover * person + (1 - cover) * picture, rounded once."""
        edge = cutout.edge
        if not edge.count:
            edge.copy(cutout.pixels, cutout.inside, out)
            return
        person = self._despill.colours(cutout, look.despill)
        if look.light_wrap:
            self._light.add(person, cutout, out, look.light_wrap)
        under = edge.take("under", out)
        edge.copy(cutout.pixels, cutout.inside, out)
        cover = edge.memory("cover of three", (3,), np.float32)
        cv2.cvtColor(cutout.edge_cover, cv2.COLOR_GRAY2RGB, cover)
        cv2.subtract(person, under, person, dtype=cv2.CV_32F)
        cv2.multiply(person, cover, person)
        cv2.add(person, under, person, dtype=cv2.CV_32F)
        edge.put(self._rounded(cutout, person), out)

    def alone(self, cutout: Cutout, alpha: Bytes, out: Bytes, look: Look) -> None:
        """Writes the person's colours into `out` (H, W, 3), straight, and black where `alpha` (H, W) bytes is 0."""
        out.fill(0)
        cutout.edge.copy(cutout.pixels, cutout.inside, out)
        edge = cutout.edge
        if not edge.count:
            return
        colours = self._rounded(cutout, self._despill.colours(cutout, look.despill))
        shown = edge.memory("shown", (3,), np.uint8)
        shown.fill(0)
        cv2.copyTo(colours, edge.take("bytes of alpha", alpha), shown)
        edge.put(shown, out)

    def _rounded(self, cutout: Cutout, colours: NDArray[Any]) -> Bytes:
        rounded: Bytes = cutout.edge.memory("rounded", (3,), np.uint8)
        cv2.convertScaleAbs(colours, rounded)
        return rounded
