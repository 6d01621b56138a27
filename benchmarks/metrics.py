"""The five published video matting metrics in both protocols, and `core`, the error away from the edge.

Everything is computed from 8-bit mattes, because the published scores are taken from saved files, and over the whole
frame. Grad and Conn are sums: they grow with the picture and compare at one size only. The others are means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import InputError

# "lr" stretches both mattes to 0..1 for Grad and has Conn; "hr" does neither.
MetricProtocol = Literal["lr", "hr"]
Matte8 = NDArray[np.uint8]
PerFrame = Mapping[str, Sequence[float]]

PUBLISHED_FRAME_LIMIT = 700


def _derivative_kernels(sigma: float, half: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the Gaussian and its first derivative, each of unit L2 norm: so is their outer product."""
    x = np.arange(-half, half + 1, dtype=np.float64)
    gauss = np.exp(-(x**2) / (2 * sigma**2))
    slope = -x * gauss
    return (gauss / np.linalg.norm(gauss)).astype(np.float32), (slope / np.linalg.norm(slope)).astype(np.float32)


def _phi_table() -> NDArray[np.float64]:
    """Returns Conn's phi as a table [level 0..10, value 0..255]."""
    excess = np.arange(256) / 255 - np.arange(11)[:, None] / 10
    return np.where(excess >= 0.15, 1 - excess, 1.0)


