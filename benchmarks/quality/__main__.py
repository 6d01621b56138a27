"""Scores a model and the baselines on clips with known alpha, in one run.

    python -m benchmarks.quality --data FOLDER|made.npz --model lite --json quality.json --sheet sheets
    python -m benchmarks.quality --data FOLDER --rounds 1 --protocol hr

Every clip is played forwards and backwards; the third forward pass is scored (`--rounds`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from benchmarks import report
from benchmarks.baselines import BASELINES, Method
from benchmarks.clips import Clip, find_clips
from benchmarks.metrics import MetricProtocol
from benchmarks.network import open_network
from benchmarks.quality.evaluate import ROUNDS, Result, evaluate
from benchmarks.quality.sheet import contact_sheet, pick_frames
from benchmarks.quality.table import score_table, scores
from rtmatte.imaging import save_png


def main(
    data: Annotated[Path, typer.Option(help="Folder of clips, or .npz of made clips.")],
    only: Annotated[str, typer.Option(help="Only clips whose name matches, such as '*single'.")] = "*",
    model: Annotated[str, typer.Option(help="Model name, or path of an ONNX with a contract.")] = "lite",
    baselines: Annotated[bool, typer.Option(help="Score held mask, DIS flow and GrabCut too.")] = True,
    rounds: Annotated[int, typer.Option(help="Forward passes; the last one is scored.", min=1)] = ROUNDS,
    protocol: Annotated[MetricProtocol, typer.Option(help="lr stretches mattes for Grad and has Conn.")] = "lr",
    json: Annotated[Path | None, typer.Option(help="Write the scores here.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of every clip into this folder.")] = None,
) -> None:
    """How close a model's alpha comes to the truth, beside what a held mask, optical flow and GrabCut reach."""
    network = open_network(model)
    methods: list[Method] = [network, *(make() for make in BASELINES.values() if baselines)]
    results: dict[str, list[Result]] = {method.name: [] for method in methods}
    for clip in track(find_clips(data, only), "clips", console=Console(stderr=True)):
        picked = pick_frames(clip.length)
        scored = [evaluate(m, clip, rounds=rounds, protocol=protocol, keep=picked) for m in methods]
        for result in scored:
            results[result.method].append(result)
        if sheet is not None:
            _write_sheet(sheet, clip, scored, picked)
    Console().print(score_table(results))
    if json is not None:
        settings = {"data": data.name, "model": network.facts(), "rounds": rounds, "protocol": protocol}
        report.write_json(json, "benchmarks.quality", {**settings, "methods": scores(results)})


def _write_sheet(folder: Path, clip: Clip, scored: Sequence[Result], picked: Sequence[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_png(folder / f"{clip.name.replace('/', '-')}.png", contact_sheet(clip, scored, picked))


if __name__ == "__main__":
    report.run(main)
