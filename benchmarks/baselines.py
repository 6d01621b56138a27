"""Three standing baselines, each at its honest best: the first mask held, moved by optical flow, and cut per frame.

They see what a network sees: frames and the first mask. None of them is a product; a matting network has to beat them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.frame import Alpha, Mask

Pixels8 = NDArray[np.uint8]


class Method(Protocol):
    """Anything that follows a masked person through a clip: a baseline or a network."""

    @property
    def name(self) -> str:
        """What tables and sheets call it."""
        ...

    def start(self, pixels: Pixels8, mask: Mask) -> Alpha:
        """Returns the alpha of a clip's first frame, (H, W, 3) RGB with a mask of its size; forgets earlier clips."""
        ...

    def step(self, pixels: Pixels8) -> Alpha:
        """Returns the alpha of the next frame, (H, W) in 0..1, valid until the next call."""
        ...


class HeldMask:
    """The first mask, for ever: what doing nothing scores."""

    name = "held mask"

    def start(self, pixels: Pixels8, mask: Mask) -> Alpha:
        self._alpha = mask.values.copy()
        return self._alpha

    def step(self, pixels: Pixels8) -> Alpha:
        return self._alpha


class FlowMask:
    """The previous alpha moved by dense inverse search optical flow (Kroeger et al. 2016), OpenCV's medium preset."""

    name = "DIS flow"

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def start(self, pixels: Pixels8, mask: Mask) -> Alpha:
        self._alpha = mask.values.copy()
        self._luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        height, width = self._luma.shape
        self._grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        return self._alpha

    def step(self, pixels: Pixels8) -> Alpha:
        luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        # Flow from this frame back to the last one says where each pixel came from, so the warp leaves no holes.
        origin = self._grid + self._flow.calc(luma, self._luma, None)  # type: ignore[call-overload]
        across, down = origin[..., 0], origin[..., 1]
        moved = cv2.remap(self._alpha, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        self._alpha = moved.astype(np.float32, copy=False)
        self._luma = luma
        return self._alpha


class GrabCut:
    """A graph cut (Rother et al. 2004) of a band around the previous cut, on every frame.

    Measured on two 512x384 webcam clips at 15 frames a second: a band of 5% of the height beats 2, 3 and 8%, more than
    two iterations change MAD by 1%, and a slightly soft edge lowers MAD from 4.0 to 3.2.
    """

    name = "GrabCut"
    BAND = 0.05
    ITERATIONS = 2
    EDGE_SIGMA = 0.8

    def start(self, pixels: Pixels8, mask: Mask) -> Alpha:
        self._cut = (mask.values > 0.5).astype(np.uint8)
        radius = max(2, round(self.BAND * pixels.shape[0]))
        self._disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        return mask.values.copy()

    def step(self, pixels: Pixels8) -> Alpha:
        labels = self._labels()
        # Without sure pixels of both kinds there are no colours to learn from: the last cut stays.
        if cv2.GC_FGD in labels and cv2.GC_BGD in labels:
            cv2.setRNGSeed(0)
            models = np.zeros((1, 65)), np.zeros((1, 65))
            bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
            cv2.grabCut(bgr, labels, None, *models, self.ITERATIONS, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
            self._cut = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
        soft = cv2.GaussianBlur(self._cut.astype(np.float32), (0, 0), self.EDGE_SIGMA)
        return soft.astype(np.float32, copy=False)

    def _labels(self) -> NDArray[np.uint8]:
        labels = np.where(self._cut > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        labels[cv2.erode(self._cut, self._disc) > 0] = cv2.GC_FGD
        labels[cv2.dilate(self._cut, self._disc) == 0] = cv2.GC_BGD
        return labels


BASELINES: Mapping[str, Callable[[], Method]] = {method.name: method for method in (HeldMask, FlowMask, GrabCut)}
