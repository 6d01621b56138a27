"""Do hands and fingers stay? How much of the thin parts of a person a method shows, and for how long it loses one.

    python -m benchmarks.thin --data FOLDER|made.npz --model lite --json thin.json

A part is thin when no disc fits into it: it is the true matte at 0.5 without its morphological opening, in pieces that
stand out. A disc 3 % of the picture's shorter side across leaves fingers and strands of hair, one of 10 % hands, one of
20 % arms, elbows and heads. Of a part's truth the recall is what the matte has of it. MAD hardly sees such parts: they
are few pixels. Clips are played as in `benchmarks.quality`, and the last forward pass is judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import report
from benchmarks.baselines import BASELINES, Method
from benchmarks.clips import Clip, Matte8, back_and_forth, find_clips
from benchmarks.network import open_network
from benchmarks.quality.evaluate import ROUNDS, play

WIDTHS: Mapping[str, float] = {"fingers": 0.03, "hands": 0.1, "limbs": 0.2}  # of the disc, in shorter sides
OUT = 0.6  # radii of the disc by which a part stands out; the corner of a square stands out by 0.41
LEAST = 0.25  # squared radii that a part fills
LOST = 0.5  # of a part's truth; with less of it the part is gone


@dataclass(frozen=True, slots=True)
class Parts:
    """What was seen of a clip's parts of one width: per frame the recall of each part, and how much of it there is."""

    recalls: tuple[tuple[float, ...], ...]
    weights: tuple[tuple[float, ...], ...]

    @property
    def recall(self) -> float | None:
        """Share of all that is thin which was shown, 0..1; None where nothing is."""
        weights = [weight for frame in self.weights for weight in frame]
        recalls = [recall for frame in self.recalls for recall in frame]
        return float(np.average(recalls, weights=weights)) if weights else None

    @property
    def lost(self) -> tuple[int, ...]:
        """How many parts were gone, per frame."""
        return tuple(sum(recall < LOST for recall in frame) for frame in self.recalls)

    @property
    def longest(self) -> int:
        """Frames in a row in which some part was gone, at most."""
        longest = run = 0
        for count in self.lost:
            run = run + 1 if count else 0
            longest = max(longest, run)
        return longest


def thin_parts(truth: Matte8, width: float) -> tuple[NDArray[np.int32], list[int]]:
    """Returns labels (H, W), and which of them are parts into which a disc `width` shorter sides wide does not fit."""
    body = (truth > 127).astype(np.uint8)
    reach = max(1, round(width * min(body.shape) / 2))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    # Outside the picture the person goes on: an arm is not thinner for being cut by the border.
    padded = cv2.morphologyEx(np.pad(body, 2 * reach, mode="edge"), cv2.MORPH_OPEN, disc)
    opened: Matte8 = padded[2 * reach : -2 * reach, 2 * reach : -2 * reach].astype(np.uint8, copy=False)
    out = cv2.distanceTransform(1 - opened, cv2.DIST_L2, 5) if opened.any() else np.full(body.shape, np.inf)
    count, found, stats, _ = cv2.connectedComponentsWithStats(body & (1 - opened), connectivity=8)
    labels = found.astype(np.int32, copy=False)
    large = stats[:, cv2.CC_STAT_AREA] >= LEAST * reach**2
    farthest = np.zeros(count)
    np.maximum.at(farthest, labels.ravel(), out.ravel())
    return labels, [label for label in range(1, count) if large[label] and farthest[label] >= OUT * reach]


def recalls(matte: Matte8, truth: Matte8, width: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the recall of each thin part, 0..1, and how much there truly is of it, in pixels of full alpha."""
    labels, parts = thin_parts(truth, width)
    length = int(labels.max()) + 1
    there, shown = (
        np.bincount(labels.ravel(), weights=plane.ravel(), minlength=length) / 255
        for plane in (truth, np.minimum(matte, truth))
    )
    return tuple(float(shown[part] / there[part]) for part in parts), tuple(float(there[part]) for part in parts)


def judge(method: Method, clip: Clip, *, rounds: int = ROUNDS) -> dict[str, Parts]:
    """Returns what `method` shows of the parts of each width in the last forward pass over `clip`."""
    found: dict[str, list[tuple[tuple[float, ...], tuple[float, ...]]]] = {name: [] for name in WIDTHS}
    for number, matte in _last_pass(method, clip, rounds):
        if clip.has_truth(number):
            for name, width in WIDTHS.items():
                found[name].append(recalls(matte, clip.truth(number), width))
    return {
        name: Parts(tuple(recall for recall, _ in frames), tuple(weight for _, weight in frames))
        for name, frames in found.items()
    }


def _last_pass(method: Method, clip: Clip, rounds: int) -> Iterator[tuple[int, Matte8]]:
    shown = 1 + (2 * rounds - 1) * (clip.length - 1)
    return islice(play(method, clip, islice(back_and_forth(clip.length), shown)), shown - clip.length, None)


def summary(clips: Sequence[Parts]) -> dict[str, float]:
    """Returns the mean recall of the clips that have such parts, the share of parts that were gone, the longest gap in
    frames, and how many parts were judged, each frame counted; nothing where there are none."""
    means = [recall for parts in clips if (recall := parts.recall) is not None]
    judged = sum(len(frame) for parts in clips for frame in parts.recalls)
    if not means:
        return {}
    gone = sum(sum(parts.lost) for parts in clips)
    facts = report.rounded({"recall": float(np.mean(means)), "lost_share": gone / judged})
    return {**facts, "longest_gap": max(parts.longest for parts in clips), "parts": judged}


def main(
    data: Annotated[Path, typer.Option(help="Folder of clips, or .npz of made clips.")],
    only: Annotated[str, typer.Option(help="Only clips whose name matches, such as '*single'.")] = "*",
    model: Annotated[str, typer.Option(help="Model name, or path of an ONNX with a contract.")] = "lite",
    rounds: Annotated[int, typer.Option(help="Forward passes; the last one is judged.", min=1)] = ROUNDS,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """How much of hands and fingers a model shows, beside a held mask, optical flow and GrabCut."""
    network = open_network(model)
    methods: list[Method] = [network, *(make() for make in BASELINES.values())]
    found: dict[str, list[dict[str, Parts]]] = {method.name: [] for method in methods}
    for clip in track(find_clips(data, only), "clips", console=Console(stderr=True)):
        for method in methods:
            found[method.name].append(judge(method, clip, rounds=rounds))
    body = {
        name: {width: summary([clip[width] for clip in clips]) for width in WIDTHS} for name, clips in found.items()
    }
    Console().print(_table(body))
    if json is not None:
        facts = {"data": data.name, "rounds": rounds, "model": network.facts()}
        report.write_json(json, "benchmarks.thin", {**facts, "methods": body})


def _table(body: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    table = Table("method", "parts", "recall", "gone", "longest gap, frames")
    for name, widths in body.items():
        for width, one in widths.items():
            cells = (f"{one['recall']:.1%}", f"{one['lost_share']:.1%}", str(one["longest_gap"])) if one else ()
            table.add_row(name, width, *cells)
    return table


if __name__ == "__main__":
    report.run(main)
