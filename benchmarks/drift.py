"""Does a method hold for a minute? One clip looped over 1,800 frames, the last second against the first.

    python -m benchmarks.drift --data FOLDER|made.npz --model lite --json drift.json

The clip is played forwards and backwards, so the loop has no cut in it. The figure is `core`, the error away from the
edge: what creeps in over a minute are holes, haze and lost limbs. Some pictures of a clip are harder than others, so
the last second is also held against the first time that its very pictures were shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import metrics, report
from benchmarks.baselines import Method
from benchmarks.clips import Clip, back_and_forth, find_clips
from benchmarks.network import open_network
from benchmarks.quality.evaluate import play

FRAMES = 1800
SECOND = 30  # frames


@dataclass(frozen=True, slots=True)
class Drift:
    """`core` of one method on one clip, frame by frame; `period` frames later the loop shows the same picture."""

    clip: str
    core: tuple[float, ...]
    period: int

    @property
    def first(self) -> float:
        """Mean of the first second."""
        return float(np.mean(self.core[:SECOND]))

    @property
    def same(self) -> float:
        """Mean of the first time that the pictures of the last second were shown, in their order."""
        start = (len(self.core) - SECOND) % self.period
        return float(np.mean(self.core[start : start + SECOND]))

    @property
    def last(self) -> float:
        """Mean of the last second."""
        return float(np.mean(self.core[-SECOND:]))

    @property
    def curve(self) -> list[float]:
        """Means of whole loops, of two seconds or more each, for a plot: every value is of the same pictures."""
        step = self.period * -(-2 * SECOND // self.period)
        return [float(np.mean(self.core[at : at + step])) for at in range(0, len(self.core) - step + 1, step)]


def drift(method: Method, clip: Clip, *, frames: int = FRAMES) -> Drift:
    """Returns the error of `method` over `frames` frames of the looped clip, seeded once."""
    order = islice(back_and_forth(clip.length), frames)
    core = (metrics.core(matte, clip.truth(number)) for number, matte in play(method, clip, order))
    return Drift(clip.name, tuple(core), max(1, 2 * (clip.length - 1)))


def main(
    data: Annotated[Path, typer.Option(help="Folder of clips, or .npz of made clips.")],
    only: Annotated[str, typer.Option(help="Only clips whose name matches, such as '*single'.")] = "*",
    model: Annotated[str, typer.Option(help="Model name, or path of an ONNX with a contract.")] = "lite",
    frames: Annotated[int, typer.Option(help="Frames to play, per clip.", min=2 * SECOND)] = FRAMES,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """How much a model's error away from the edge grows while a clip is looped."""
    network = open_network(model)
    clips = track(find_clips(data, only), "clips", console=Console(stderr=True))
    drifts = [drift(network, clip, frames=frames) for clip in clips]
    table = Table("clip", "core, first second", "core, last second", "ratio", "to the same pictures")
    for one in drifts:
        ratios = (f"{one.last / before:.2f}" if before else "-" for before in (one.first, one.same))
        table.add_row(one.clip, f"{one.first:.3f}", f"{one.last:.3f}", *ratios)
    Console().print(table)
    if json is not None:
        core = {
            one.clip: {
                **report.rounded({"first": one.first, "same": one.same, "last": one.last}),
                "curve": [round(value, 3) for value in one.curve],
            }
            for one in drifts
        }
        facts = {"data": data.name, "model": network.facts(), "frames": frames, "core": core}
        report.write_json(json, "benchmarks.drift", facts)


if __name__ == "__main__":
    report.run(main)
