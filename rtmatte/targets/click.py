"""The person pointed at: what lite sees in windows around the points, and where that does not fit what was pointed at,
GrabCut (Rother, Kolmogorov and Blake, 2004) between the two kinds of points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.frame import Alpha, Frame, Mask
from rtmatte.imaging import Fit, Size, largest_part, resize
from rtmatte.targets import Looker, Pick

LONGEST = 512  # pixels of the longer side of the picture in which masks are made
LEAST = 0.0005  # of the picture; less than this is nothing
TRACE = 0.1  # alpha from which a pixel belongs to somebody
WIDTHS = (0.7, 1.0)  # of windows, in their heights: somebody with arms down, and held out
HEIGHTS = (1.0, 0.55)  # of windows, in the picture's: somebody near, somebody at the back of the room
MARGIN = 0.08  # around a box, in its own size: boxes are drawn too tightly as often as too widely
ENOUGH = 0.9  # worth at which no other window is looked at
BRUSH = 0.012  # radius of a point, in the picture's longer side
REACH = 0.2  # of the picture's longer side, around a point where no person is seen: what a thing may measure
ROUNDS = 3  # of GrabCut


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a picture, in its pixels; right and bottom are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        return self.right - self.left, self.bottom - self.top

    def of(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Returns this part of (H, W, ...), a view."""
        return picture[self.top : self.bottom, self.left : self.right]


class ClickPicker:
    """Picks by what `looker` sees in half a dozen windows: some tenths of a second of work."""

    def __init__(self, looker: Looker) -> None:
        self._looker = looker

    def pick(self, frame: Frame, pick: Pick) -> Mask | None:
        """Returns who was pointed at, or None when nothing there stands out from what is around it.

        Raises EngineError when the network fails.
        """
        size = _reduced(frame.size)
        pixels = np.empty((size[1], size[0], 3), np.uint8)
        Fit(size, (0, 0, *size)).forward(frame.pixels, pixels)
        scene = _Scene(pick, size)
        worth, best = 0.0, np.zeros(pixels.shape[:2], np.float32)
        for window in scene.windows():
            found = scene.chosen(self._look(pixels, window))
            worth, best = max((worth, best), (scene.worth(found, window), found), key=lambda each: each[0])
            if worth >= ENOUGH:
                break
        if not scene.satisfied(best):
            best = scene.grabbed(pixels, best)
        return Mask(resize(best, frame.size)) if best.mean() >= LEAST else None

    def _look(self, pixels: NDArray[np.uint8], window: Window) -> Alpha:
        """Returns what is seen in the window, at the picture's size, 0 around it."""
        alpha = np.zeros(pixels.shape[:2], np.float32)
        resize(self._looker.look(window.of(pixels)), window.size, window.of(alpha))
        return alpha


def _parts_at(alpha: Alpha, points: Sequence[tuple[int, int]], *, trace: float) -> Alpha:
    """Returns `alpha` with only those connected parts of what is above `trace` that hold one of the points."""
    labels = cv2.connectedComponents((alpha > trace).astype(np.uint8), connectivity=4)[1]
    held = [label for x, y in points if (label := labels[y, x])]
    return np.where(np.isin(labels, held), alpha, np.float32(0))


