"""RGB pictures as the bytes of the pixel formats that cameras have."""

from __future__ import annotations

from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import SinkError

Bytes = NDArray[np.uint8]


class PixelFormat(StrEnum):
    """How a pixel is stored; all but RGB are BT.601 in limited range, which is what readers of a camera expect."""

    RGB = "rgb"
    I420 = "i420"  # planes of Y, U and V, colour at a quarter of the pixels
    NV12 = "nv12"  # a plane of Y and one of U and V in turn
    YUYV = "yuyv"  # one plane, colour at half of the pixels

    @property
    def fourcc(self) -> str:
        """What Linux calls it; RGB is made I420 by pyvirtualcam."""
        return "YU12" if self in (PixelFormat.RGB, PixelFormat.I420) else self.name


class Packer:
    """Turns pictures of one size, both sides even, into one pixel format."""

    def __init__(self, pixel_format: PixelFormat, size: tuple[int, int]) -> None:
        width, height = size
        if width % 2 or height % 2:
            raise SinkError(f"expected a virtual camera of even width and height, found {width}x{height}")
        self._format = pixel_format
        self._planes = np.empty((height * 3 // 2, width), np.uint8)  # I420
        self._pairs = np.empty((height, width, 2), np.uint8)  # YUYV
        self._luma = width * height

    def pack(self, pixels: Bytes) -> Bytes:
        """Returns (H, W, 3) RGB in the format: `pixels` itself for RGB, else flat memory that the next call reuses."""
        match self._format:
            case PixelFormat.RGB:
                return pixels
            case PixelFormat.YUYV:
                cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_YUY2, dst=self._pairs)
                return self._pairs.reshape(-1)
            case PixelFormat.I420:
                cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420, dst=self._planes)
                return self._planes.reshape(-1)
            case PixelFormat.NV12:
                cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420, dst=self._planes)
                return self._interleaved(self._planes.reshape(-1))

    def _interleaved(self, planar: Bytes) -> Bytes:
        packed = self._pairs.reshape(-1)[: planar.size]  # YUYV is the larger of the two, and not in use
        packed[: self._luma] = planar[: self._luma]
        for offset, plane in enumerate(np.split(planar[self._luma :], 2)):
            packed[self._luma + offset :: 2] = plane
        return packed
