"""What carries a frame from one thread to the next: memory that is filled again and again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rtmatte.frame import Alpha, Frame, Matte, Pixels


class Parcel:
    """A frame on its way, then its matte, in memory of its own.

    A slow stage may hold one while many newer frames pass, so the leases of source and session cannot do.
    """

    frame: Frame
    matte: Matte
    _pixels: Pixels

    def __init__(self) -> None:
        self._pixels = np.empty((1, 1, 3), np.uint8)
        self._alphas: list[Alpha] = []  # of everybody, then of each

    def pack_frame(self, frame: Frame) -> None:
        """Puts a copy of `frame` inside; the matte that was there is void."""
        if (self._pixels.shape, self._pixels.dtype) != (frame.pixels.shape, frame.pixels.dtype):
            self._pixels = np.empty_like(frame.pixels)
        np.copyto(self._pixels, frame.pixels)
        self.frame = replace(frame, pixels=self._pixels)

    def pack_matte(self, matte: Matte) -> None:
        """Puts a copy of the alphas inside, beside the frame they are of."""
        each = tuple(self._kept(place, alpha) for place, alpha in enumerate(matte.alphas, 1))
        self.matte = Matte(self.frame, self._kept(0, matte.alpha), matte.phase, each, matte.on_device)

    def _kept(self, place: int, alpha: Alpha | None) -> Alpha | None:
        if alpha is None:
            return None
        self._alphas += [np.empty((0, 0), np.float32)] * (place + 1 - len(self._alphas))
        if self._alphas[place].shape != alpha.shape:
            self._alphas[place] = np.empty(alpha.shape, np.float32)
        np.copyto(self._alphas[place], alpha)
        return self._alphas[place]
