"""Does a method find the person again? The lens is covered for 6 frames, or the person is gone for 15.

    python -m benchmarks.recovery --data FOLDER|made.npz --model lite --json recovery.json

A network that only carries its last alpha along scores well on every ordinary clip and fails here: what brings the
person back is the memory. The clip is played forwards and backwards; the interruption replaces frames, so the person
keeps moving behind it. Judged is the fifth frame after the return, which is the clip's last, against the mean before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import metrics, report
from benchmarks.baselines import Method
from benchmarks.clips import Clip, Matte8, Pixels8, back_and_forth, find_clips
from benchmarks.network import open_network
from benchmarks.quality.evaluate import to_8_bits
from rtmatte.imaging import resize

Field = NDArray[np.float32]

JUDGED = 5  # the fifth frame after the return
AFTER = 10  # frames watched after the return
ALLOWED = 2.5  # times the error before


@dataclass(frozen=True, slots=True)
class Interruption:
    """`frames` pictures, each made by `spoil` from the clip's own picture and matte."""

    name: str
    frames: int
    spoil: Callable[[Pixels8, Matte8], Pixels8]


@dataclass(frozen=True, slots=True)
class Recovery:
    """MAD of one method on one clip: the mean before an interruption and every frame after the return."""

    clip: str
    interruption: str
    before: float
    after: tuple[float, ...]

    @property
    def judged(self) -> float:
        """MAD of the fifth frame after the return."""
        return self.after[JUDGED - 1]

    @property
    def recovered(self) -> bool:
        """Whether that is at most 2.5 times the mean before."""
        return self.judged <= ALLOWED * self.before


def dark(pixels: Pixels8, matte: Matte8) -> Pixels8:
    """Returns a black picture: the lens is covered."""
    return np.zeros_like(pixels)


def empty_room(pixels: Pixels8, matte: Matte8) -> Pixels8:
    """Returns the picture without its person: the room spread smoothly over where they are, and a margin of 3%."""
    radius = max(2, round(0.03 * matte.shape[0]))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    room = (cv2.dilate(matte, disc) == 0).astype(np.float32)
    return np.rint(_spread(pixels * room[..., None], room)).astype(np.uint8)


INTERRUPTIONS = (Interruption("covered", 6, dark), Interruption("away", 15, empty_room))


def recover(method: Method, clip: Clip, interruption: Interruption) -> Recovery:
    """Returns how `method`, seeded on the first frame of `clip`, fares when it is interrupted after a forward pass.

    The interruption is placed so that the judged frame is the clip's last one: the furthest from the mask.
    """
    back_at = _first_return(clip.length, interruption.frames)
    gap = range(back_at - interruption.frames, back_at)
    before: list[float] = []
    after: list[float] = []
    for position, number in enumerate(islice(back_and_forth(clip.length), back_at + AFTER)):
        pixels, truth = clip.frame(number), clip.truth(number)
        if position in gap:
            method.step(interruption.spoil(pixels, truth))
            continue
        alpha = method.step(pixels) if position else method.start(pixels, clip.first_mask())
        (before if position < gap.start else after).append(metrics.mad(to_8_bits(alpha), truth))
    return Recovery(clip.name, interruption.name, float(np.mean(before)), tuple(after))


def main(
    data: Annotated[Path, typer.Option(help="Folder of clips, or .npz of made clips.")],
    only: Annotated[str, typer.Option(help="Only clips whose name matches, such as '*single'.")] = "*",
    model: Annotated[str, typer.Option(help="Model name, or path of an ONNX with a contract.")] = "lite",
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """How well a model finds the person again after the lens was covered or the person was away."""
    clips, network = find_clips(data, only), open_network(model)
    jobs = list(product(INTERRUPTIONS, clips))
    progress = track(jobs, "clips", console=Console(stderr=True))
    recoveries = [recover(network, clip, interruption) for interruption, clip in progress]
    Console().print(_table(recoveries))
    if json is not None:
        facts = {"data": data.name, "model": network.facts(), "metric": "mad"}
        report.write_json(json, "benchmarks.recovery", {**facts, **_body(recoveries)})


def _first_return(length: int, gap: int) -> int:
    """Returns the first position in play at which a gap may end: after one whole pass, the judged frame the last."""
    earliest = length + gap + JUDGED - 1
    played = enumerate(back_and_forth(length))
    return next(at for at, number in played if at >= earliest and number == length - 1) - JUDGED + 1


def _spread(sums: Field, weight: Field) -> Field:
    """Returns colours everywhere from weighted sums (h, w, 3): known ones kept, the rest from ever coarser pictures."""
    height, width = weight.shape
    known: Field = np.divide(sums, np.maximum(weight, 1e-6)[..., None], dtype=np.float32)
    if min(height, width) < 2 or weight.min() > 0:
        return known
    half = ((width + 1) // 2, (height + 1) // 2)
    filled = resize(_spread(resize(sums, half), resize(weight, half)), (width, height))
    return np.where(weight[..., None] > 0, known, filled)


def _table(recoveries: Sequence[Recovery]) -> Table:
    table = Table("interruption", "clip", "before", "1st after", f"{JUDGED}th after", f"within {ALLOWED}x")
    for one in recoveries:
        figures = [f"{value:.2f}" for value in (one.before, one.after[0], one.judged)]
        table.add_row(one.interruption, one.clip, *figures, "yes" if one.recovered else "no")
    for name, share in _shares(recoveries).items():
        table.add_section()
        table.add_row(name, "all", "", "", "", f"{share:.0%}")
    return table


def _shares(recoveries: Sequence[Recovery]) -> dict[str, float]:
    names = dict.fromkeys(one.interruption for one in recoveries)
    return {name: float(np.mean([one.recovered for one in recoveries if one.interruption == name])) for name in names}


def _body(recoveries: Sequence[Recovery]) -> dict[str, Any]:
    return {
        "recovered_share": _shares(recoveries),
        "clips": [
            {
                "interruption": one.interruption,
                "clip": one.clip,
                "before": round(one.before, 3),
                "after": [round(value, 3) for value in one.after],
                "recovered": one.recovered,
            }
            for one in recoveries
        ],
    }


if __name__ == "__main__":
    report.run(main)
