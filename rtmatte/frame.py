"""The values that travel along the line: Frame, Mask and Matte. They hold pixels, they do nothing with them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import InputError, MaskError

Pixels = NDArray[np.uint8] | NDArray[np.float32]
Alpha = NDArray[np.float32]


class Phase(StrEnum):
    """Where a session stands; only `TRACKING` frames have an alpha of their own."""

    WAITING = "waiting"  # no target yet: nothing to cut out
    SEEDING = "seeding"  # the mask was just given to the network
    WARMING = "warming"  # passes on the stored first frame
    TRACKING = "tracking"
    LOST = "lost"  # the target is gone or the network failed; the room stays hidden


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """One picture.

    `pixels` is (H, W, 3) RGB, uint8, or float32 in 0..255 where a file was resized for parity. Only a compositor may
    make frames of another kind, for sinks that want them: (H, W, 1) an alpha, (H, W, 4) RGB with straight alpha.
    It is a lease: the maker may reuse the memory a few frames later, so copy what must be kept.
    `captured_at` is in seconds on the session clock; `pts` is media time in seconds, or None for live input.
    A `blank` frame stands for one that did not come: nothing of it may be shown, and the next picture is a first one.
    """

    seq: int
    pixels: Pixels
    captured_at: float
    pts: float | None = None
    blank: bool = False

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] not in (1, 3, 4) or 0 in shape:
            raise InputError(f"a frame has shape (height, width, 3); found {shape}")
        if dtype != np.uint8 and dtype != np.float32:
            raise InputError(f"a frame holds uint8 or float32; found {dtype}")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def __repr__(self) -> str:
        width, height = self.size
        return f"Frame(seq={self.seq}, {width}x{height} {self.pixels.dtype}, captured_at={self.captured_at:.3f})"


@dataclass(frozen=True, slots=True, repr=False)
class Mask:
    """A proposal of who is to be cut out: `values` (H, W) float32 in 0..1, owned by the receiver."""

    values: Alpha

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or 0 in self.values.shape:
            raise MaskError(f"a mask has shape (height, width); found {self.values.shape}")
        if self.values.dtype != np.float32:
            raise MaskError(f"a mask holds float32 in 0..1; found {self.values.dtype}")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.values.shape[1], self.values.shape[0]

    @property
    def area(self) -> float:
        """Mean of the mask, 0..1."""
        return float(self.values.mean())

    def __repr__(self) -> str:
        width, height = self.size
        return f"Mask({width}x{height}, area={self.area:.3f})"


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class OnDevice:
    """A frame and its alpha where a network left them on a GPU: a lease that ends with the last reference to it.

    `pixels` is the address of (H, W, 3) uint8, `alpha` that of (H, W) as the network gave it: float32 in 0..1, or
    uint8 in 0..255 where `in_bytes`.
    """

    pixels: int
    alpha: int
    in_bytes: bool


@dataclass(frozen=True, slots=True, repr=False)
class Matte:
    """A frame and the alpha computed from that very frame.

    `alpha` is (h, w) float32 in 0..1 and covers the whole frame at the working resolution; it is a lease of the
    engine's memory. It is None when there is no trustworthy matte, and then nothing of the frame may be shown.
    `alphas` are those of the targets, in their order, as far as they are to be trusted; `alpha` is their union.
    `on_device` is the same frame and `alpha` once more, for who draws there: when it is None they are only here.
    """

    frame: Frame
    alpha: Alpha | None
    phase: Phase
    alphas: tuple[Alpha | None, ...] = ()
    on_device: OnDevice | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None and (self.alpha.ndim != 2 or self.alpha.dtype != np.float32):
            raise InputError(f"an alpha is (height, width) float32; found {self.alpha.shape} {self.alpha.dtype}")

    def __repr__(self) -> str:
        alpha = "none" if self.alpha is None else f"{self.alpha.shape[1]}x{self.alpha.shape[0]}"
        return f"Matte({self.frame!r}, alpha={alpha}, phase={self.phase})"
