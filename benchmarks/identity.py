"""Is it the same person? After 30 frames without them, beside somebody alike, and whatever the first mask was like.

    python -m training.data.held_out --shared DATA --clips 200 --size 256x144 --out made.npz
    python -m benchmarks.identity --data made.npz --model lite --json identity.json

Three questions, each over every clip that can ask it. Returns: covered or away for 30 frames, is the overlap with the
truth 0.9 again within 10 frames, and is it at least the right person? Swaps: does a clip of two alike people ever end
up on the other one? Masks: is the error at frame 20 from a mask too large, or drawn roughly, within 1.5 times that
from the accurate one?
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import metrics, report
from benchmarks.baselines import Method
from benchmarks.clips import Clip, Matte8, back_and_forth, find_clips
from benchmarks.network import open_network
from benchmarks.quality.evaluate import to_8_bits
from benchmarks.recovery import INTERRUPTIONS, Interruption
from rtmatte.frame import Alpha, Mask

GONE = 30  # frames without the person
WITHIN = 10  # frames after the return in which they have to be found
FOUND = 0.9  # overlap (intersection over union) that counts as found
RIGHT = 0.5  # overlap above which it is the right person: a wrong one overlaps hardly at all
SEEN = 0.01  # share of the picture below which there is too little of a person to judge
JUDGED = 20  # frame at which first masks are compared
GROWN = 8  # pixels by which a generous mask is too large at 512x384, scaled with the picture
CORNERS = 12  # of a mask drawn roughly
FLOOR = 0.05  # core error (x 1e3) that counts as none: ratios below it are noise


@dataclass(frozen=True, slots=True)
class Return:
    """The best overlap within ten frames after an interruption."""

    clip: str
    interruption: str
    overlap: float


def overlap(alpha: Matte8, truth: Matte8) -> float:
    """Returns intersection over union at 0.5 of two uint8 mattes of one size; 1 where both are empty."""
    found, wanted = alpha > 127, truth > 127
    either = np.count_nonzero(found | wanted)
    return float(np.count_nonzero(found & wanted) / either) if either else 1.0


def returns(method: Method, clip: Clip, interruption: Interruption) -> Return:
    """Plays the clip once, interrupts it at its end, goes on backwards, and returns the best overlap soon after."""
    gone = replace(interruption, frames=GONE)
    order = list(islice(back_and_forth(clip.length), clip.length + GONE + WITHIN))
    best = 0.0
    for position, number in enumerate(order):
        pixels, truth = clip.frame(number), clip.truth(number)
        if clip.length <= position < clip.length + GONE:
            pixels = gone.spoil(pixels, truth)
        alpha = method.step(pixels) if position else method.start(pixels, clip.first_mask())
        if position >= clip.length + GONE and (truth > 127).mean() >= SEEN:
            best = max(best, overlap(to_8_bits(alpha), truth))
    return Return(clip.name, interruption.name, best)


def swaps(method: Method, clip: Clip) -> bool:
    """Whether, over the clip forwards and backwards, any picture that shows the person shows another one instead."""
    for position, number in enumerate(islice(back_and_forth(clip.length), 2 * clip.length - 1)):
        alpha = method.step(clip.frame(number)) if position else method.start(clip.frame(number), clip.first_mask())
        truth = clip.truth(number)
        if (truth > 127).mean() >= SEEN and overlap(to_8_bits(alpha), truth) < RIGHT:
            return True
    return False


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


def core_by_mask(method: Method, clip: Clip) -> dict[str, float]:
    """Returns the error away from the edge at frame 20 by the kind of first mask, x 1e3."""
    order = list(islice(back_and_forth(clip.length), JUDGED + 1))
    found = {}
    for name, mask in masks_of(clip).items():
        alpha = method.start(clip.frame(order[0]), mask)
        for number in order[1:]:
            alpha = method.step(clip.frame(number))
        found[name] = metrics.core(to_8_bits(alpha), clip.truth(order[-1]))
    return found


def _polygon(mask: Mask) -> Alpha:
    """Returns the mask's largest outline through twelve of its points, filled."""
    outlines, _ = cv2.findContours((mask.values > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    corners = outline[np.linspace(0, len(outline), CORNERS, endpoint=False).astype(int)]
    filled = np.zeros_like(mask.values)
    cv2.fillPoly(filled, [corners], 1.0)
    return filled


def main(
    data: Annotated[Path, typer.Option(help="Folder of clips, or .npz of made clips.")],
    alike: Annotated[str, typer.Option(help="Clips of two people alike, by name.")] = "*twins",
    only: Annotated[str, typer.Option(help="Only clips whose name matches.")] = "*",
    model: Annotated[str, typer.Option(help="Model name, or path of an ONNX with a contract.")] = "lite",
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """Whether a model keeps to its person."""
    clips, network = [clip for clip in find_clips(data, only) if clip.first_mask().area >= SEEN], open_network(model)
    console = Console(stderr=True)
    came_back = [
        returns(network, clip, interruption)
        for clip in track(clips, "returns", console=console)
        for interruption in INTERRUPTIONS
    ]
    pairs = [clip for clip in clips if fnmatchcase(clip.name, alike)]
    swapped = [clip.name for clip in track(pairs, "swaps", console=console) if swaps(network, clip)]
    cores = [core_by_mask(network, clip) for clip in track(clips, "masks", console=console)]
    body = {
        "data": data.name,
        "model": network.facts(),
        "clips": len(clips),
        "returns": _shares(came_back),
        "swaps": {"pairs": len(pairs), "kept_share": _share(len(pairs) - len(swapped), len(pairs)), "swapped": swapped},
        "masks": _ratios(cores),
    }
    Console().print(_table(body))
    if json is not None:
        report.write_json(json, "benchmarks.identity", body)


def _share(some: int, of: int) -> float:
    return round(some / of, 3) if of else 1.0


def _shares(found: Iterable[Return]) -> dict[str, dict[str, float]]:
    by_kind: dict[str, list[float]] = {}
    for one in found:
        by_kind.setdefault(one.interruption, []).append(one.overlap)
    return {
        kind: {
            "found_share": _share(sum(each >= FOUND for each in overlaps), len(overlaps)),
            "right_share": _share(sum(each >= RIGHT for each in overlaps), len(overlaps)),
            "mean_overlap": round(float(np.mean(overlaps)), 3),
        }
        for kind, overlaps in by_kind.items()
    }


def _ratios(cores: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    names = list(cores[0])
    means = {name: float(np.mean([core[name] for core in cores])) for name in names}
    return {
        name: {
            "core": round(means[name], 3),
            "ratio_of_means": round(means[name] / max(means["accurate"], FLOOR), 2),
            "within_1.5_share": _share(
                sum(core[name] <= 1.5 * max(core["accurate"], FLOOR) for core in cores), len(cores)
            ),
        }
        for name in names
    }


def _table(body: dict[str, Any]) -> Table:
    table = Table("question", "case", "answer")
    for kind, shares in body["returns"].items():
        table.add_row("returns", kind, f"found {shares['found_share']:.0%}, right person {shares['right_share']:.0%}")
    kept = body["swaps"]
    table.add_row("swaps", f"{kept['pairs']} pairs", f"never in {kept['kept_share']:.0%}")
    for name, figures in body["masks"].items():
        table.add_row("masks", name, f"core {figures['core']:.2f} at frame {JUDGED}, {figures['ratio_of_means']:.2f}x")
    return table


if __name__ == "__main__":
    report.run(main)