GAUSS, SLOPE = _derivative_kernels(1.4, 4)
PHI = _phi_table()
# 8-bit values that reach 0.1, 0.2 ... 1.0; exact, where float thresholds would depend on rounding.
CONN_LEVELS = tuple(-(-255 * tenth // 10) for tenth in range(1, 11))
# The edge runs between pixels: one whose centre is within 2 px of it has one of the other side within 2.5 px.
NEAR_EDGE = (np.add.outer(np.arange(-2, 3) ** 2, np.arange(-2, 3) ** 2) <= 2.5**2).astype(np.uint8)


class ClipScorer:
    """Scores one clip frame by frame; holds the previous frame's error and nothing else of the clip."""

    def __init__(self, protocol: MetricProtocol = "lr") -> None:
        self._protocol = protocol
        self._error: NDArray[np.int16] | None = None
        self._per_frame: dict[str, list[float]] = {}

    def add(self, pred: Matte8, true: Matte8) -> dict[str, float]:
        """Returns the scores of one more frame; `pred` and `true` are (H, W) uint8 and are not kept."""
        _check_pair(pred, true)
        scores = {
            "mad": mad(pred, true),
            "mse": mse(pred, true),
            "grad": grad(pred, true, protocol=self._protocol),
            "dtssd": self._dtssd(pred, true),
            "core": core(pred, true),
        }
        if self._protocol == "lr":
            scores["conn"] = conn(pred, true)
        for name, value in scores.items():
            self._per_frame.setdefault(name, []).append(value)
        return scores

    @property
    def per_frame(self) -> PerFrame:
        """One list per metric, in order of the frames."""
        return self._per_frame

    @property
    def clip_mean(self) -> dict[str, float]:
        """The mean of every list; frame 0 has dtSSD 0 and counts, as published."""
        return clip_mean(self._per_frame)

    def _dtssd(self, pred: Matte8, true: Matte8) -> float:
        """Returns how differently both changed since the last frame: root mean square, times 100; 0 on the first."""
        # (p1 - p0) - (t1 - t0) = (p1 - t1) - (p0 - t0): one stored error does for two stored pictures.
        previous, self._error = self._error, np.subtract(pred, true, dtype=np.int16)
        if previous is None:
            return 0.0
        if previous.shape != self._error.shape:
            raise InputError(f"the frames of a clip have one size; found {pred.shape} after {previous.shape}")
        return 100 * float(np.sqrt(cv2.norm(self._error, previous, cv2.NORM_L2SQR) / pred.size)) / 255


def score_clip(pred: Iterable[Matte8], true: Iterable[Matte8], *, protocol: MetricProtocol = "lr") -> ClipScorer:
    """Returns the scores of two clips of equal length, frames (H, W) uint8."""
    scorer = ClipScorer(protocol)
    for ours, reference in zip_longest(pred, true):
        if ours is None or reference is None:
            raise InputError("prediction and truth have the same number of frames; one of them ended early")
        scorer.add(ours, reference)
    return scorer


def clip_mean(per_frame: PerFrame) -> dict[str, float]:
    """Returns the plain mean of every metric over the frames of one clip."""
    return {name: float(np.mean(values)) for name, values in per_frame.items()}


def mean_of_clips(clips: Sequence[PerFrame]) -> dict[str, float]:
    """Returns the plain mean of the clip means: every clip counts once, whatever its length."""
    means = [clip_mean(clip) for clip in clips]
    return {name: float(np.mean([mean[name] for mean in means])) for name in means[0]}


def published_mean(clips: Sequence[PerFrame]) -> dict[str, float]:
    """Returns the average of the published spreadsheets: over clips per frame number, then over frame numbers.

    Frame numbers past the end of the first clip, or past 700, are left out. Equal lengths give `mean_of_clips`.
    """
    means = {}
    for name, first in clips[0].items():
        columns = range(min(len(first), PUBLISHED_FRAME_LIMIT))
        means[name] = float(np.mean([np.mean([c[name][i] for c in clips if i < len(c[name])]) for i in columns]))
    return means


def mad(pred: Matte8, true: Matte8) -> float:
    """Returns the mean absolute difference of alpha, times 1000."""
    return 1e3 * cv2.norm(pred, true, cv2.NORM_L1) / (255 * pred.size)


def mse(pred: Matte8, true: Matte8) -> float:
    """Returns the mean squared difference of alpha, times 1000."""
    return 1e3 * cv2.norm(pred, true, cv2.NORM_L2SQR) / (255**2 * pred.size)


def grad(pred: Matte8, true: Matte8, *, protocol: MetricProtocol) -> float:
    """Returns the summed squared difference of gradient magnitudes, over 1000; "lr" stretches both to 0..1 first."""
    return cv2.norm(_slope(pred, protocol), _slope(true, protocol), cv2.NORM_L2SQR) / 1e3


def conn(pred: Matte8, true: Matte8) -> float:
    """Returns the summed difference of connectivity, over 1000."""
    both = np.minimum(pred, true)
    inside = np.ones(both.shape, np.uint8)
    level = np.zeros(both.shape, np.uint8)
    for threshold in CONN_LEVELS:
        inside &= _largest_region(both >= threshold)
        if not inside.any():
            break
        level += inside
    return float(np.abs(PHI[level, pred] - PHI[level, true]).sum()) / 1e3


def core(pred: Matte8, true: Matte8) -> float:
    """Returns the mean absolute difference, times 1000, over pixels more than 2 px from the reference edge.

    The edge is the boundary of truth > 0.5, which runs between pixels; a pixel is near it when one of the other side is
    within 2.5 px. Soft edges and the doubt of the reference lie in that band; holes, haze and lost limbs do not. 0 when
    the band is everything.
    """
    band = cv2.morphologyEx((true > 127).astype(np.uint8), cv2.MORPH_GRADIENT, NEAR_EDGE)
    outside = band.size - cv2.countNonZero(band)
    if outside == 0:
        return 0.0
    return 1e3 * cv2.norm(pred, true, cv2.NORM_L1, 1 - band) / (255 * outside)


def _slope(matte: Matte8, protocol: MetricProtocol) -> NDArray[np.float32]:
    """Returns the gradient magnitude; the stretch to 0..1 is linear, so it is applied to the magnitude."""
    low, high, _, _ = cv2.minMaxLoc(matte)
    span = 255.0 if protocol == "hr" else high - low
    across = cv2.sepFilter2D(matte, cv2.CV_32F, SLOPE, GAUSS, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(matte, cv2.CV_32F, GAUSS, SLOPE, borderType=cv2.BORDER_REPLICATE)
    magnitude: NDArray[np.float32] = cv2.magnitude(across, down)  # type: ignore[assignment]
    magnitude *= 1 / span if span else 0.0
    return magnitude


def _largest_region(reached: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Returns the largest 4-connected region as 0 and 1, the first one on a tie; all 0 when there is none."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(reached.view(np.uint8), connectivity=4)
    if len(stats) == 1:
        return np.zeros(reached.shape, np.uint8)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return np.equal(labels, largest).view(np.uint8)


def _check_pair(pred: Matte8, true: Matte8) -> None:
    for name, matte in (("prediction", pred), ("truth", true)):
        if matte.ndim != 2 or matte.dtype != np.uint8 or matte.size == 0:
            raise InputError(f"a {name} is (height, width) uint8; found {matte.shape} {matte.dtype}")
    if pred.shape != true.shape:
        raise InputError(f"prediction and truth have one size; found {pred.shape} and {true.shape}")
