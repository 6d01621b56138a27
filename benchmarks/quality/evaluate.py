"""One method played over one clip, and its scores. A recurrent network is judged after it has run for a while."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines import Method
from benchmarks.clips import Clip, Matte8, Pixels8, back_and_forth
from benchmarks.metrics import ClipScorer, MetricProtocol, PerFrame
from rtmatte.errors import InputError
from rtmatte.frame import Alpha, Mask

ROUNDS = 3


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """The scores of one method on one clip, and the mattes that were kept, by frame number."""

    method: str
    clip: str
    per_frame: PerFrame
    mattes: Mapping[int, Matte8]
    step_ms: tuple[float, ...] = ()  # of every frame after the first, frame in to alpha at frame size


def evaluate(
    method: Method,
    clip: Clip,
    *,
    rounds: int = ROUNDS,
    protocol: MetricProtocol = "lr",
    keep: Collection[int] = (),
) -> Result:
    """Returns the scores of the last forward pass when `clip` is played forwards and backwards.

    The mask is given once, on the first frame; frames without truth are played, not scored. `rounds` counts the
    forward passes; 3 means forward, back, forward, back, forward, the frames at the turns shown once. 1 is the clip
    as it is. `keep` names the frames whose mattes are wanted.
    """
    if rounds < 1:
        raise InputError(f"expected one round or more, found {rounds}")
    shown = 1 + (2 * rounds - 1) * (clip.length - 1)
    order = islice(back_and_forth(clip.length), shown)
    scorer, mattes, stopwatch = ClipScorer(protocol), {}, Stopwatch(method)
    for number, matte in islice(play(stopwatch, clip, order), shown - clip.length, None):
        if clip.has_truth(number):
            scorer.add(matte, clip.truth(number))
        if number in keep:
            mattes[number] = matte
    return Result(method.name, clip.name, scorer.per_frame, mattes, tuple(stopwatch.step_ms))


class Stopwatch:
    """A method and how long each of its steps took, in milliseconds; starts are not counted, they warm up."""

    def __init__(self, method: Method) -> None:
        self.name = method.name
        self.step_ms: list[float] = []
        self._method = method

    def start(self, pixels: Pixels8, mask: Mask) -> Alpha:
        return self._method.start(pixels, mask)

    def step(self, pixels: Pixels8) -> Alpha:
        begun = time.perf_counter()
        alpha = self._method.step(pixels)
        self.step_ms.append(round((time.perf_counter() - begun) * 1e3, 3))
        return alpha


def play(method: Method, clip: Clip, order: Iterable[int]) -> Iterator[tuple[int, Matte8]]:
    """Yields frame numbers in `order` with the matte of each; the method is started with the clip's first mask."""
    for position, number in enumerate(order):
        pixels = clip.frame(number)
        alpha = method.step(pixels) if position else method.start(pixels, clip.first_mask())
        yield number, to_8_bits(alpha)


def to_8_bits(alpha: Alpha) -> Matte8:
    """Returns a new matte as it would be saved: clipped to 0..1, rounded to 8 bits."""
    levels: NDArray[np.float32] = np.rint(np.clip(alpha, 0, 1) * np.float32(255))
    return levels.astype(np.uint8)
