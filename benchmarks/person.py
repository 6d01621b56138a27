"""Does the model find its person by itself? No mask is given; judged is the overlap with the truth at frame 10.

python -m training.data.held_out --shared DATA --set person
python -m benchmarks.person --data runs/made/person --model lite --json person.json
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import report
from benchmarks.clips import Clip, find_clips
from rtmatte.clock import ManualClock
from rtmatte.compose.refine import Refiner
from rtmatte.engine import Engine, open_engine
from rtmatte.frame import Frame
from rtmatte.session import Session
from rtmatte.targets.person import PersonTarget

JUDGED = 10
FRAME_RATE = 30.0
LISTED_CLIPS = 12


def overlap(engine: Engine, clip: Clip) -> float:
    """Returns the IoU of (alpha > 0.5) with (truth > 0.5) at frame 10 of `clip`, 1 where both are empty."""
    clock, refiner = ManualClock(), Refiner()
    session = Session(engine, PersonTarget(engine), clock)
    for number in range(min(JUDGED, clip.length - 1) + 1):
        matte = session.process(Frame(number, clip.frame(number), clock.now(), pts=number / FRAME_RATE))
        clock.advance(1 / FRAME_RATE)
    found, truth = refiner.alpha(matte) > 0.5, clip.truth(number) > 127
    either = np.count_nonzero(found | truth)
    return np.count_nonzero(found & truth) / either if either else 1.0


def main(
    data: Annotated[Path, typer.Option(help="Folder of clips, or .npz of made clips.")],
    only: Annotated[str, typer.Option(help="Only clips whose name matches, such as '*single'.")] = "*",
    model: Annotated[str, typer.Option(help="Model name, or path of an ONNX with a contract.")] = "lite",
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """How well a model finds the person without a mask."""
    clips = find_clips(data, only)
    open_for = cache(lambda size: open_engine(model, size=size))
    table = Table("clip", f"IoU at frame {JUDGED}")
    found = {}
    for clip in track(clips, "clips", console=Console(stderr=True)):
        height, width = clip.frame(0).shape[:2]
        found[clip.name] = overlap(open_for((width, height)), clip)
        if len(clips) <= LISTED_CLIPS:
            table.add_row(clip.name, f"{found[clip.name]:.3f}")
    mean = float(np.mean(list(found.values())))
    table.add_section()
    table.add_row(f"mean of {len(clips)}", f"{mean:.3f}")
    Console().print(table)
    if json is not None:
        body = {"data": data.name, "model": model, "iou": report.rounded(found), "mean": round(mean, 3)}
        report.write_json(json, "benchmarks.person", body)


if __name__ == "__main__":
    report.run(main)
