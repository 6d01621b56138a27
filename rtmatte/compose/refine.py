"""A matte brought to its frame: what of the frame is the person, and how much of it at every pixel of the edge.

It adds no matte of its own: where the working alpha is flat, the answer is its linear interpolation.
"""

from __future__ import annotations

import cv2
import numpy as np

from rtmatte import imaging
from rtmatte.compose import guided, wrap
from rtmatte.compose.cutout import Cutout
from rtmatte.compose.edge import shaped
from rtmatte.compose.look import Look
from rtmatte.compose.runs import Runs
from rtmatte.compose.scratch import Bytes, Scratch
from rtmatte.compose.steady import Steady
from rtmatte.frame import Alpha, Matte

BELOW, ABOVE = -1.0, 2.0  # beyond any alpha: a resize or a blur of ones gives 1.0000001 here and there
SURE = 1 / 512  # an alpha so near to 0 or 1 is drawn as 0 or 1, which is less than half a level of any picture


class Refiner:
    """Brings mattes to the size of their frames, in memory that is made once per size.

    `look` may be set at any time and counts from the next matte on.
    """

    def __init__(self, look: Look | None = None) -> None:
        self.look = look or Look()
        self._scratch = Scratch()
        self._shrink = imaging.Shrink()
        self._steady = Steady()
        self._edge = Runs()
        self._matte: Matte | None = None
        self._cutout: Cutout | None = None
        self._alpha: Alpha | None = None

    def cut(self, matte: Matte) -> Cutout | None:
        """Returns the person of a matte, and None without a trustworthy one; a lease until the next matte."""
        if matte is not self._matte:  # several pictures may be drawn from one matte
            self._cutout = self._cut(matte)
            self._matte, self._alpha = matte, None
        return self._cutout

    def alpha(self, matte: Matte) -> Alpha:
        """Returns the alpha (H, W) float32 in 0..1 at the frame's size; all zero without a trustworthy matte.

        It is a lease until the next matte, and the engine's own memory when the sizes are equal and the look is plain.
        """
        cutout = self.cut(matte)
        if self._alpha is None:
            self._alpha = self._whole(cutout, matte)
        return self._alpha

    def forget(self) -> None:
        """Lets the next matte be the first: the ones before it were not cut here, or hidden."""
        self._steady.forget()
        self._matte = self._cutout = self._alpha = None

    def _whole(self, cutout: Cutout | None, matte: Matte) -> Alpha:
        shape = matte.frame.size[::-1]
        if cutout is not None and cutout.cover.shape == shape:
            return cutout.cover
        out: Alpha = self._scratch.array("whole", shape, np.float32)
        if cutout is None:
            out.fill(0)
        else:
            cv2.resize(cutout.cover, shape[::-1], out, interpolation=cv2.INTER_LINEAR)
            cutout.edge.put(cutout.edge_cover, out)
        return out

    def _cut(self, matte: Matte) -> Cutout | None:
        if matte.alpha is None:
            self._steady.forget()
            return None
        pixels, alpha = self._scratch.as_bytes(matte.frame.pixels), matte.alpha
        size = matte.frame.size
        if size[0] < alpha.shape[1] or size[1] < alpha.shape[0]:
            alpha = imaging.resize(alpha, size, self._scratch.array("alpha", size[::-1], np.float32))
        small = pixels
        if alpha.shape != size[::-1]:
            small = self._scratch.array("small", (*alpha.shape, 3), np.uint8)
            self._shrink.into(pixels, small)
        alpha = self._steady.held(alpha, small, self.look.steadiness)
        cover = shaped(alpha, self.look, scratch=self._scratch)
        self._edge.choose(self._mixed(alpha, cover), size)
        edge_pixels = self._edge.take("pixels", pixels)
        edge_alpha = self._at_edge(alpha, small, edge_pixels, size[::-1])
        edge_cover = edge_alpha
        if cover is not alpha:  # moved off its place, the edge has no detail to take from the frame
            edge_cover = self._edge.enlarged("cover", cover[self._edge.part(cover.shape)], cover.shape)
        inside = self._scratch.array("inside", cover.shape, np.uint8)
        cv2.inRange(cover, 0.5, ABOVE, inside)
        return Cutout(pixels, small, alpha, cover, inside, self._edge, edge_pixels, edge_alpha, edge_cover)

    def _mixed(self, alpha: Alpha, cover: Alpha) -> Bytes:
        """Returns where (h, w) something of the person is drawn, but not the frame's pixel as it is."""
        mixed: Bytes = self._scratch.array("mixed", alpha.shape, np.uint8)
        if cover is alpha and not self.look.light_wrap:
            cv2.inRange(alpha, SURE, 1 - SURE, mixed)
            return mixed
        least = np.minimum(alpha, cover, out=self._scratch.array("least", alpha.shape, np.float32))
        if self.look.light_wrap:
            deep = 2 * wrap.reach(alpha.shape) + 1
            cv2.erode(least, np.ones((deep, deep), np.uint8), least)
        drawn = self._scratch.array("drawn", alpha.shape, np.uint8)
        cv2.inRange(cover, SURE, ABOVE, drawn)
        cv2.inRange(least, BELOW, 1 - SURE, mixed)
        return cv2.bitwise_and(mixed, drawn, mixed).astype(np.uint8, copy=False)

    def _at_edge(self, alpha: Alpha, small: Bytes, pixels: Bytes, shape: tuple[int, ...]) -> Alpha:
        """Returns the alpha (1, count) at the edge of a frame of `shape`, with the detail of its `pixels` there."""
        if alpha.shape == shape:
            return self._edge.take("alpha", alpha)
        if not self._edge.count:
            return self._edge.memory("slope", (), np.float32)
        slope, offset = guided.lines(alpha, small, self._edge.part(alpha.shape), scratch=self._scratch)
        out: Alpha = self._edge.enlarged("slope", slope, alpha.shape)
        luma = self._edge.memory("luma", (), np.uint8)
        cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY, luma)
        cv2.multiply(out, luma, out, dtype=cv2.CV_32F)
        out += self._edge.enlarged("offset", offset, alpha.shape)
        return np.clip(out, 0, 1, out=out)
