"""Hair-like strands along the upper outline of a cut-out: clumps of thin curves, drawn once when assets are loaded."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_SUBPIXEL_BITS = 4


def with_strands(rgba: NDArray[np.uint8], *, seed: int) -> NDArray[np.uint8]:
    """A copy of `rgba` [S,S,4] with strands added above the shoulders; colours come from just inside the outline."""
    rng = np.random.default_rng(seed)
    size = rgba.shape[0]
    roots = _outline_roots(rgba[..., 3], size)
    if len(roots) == 0:
        return rgba.copy()
    colour = rgba[..., :3].astype(np.float32)
    alpha = rgba[..., 3].astype(np.float32) / 255
    for _ in range(int(rng.integers(4, 10))):
        x, y, nx, ny = roots[rng.integers(len(roots))]
        inside = rgba[int(np.clip(y - 5 * ny, 0, size - 1)), int(np.clip(x - 5 * nx, 0, size - 1)), :3]
        clump = _clump(rng, (x, y), (nx, ny), size) * float(rng.uniform(0.35, 0.95))
        new = np.maximum(alpha, clump)
        share = np.where(clump > 0, np.clip((new - alpha) / np.maximum(new, 1e-3), 0, 1), 0)[..., None]
        tone = inside.astype(np.float32) * float(rng.uniform(0.8, 1.2))
        colour = colour * (1 - share) + tone * share
        alpha = new
    return np.dstack([np.clip(colour, 0, 255), alpha * 255]).round().astype(np.uint8)


def _outline_roots(alpha: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Points (x, y, normal x, normal y) on the outline of the head: the top fifth of the body."""
    body = (alpha > 127).astype(np.uint8)
    rows = np.flatnonzero(body.any(axis=1))
    contours, _ = cv2.findContours(body, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if len(rows) == 0 or not contours:
        return np.zeros((0, 4), np.float32)
    points = max(contours, key=len)[:, 0].astype(np.float32)
    smooth = cv2.GaussianBlur(body.astype(np.float32), (0, 0), size / 80)
    gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    head = points[points[:, 1] < rows[0] + 0.17 * (size - rows[0])]
    x, y = head[:, 0].astype(int), head[:, 1].astype(int)
    normal = -np.stack([gx[y, x], gy[y, x]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-6
    return np.concatenate([head, normal], 1)


def _clump(
    rng: np.random.Generator, root: tuple[float, float], normal: tuple[float, float], size: int
) -> NDArray[np.float32]:
    """Coverage 0..1 [S,S] of one clump: neighbouring strands that lie along the outline and bend down."""
    canvas = np.zeros((size, size), np.uint8)
    length = size * rng.uniform(0.02, 0.08)
    side = 1.0 if rng.random() < 0.5 else -1.0
    lean = rng.uniform(0.3, 1.3)
    for _ in range(int(rng.integers(3, 12))):
        start = np.array(root) + rng.normal(0, size * 0.008, 2) - 3 * np.array(normal)
        along = np.array([-normal[1], normal[0]]) * side * lean + np.array(normal) * rng.uniform(0.2, 0.6)
        along += rng.normal(0, 0.12, 2)
        t = np.linspace(0, 1, 14)[:, None]
        reach = length * rng.uniform(0.6, 1.2)
        droop = np.array([0.0, rng.uniform(0.0, 0.8)])
        curve = start + reach * (along * t + droop * t**2)
        points = (curve * 2**_SUBPIXEL_BITS).round().astype(np.int32)
        cv2.polylines(canvas, [points], False, int(rng.integers(140, 256)), 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    coverage = canvas.astype(np.float32) / 255
    return np.maximum(0.75 * coverage, cv2.GaussianBlur(coverage, (0, 0), rng.uniform(0.6, 1.6)))