def _reduced(size: Size) -> Size:
    scale = min(1.0, LONGEST / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


class _Scene:
    """What was pointed at, in the pixels of one picture."""

    def __init__(self, pick: Pick, size: Size) -> None:
        self._width, self._height = size
        self._brush = max(2, round(BRUSH * max(size)))
        self._wanted = [self._pixel(point.x, point.y) for point in pick.points if point.wanted]
        self._unwanted = [self._pixel(point.x, point.y) for point in pick.points if not point.wanted]
        self._box = None if pick.box is None else self._window(*pick.box, margin=MARGIN)

    def windows(self) -> Iterator[Window]:
        """Yields where to look: at the box, or at the whole picture and, at several sizes, around the wanted points."""
        if self._box is not None:
            yield self._box
            return
        yield Window(0, 0, self._width, self._height)
        x = sum(x for x, _ in self._wanted) / len(self._wanted)
        y = sum(y for _, y in self._wanted) / len(self._wanted)
        for high in HEIGHTS:
            for wide in WIDTHS:
                height = high * self._height
                width = min(wide * height, self._width)
                left = min(max(x - width / 2, 0), self._width - width)
                top = min(max(y - height / 2, 0), self._height - height)
                yield Window(round(left), round(top), round(left + width), round(top + height))

    def chosen(self, alpha: Alpha) -> Alpha:
        """Returns what of `alpha` was pointed at, 0 around it."""
        alpha = np.nan_to_num(alpha, nan=0.0)
        return _parts_at(alpha, self._wanted, trace=TRACE) if self._wanted else largest_part(alpha, trace=TRACE)

    def worth(self, alpha: Alpha, window: Window) -> float:
        """Returns how far `alpha` is to be believed, 0..1: sure of itself, whole, and all that was pointed at."""
        body = alpha[alpha > TRACE]
        if body.size < LEAST * alpha.size:
            return 0.0
        sure = float(np.abs(2.0 * body - 1.0).mean())
        return sure * (1.0 - self._cut(alpha, window)) * (1.0 if self.satisfied(alpha) else 0.5)

    def satisfied(self, alpha: Alpha) -> bool:
        """Whether every wanted point is inside `alpha` and every other one outside."""
        return all(alpha[y, x] >= 0.5 for x, y in self._wanted) and all(alpha[y, x] < 0.5 for x, y in self._unwanted)

    def grabbed(self, pixels: NDArray[np.uint8], alpha: Alpha) -> Alpha:
        """Returns what GrabCut makes of the points, and of `alpha` where somebody was seen."""
        labels = self._labels(alpha)
        known = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        if known.all() or not known.any():
            return np.zeros_like(alpha)
        models = np.zeros((2, 1, 65))  # of the colours; GrabCut's memory, of no use to us
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        cv2.grabCut(bgr, labels, (0, 0, 0, 0), models[0], models[1], ROUNDS, cv2.GC_INIT_WITH_MASK)
        cut = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
        return _parts_at(cut, self._wanted, trace=0.5) if self._wanted else largest_part(cut, trace=0.5)

    def _labels(self, alpha: Alpha) -> NDArray[np.uint8]:
        """Returns what GrabCut is told of each pixel."""
        labels = np.full(alpha.shape, cv2.GC_BGD, np.uint8)
        if alpha.any():
            near = cv2.dilate(alpha, np.ones((4 * self._brush + 1,) * 2, np.uint8))
            labels[near > 0.5] = cv2.GC_PR_BGD
            labels[(alpha > 0.5) & self._nearer(alpha.shape)] = cv2.GC_PR_FGD
        elif self._box is not None:
            self._box.of(labels)[...] = cv2.GC_PR_FGD
        for x, y in self._wanted:
            reach = round(REACH * max(self._width, self._height))
            spot = labels[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach]
            spot[spot == cv2.GC_BGD] = cv2.GC_PR_BGD
        for points, label in ((self._wanted, cv2.GC_FGD), (self._unwanted, cv2.GC_BGD)):
            for point in points:
                cv2.circle(labels, point, self._brush, label, thickness=cv2.FILLED)
        return labels

    def _nearer(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Returns where a wanted point is nearer than any other (H, W): who was seen as one has to be divided."""
        if not self._wanted or not self._unwanted:
            return np.ones(shape, np.bool_)
        ys, xs = np.mgrid[: shape[0], : shape[1]]
        wanted, unwanted = (
            np.min([(xs - x) ** 2 + (ys - y) ** 2 for x, y in points], axis=0)
            for points in (self._wanted, self._unwanted)
        )
        return np.asarray(wanted <= unwanted)

    def _cut(self, alpha: Alpha, window: Window) -> float:
        """Returns how far somebody is cut by the window's sides where the picture goes on: 0, to 1 for all of them."""
        body, part = alpha > 0.5, window.of(alpha) > 0.5
        sides = [part[:, 0]] * (window.left > 0) + [part[:, -1]] * (window.right < self._width)
        sides += [part[0]] * (window.top > 0) + [part[-1]] * (window.bottom < self._height)
        length = sum(np.count_nonzero(side) for side in sides)
        return min(1.0, length / max(1.0, math.sqrt(np.count_nonzero(body))))

    def _pixel(self, x: float, y: float) -> tuple[int, int]:
        return min(int(x * self._width), self._width - 1), min(int(y * self._height), self._height - 1)

    def _window(self, left: float, top: float, right: float, bottom: float, *, margin: float) -> Window:
        beside, above = margin * (right - left), margin * (bottom - top)
        x, y = self._pixel(max(0.0, left - beside), max(0.0, top - above))
        end_x, end_y = self._pixel(min(1.0, right + beside), min(1.0, bottom + above))
        return Window(x, y, end_x + 1, end_y + 1)
