"""OpenCV's resizes and filters on tensors, to the level: what the host compositor does with pictures, for a GPU.

Resizes of floats, boxes and Gaussians are linear and separable, so each is two matrices, and OpenCV itself says them
when it is given unit pictures. Its resize of bytes computes in whole numbers and is followed bit by bit, as alphas may
move by a twentieth with a level of luma.

Planes are (C, H, W) float32; pictures' planes hold whole levels, 0..255.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Shape = tuple[int, int]  # (height, width)
Resize = Callable[[Tensor], Tensor]
Weights = NDArray[np.float32]  # of a row's pixels in those of another: (new, old)

FIXED = 11  # bits behind the point of OpenCV's weights for bytes
LUMA = (9798, 19235, 3735)  # of red, green and blue, in 1/32768


class Separable:
    """A linear map of planes, rows and columns apart."""

    def __init__(self, rows: Weights, columns: Weights, device: torch.device) -> None:
        self._rows = torch.from_numpy(rows).to(device)
        self._columns = torch.from_numpy(columns).to(device).T.contiguous()

    def __call__(self, planes: Tensor) -> Tensor:
        return self._rows @ planes @ self._columns


def interpolated(old: Shape, new: Shape, device: torch.device, *, how: int = cv2.INTER_LINEAR) -> Separable:
    """Returns the resize of float planes, linear or, with cv2.INTER_AREA, by means over areas."""
    rows, columns = (_resized(of, to, how) for of, to in zip(old, new, strict=True))
    return Separable(rows, columns, device)


def box(shape: Shape, radius: int, device: torch.device, *, border: int = cv2.BORDER_DEFAULT) -> Separable:
    """Returns the mean over (2 radius + 1) x (2 radius + 1) pixels."""
    kernel: NDArray[np.float64] = np.full(2 * radius + 1, 1 / (2 * radius + 1))
    return _filter(shape, kernel, border, device)


def gaussian(shape: Shape, sigma: float, device: torch.device, *, border: int) -> Separable:
    """Returns the Gaussian of standard deviation `sigma`, cut off where OpenCV cuts it off."""
    kernel = cv2.getGaussianKernel(round(sigma * 8 + 1) | 1, sigma, cv2.CV_64F).astype(np.float64, copy=False)
    return _filter(shape, kernel, border, device)


def luma(levels: Tensor) -> Tensor:
    """Returns the brightness (1, H, W), in whole levels, of the levels of red, green and blue."""
    red, green, blue = levels.to(torch.int32).unbind()
    mixed: Tensor = (red * LUMA[0] + green * LUMA[1] + blue * LUMA[2] + (1 << 14)) >> 15
    return mixed.to(torch.float32)[None]


def nearest(old: Shape, new: Shape, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the index (height, 1), (1, width) with which planes of `old` are seen at `new`, unmixed."""
    rows, columns = (
        cv2.resize(np.arange(of, dtype=np.float32)[None], (to, 1), interpolation=cv2.INTER_NEAREST_EXACT)
        for of, to in zip(old, new, strict=True)
    )
    return torch.from_numpy(rows).long().to(device).T, torch.from_numpy(columns).long().to(device)


class ByteResize:
    """The linear resize of levels that are bytes, in OpenCV's fixed point."""

    def __init__(self, old: Shape, new: Shape, device: torch.device) -> None:
        sides = zip(old, new, (False, True), strict=True)
        self._rows, self._columns = (_taps(of, to, device, clamped=flat) for of, to, flat in sides)

    def __call__(self, levels: Tensor) -> Tensor:
        whole = levels.to(torch.int32)
        left, right, of_left, of_right = self._columns
        mixed = (whole[:, :, left] * of_left + whole[:, :, right] * of_right) >> 4
        above, below, of_above, of_below = (each[:, None] if each.dtype == torch.int32 else each for each in self._rows)
        mixed = ((mixed[:, above] * of_above) >> 16) + ((mixed[:, below] * of_below) >> 16)
        return ((mixed + 2) >> 2).to(torch.float32)


class Shrink:
    """`imaging.Shrink` for planes of one size: halved while they are more than twice too large, then interpolated."""

    def __init__(self, old: Shape, new: Shape, device: torch.device, *, levels: bool) -> None:
        """`levels` says that planes hold bytes, which every step rounds."""
        shapes = [old]
        while shapes[-1][0] > 2 * new[0] or shapes[-1][1] > 2 * new[1]:
            shapes.append((max(new[0], shapes[-1][0] // 2), max(new[1], shapes[-1][1] // 2)))
        self._steps: Sequence[Resize] = [_halving(*pair, device, levels) for pair in pairwise(shapes)]
        if shapes[-1] != new:
            self._steps = [*self._steps, enlarged(shapes[-1], new, device, levels=levels)]

    def __call__(self, planes: Tensor) -> Tensor:
        for step in self._steps:
            planes = step(planes)
        return planes


def enlarged(old: Shape, new: Shape, device: torch.device, *, levels: bool) -> Resize:
    """Returns the linear resize of planes; `levels` says that they hold bytes."""
    even = old[0] == 2 * new[0] and old[1] == 2 * new[1]
    if levels and even:
        return _halve_levels
    return ByteResize(old, new, device) if levels else interpolated(old, new, device)


def _halving(old: Shape, new: Shape, device: torch.device, levels: bool) -> Resize:
    if old[0] == 2 * new[0] and old[1] == 2 * new[1]:
        return _halve_levels if levels else _halve
    resize = interpolated(old, new, device, how=cv2.INTER_AREA)
    return (lambda planes: resize(planes).round()) if levels else resize


def _halve(planes: Tensor) -> Tensor:
    return functional.avg_pool2d(planes, 2)


def _halve_levels(levels: Tensor) -> Tensor:
    return torch.floor(functional.avg_pool2d(levels, 2) + 0.5)


def _resized(old: int, new: int, how: int) -> Weights:
    """Returns the weights of a resize along one side: what becomes of rows that are 1 and else 0."""
    if old == new:
        return np.eye(old, dtype=np.float32)
    return cv2.resize(np.eye(old, dtype=np.float32), (old, new), interpolation=how).astype(np.float32, copy=False)


def _filter(shape: Shape, kernel: NDArray[np.float64], border: int, device: torch.device) -> Separable:
    rows, columns = (
        cv2.sepFilter2D(np.eye(side), cv2.CV_64F, np.ones(1), kernel, borderType=border).astype(np.float32)
        for side in shape
    )
    return Separable(rows, columns, device)


def _taps(old: int, new: int, device: torch.device, *, clamped: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns, for a side, the two pixels that each new one lies between, and the whole-number weight of each.

    Beyond the border OpenCV takes columns at full weight (`clamped`), and rows as a mixture of one with itself.
    """
    place = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    first = np.floor(place)
    share = place - first
    if clamped:
        share[(first < 0) | (first >= old - 1)] = 0
    pixels = (np.clip(first + step, 0, old - 1).astype(np.int64) for step in (0, 1))
    weights = (np.rint(each * (1 << FIXED)).astype(np.int32) for each in (1 - share, share))
    left, right, of_left, of_right = (torch.from_numpy(each).to(device) for each in (*pixels, *weights))
    return left, right, of_left, of_right
