"""What is asked of one method on one clip; every answer is a record of numbers.

Returns: the person is covered, in the dark or away for 30 frames; how well are they found within ten frames after?
Swap: two people alike; does the other one ever have the matte? Masks: how large is the error at frame 20 from a mask
that is accurate, too large, or drawn roughly?
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import metrics
from benchmarks.baselines import Method
from benchmarks.clips import Clip, Matte8, Pixels8, back_and_forth
from benchmarks.quality.evaluate import to_8_bits
from benchmarks.recovery import INTERRUPTIONS, Interruption
from rtmatte.frame import Alpha, Mask

Answer = dict[str, float]

GONE = 30  # frames without the person
WITHIN = 10  # frames after the return in which they have to be found
FOUND = 0.9  # overlap (intersection over union) that counts as found
RIGHT = 0.5  # overlap above which it is the right person: a wrong one overlaps hardly at all
SEEN = 0.01  # share of the picture below which there is too little of a person to judge
JUDGED = 20  # frame at which first masks are compared
GROWN = 8  # pixels by which a generous mask is too large at 512x384, scaled with the picture
CORNERS = 12  # of a mask drawn roughly
LIGHT, NOISE = 0.04, 2.0  # what is left of the picture when the light is off, and the sensor's noise in levels


def overlap(alpha: Matte8, truth: Matte8) -> float:
    """Returns intersection over union at 0.5 of two uint8 mattes of one size; 1 where both are empty."""
    found, wanted = alpha > 127, truth > 127
    either = np.count_nonzero(found | wanted)
    return float(np.count_nonzero(found & wanted) / either) if either else 1.0


def light_off(pixels: Pixels8, matte: Matte8) -> Pixels8:
    """Returns the picture of a dark room: some levels of it, and more noise than that."""
    grain = np.roll(_grain(pixels.shape), zlib.crc32(pixels[0].tobytes()) % len(pixels), axis=0)  # no two alike
    levels: NDArray[np.float32] = np.rint(pixels * np.float32(LIGHT)) + grain
    return np.clip(levels, 0, 255).astype(np.uint8)


GOINGS = tuple(replace(one, frames=GONE) for one in (*INTERRUPTIONS, Interruption("dark", GONE, light_off)))


def returns(interruption: Interruption, method: Method, clip: Clip) -> Answer:
    """Plays the clip once, interrupts it at its end, goes on backwards until the person is found or time is up.

    `overlap` is the best until then, `frames` the number of frames that it took; those that show too little of the
    person to judge are counted, not judged.
    """
    back_at, best = clip.length + interruption.frames, 0.0
    for position, number in enumerate(islice(back_and_forth(clip.length), back_at + WITHIN)):
        pixels, truth = clip.frame(number), clip.truth(number)
        if clip.length <= position < back_at:
            pixels = interruption.spoil(pixels, truth)
        alpha = method.step(pixels) if position else method.start(pixels, clip.first_mask())
        if position >= back_at and (truth > 127).mean() >= SEEN:
            best = max(best, overlap(to_8_bits(alpha), truth))
            if best >= FOUND:
                break
    return {"overlap": best, "frames": position - back_at + 1}


def swap(method: Method, clip: Clip) -> Answer:
    """Plays the clip forwards and backwards until a picture that shows the person shows another one instead.

    `swapped` is 1 when that happens.
    """
    for position, number in enumerate(islice(back_and_forth(clip.length), 2 * clip.length - 1)):
        alpha = method.step(clip.frame(number)) if position else method.start(clip.frame(number), clip.first_mask())
        truth = clip.truth(number)
        if (truth > 127).mean() >= SEEN and overlap(to_8_bits(alpha), truth) < RIGHT:
            return {"swapped": 1.0}
    return {"swapped": 0.0}


def masks_of(clip: Clip) -> dict[str, Mask]:
    """Returns the accurate first mask of the clip, one that is too large, and one drawn as a polygon of few corners."""
    accurate = clip.first_mask()
    grown = max(1, round(GROWN * accurate.size[1] / 384))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grown + 1, 2 * grown + 1))
    return {
        "accurate": accurate,
        "too large": Mask(np.asarray(cv2.dilate(accurate.values, disc), np.float32)),
        "rough polygon": Mask(_polygon(accurate)),
    }


def core_by_mask(method: Method, clip: Clip) -> Answer:
    """Returns the error away from the edge at frame 20 by the kind of first mask, x 1e3."""
    order = list(islice(back_and_forth(clip.length), JUDGED + 1))
    found = {}
    for name, mask in masks_of(clip).items():
        alpha = method.start(clip.frame(order[0]), mask)
        for number in order[1:]:
            alpha = method.step(clip.frame(number))
        found[name] = metrics.core(to_8_bits(alpha), clip.truth(order[-1]))
    return found


RETURNS: Mapping[str, Callable[[Method, Clip], Answer]] = {
    f"return {going.name}": partial(returns, going) for going in GOINGS
}
QUESTIONS: Mapping[str, Callable[[Method, Clip], Answer]] = {**RETURNS, "swap": swap, "masks": core_by_mask}


@cache
def _grain(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return (np.random.default_rng(0).standard_normal(shape, np.float32) * NOISE).round()


def _polygon(mask: Mask) -> Alpha:
    """Returns the mask's largest outline through twelve of its points, filled."""
    outlines, _ = cv2.findContours((mask.values > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    corners = outline[np.linspace(0, len(outline), CORNERS, endpoint=False).astype(int)]
    filled = np.zeros_like(mask.values)
    cv2.fillPoly(filled, [corners], 1.0)
    return filled
