"""Is it the same person? After 30 frames without them, beside somebody alike, and whatever the first mask was like.

    python -m training.data.held_out --shared DATA --set returns
    python -m training.data.held_out --shared DATA --set twins
    python -m benchmarks.identity --data runs/made/returns --data runs/made/twins --json identity.json

Three questions. Returns: covered, in the dark or away for 30 frames, is the overlap with the truth 0.9 again within 10
frames, and where a second person is in view, is it the right one? Swaps: does a clip of two alike people ever end up on
the other one? Masks: is the error at frame 20 from a mask too large, or drawn roughly, within 1.5 times that from the
accurate one? 200 clips of each set take ten minutes on two cores; with --resume a run that was stopped goes on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import report
from benchmarks.clips import Clip
from benchmarks.identity.jobs import Asked, Job, answer_all
from benchmarks.identity.questions import FOUND, GOINGS, JUDGED, RETURNS, RIGHT, SEEN, Answer
from benchmarks.ledger import Ledger
from benchmarks.network import open_network
from rtmatte.errors import InputError

FLOOR = 0.05  # core error (x 1e3) that counts as none: ratios below it are noise


def main(
    data: Annotated[list[Path], typer.Option(help="A made set, or a folder of clips; again for more.")],
    alike: Annotated[str, typer.Option(help="Clips of two people alike, by name: asked for swaps.")] = "*twins",
    beside: Annotated[str, typer.Option(help="Clips with a second person, by name.")] = "*second person",
    only: Annotated[str, typer.Option(help="Only clips whose name matches.")] = "*",
    masks: Annotated[int, typer.Option(help="Clips that are tried with three first masks.", min=0)] = 100,
    model: Annotated[str, typer.Option(help="Model name, or path of an ONNX with a contract.")] = "lite",
    processes: Annotated[int, typer.Option(help="Processes of one thread (default: one a core).", min=1)] = (
        os.cpu_count() or 1
    ),
    resume: Annotated[Path | None, typer.Option(help="Note answers here, and go on from what it holds.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """Whether a model keeps to its person."""
    asked = Asked(model, tuple(data), only)
    clips = [clip for clip in asked.clips().values() if clip.first_mask().area >= SEEN]
    jobs = jobs_of(clips, alike=alike, masks=masks)
    if not jobs:
        raise InputError(f"expected clips that show somebody in their first frame, found none in {data[0]}")
    answers = answer_all(asked, jobs, processes=processes, ledger=Ledger(resume) if resume else None)
    found = dict(track(answers, "questions", total=len(jobs), console=Console(stderr=True)))
    body = {"data": [folder.name for folder in data], "model": facts_of(model, clips[0]), **summary(found, beside)}
    Console().print(_table(body))
    if json is not None:
        report.write_json(json, "benchmarks.identity", body)


def jobs_of(clips: Sequence[Clip], *, alike: str, masks: int) -> list[Job]:
    """Returns what is asked: people alike for swaps, the others for returns, the first of those for masks."""
    names = [clip.name for clip in clips]
    others = [name for name in names if not fnmatchcase(name, alike)]
    jobs = [Job(question, name) for question in RETURNS for name in others]
    jobs += [Job("swap", name) for name in names if fnmatchcase(name, alike)]
    return jobs + [Job("masks", name) for name in others[:masks]]


def facts_of(model: str, clip: Clip) -> list[dict[str, Any]]:
    """Returns what a report says about a model; it is run once for that, in this process."""
    network = open_network(model)
    network.start(clip.frame(0), clip.first_mask())
    return network.facts()


def summary(found: dict[Job, Answer], beside: str) -> dict[str, Any]:
    """Returns the shares of all clips; of those `beside` somebody else, too, in how many it is the right person."""
    swapped = sorted(job.clip for job, answer in found.items() if job.question == "swap" and answer["swapped"])
    pairs = sum(job.question == "swap" for job in found)
    cores = [answer for job, answer in found.items() if job.question == "masks"]
    return {
        "returns": {going.name: _return(found, f"return {going.name}", beside) for going in GOINGS},
        "swaps": {"pairs": pairs, "kept_share": _share(pairs - len(swapped), pairs), "swapped": swapped},
        "mask_clips": len(cores),
        "masks": _ratios(cores),
    }


def _return(found: dict[Job, Answer], question: str, beside: str) -> dict[str, float]:
    answers = {job.clip: answer for job, answer in found.items() if job.question == question}
    overlaps = {name: answer["overlap"] for name, answer in answers.items()}
    with_others = [value for name, value in overlaps.items() if fnmatchcase(name, beside)]
    good = [value for value in overlaps.values() if value >= FOUND]
    return {
        "clips": len(overlaps),
        "found_share": _share(len(good), len(overlaps)),
        "with_others": len(with_others),
        "right_share": _share(sum(value >= RIGHT for value in with_others), len(with_others)),
        "mean_overlap": round(float(np.mean(list(overlaps.values()))), 3) if overlaps else 1.0,
        "mean_frames": round(float(np.mean([a["frames"] for a in answers.values()])), 2) if answers else 0.0,
    }


def _share(some: int, of: int) -> float:
    return round(some / of, 3) if of else 1.0


def _ratios(cores: Sequence[Answer]) -> dict[str, dict[str, float]]:
    if not cores:
        return {}
    means = {name: float(np.mean([core[name] for core in cores])) for name in cores[0]}
    return {
        name: {
            "core": round(mean, 3),
            "ratio_of_means": round(mean / max(means["accurate"], FLOOR), 2),
            "within_1.5_share": _share(
                sum(core[name] <= 1.5 * max(core["accurate"], FLOOR) for core in cores), len(cores)
            ),
        }
        for name, mean in means.items()
    }


def _table(body: dict[str, Any]) -> Table:
    table = Table("question", "case", "answer")
    for kind, shares in body["returns"].items():
        right = f"right person {shares['right_share']:.1%} of {shares['with_others']}"
        table.add_row("returns", kind, f"found {shares['found_share']:.1%} of {shares['clips']}, {right}")
    kept = body["swaps"]
    table.add_row("swaps", f"{kept['pairs']} pairs", f"never in {kept['kept_share']:.1%}")
    for name, figures in body["masks"].items():
        ratio = f"{figures['ratio_of_means']:.2f}x"
        table.add_row("masks", name, f"core {figures['core']:.2f} at frame {JUDGED}, {ratio}")
    return table


if __name__ == "__main__":
    report.run(main)
