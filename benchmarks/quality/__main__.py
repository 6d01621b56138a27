"""Scores models and the baselines on clips with known alpha, in one run.

    python -m benchmarks.quality --data FOLDER|made.npz --model lite --json quality.json --sheet sheets
    python -m benchmarks.quality --data FOLDER --rounds 1 --protocol hr
    python -m benchmarks.quality --set youtubematte --data youtubematte_512x288 --masks MASKS --model matanyone.onnx \
        --model peers/rvm-512x288.onnx --resume runs/youtubematte.jsonl --json youtubematte.json --plot youtubematte.png

Without a set every clip is played forwards and backwards; the third forward pass is scored (`--rounds`). A set is
played once, with the settings its published figures were made with, and those are printed beside ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from benchmarks import report
from benchmarks.baselines import BASELINES, Method
from benchmarks.clips import Clip, find_clips
from benchmarks.metrics import MetricProtocol
from benchmarks.network import identity_of, open_network
from benchmarks.quality import published
from benchmarks.quality.evaluate import ROUNDS, Result, evaluate
from benchmarks.quality.ledger import ResultLedger
from benchmarks.quality.plot import plot_scores
from benchmarks.quality.sets import SETS, BenchmarkSet, open_set
from benchmarks.quality.sheet import contact_sheet, picked_frames
from benchmarks.quality.table import Averaging, score_table, scores
from rtmatte.errors import InputError
from rtmatte.imaging import save_png
from rtmatte.session import SessionOptions


def main(
    data: Annotated[Path, typer.Option(help="Folder of clips, or .npz of made clips.")],
    only: Annotated[str, typer.Option(help="Only clips whose name matches, such as '*single'.")] = "*",
    set_: Annotated[str, typer.Option("--set", help=f"A public benchmark: {', '.join(SETS)}.")] = "",
    masks: Annotated[Path | None, typer.Option(help="First masks of the set (default: from the truth).")] = None,
    model: Annotated[list[str], typer.Option(help="Model name, or ONNX with a contract; again for more.")] = ["lite"],  # noqa: B006
    baselines: Annotated[bool, typer.Option(help="Score held mask, DIS flow and GrabCut too.")] = True,
    rounds: Annotated[int, typer.Option(help="Forward passes; the last one is scored.", min=1)] = ROUNDS,
    protocol: Annotated[MetricProtocol, typer.Option(help="lr stretches mattes for Grad and has Conn.")] = "lr",
    averaging: Annotated[Averaging, typer.Option(help="Of the table; published: by frame number first.")] = "plain",
    resume: Annotated[Path | None, typer.Option(help="Note finished clips here, and go on from what it holds.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the scores here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the errors over time here, a PNG.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet of every clip into this folder.")] = None,
) -> None:
    """How close a model's alpha comes to the truth, beside what a held mask, optical flow and GrabCut reach."""
    public = open_set(set_, data, masks) if set_ else None
    options = SessionOptions()
    if public:
        rounds, protocol, options = 1, public.settings.protocol, SessionOptions(warmup=public.settings.warmup)
    networks = [open_network(name, options) for name in model]
    methods: list[Method] = [*networks, *(make() for make in BASELINES.values() if baselines)]
    settings: dict[str, Any] = {"data": data.name, "rounds": rounds, "protocol": protocol}
    if public:
        settings |= {"set": public.name, "settings": asdict(public.settings)}
    known = {network.name: identity_of(name) for network, name in zip(networks, model, strict=True)}
    ledger = ResultLedger(resume, settings, known) if resume else None
    results: dict[str, list[Result]] = {method.name: [] for method in methods}
    for clip in track(_clips(public, data, only), "clips", console=Console(stderr=True)):
        picked = picked_frames(clip) if sheet else []
        scored = [_scored(method, clip, rounds, protocol, picked, ledger) for method in methods]
        for result in scored:
            results[result.method].append(result)
        if sheet is not None and all(result.mattes for result in scored):  # a clip read back has its sheet already
            _write_sheet(sheet, clip, scored, picked)
    beside = published.published(public.name, public.size) if public else {}
    Console().print(score_table(results, beside, averaging=averaging))
    if plot is not None:
        plot_scores(results, plot)
    if json is not None:
        # Of clips that were read back no engine was opened; the hashes tell what they were scored with all the same.
        settings |= {"model": [fact for network in networks for fact in network.facts()], "hashes": known}
        if beside:
            settings |= {"published": {"source": published.source(), "methods": beside}}
        report.write_json(json, "benchmarks.quality", {**settings, "methods": scores(results)})


def _clips(public: BenchmarkSet | None, data: Path, only: str) -> Sequence[Clip]:
    if public is None:
        return find_clips(data, only)
    chosen = [clip for clip in public.clips if fnmatchcase(clip.name, only)]
    if not chosen:
        raise InputError(f"expected a clip of {public.name} whose name matches {only!r}, found none")
    return chosen


def _scored(
    method: Method,
    clip: Clip,
    rounds: int,
    protocol: MetricProtocol,
    picked: Sequence[int],
    ledger: ResultLedger | None,
) -> Result:
    """The result of an earlier run if there is one, else of this, written down at once."""
    result = ledger.find(method.name, clip) if ledger else None
    if result is None:
        result = evaluate(method, clip, rounds=rounds, protocol=protocol, keep=picked)
        if ledger:
            ledger.add(result, clip)
    return result


def _write_sheet(folder: Path, clip: Clip, scored: Sequence[Result], picked: Sequence[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_png(folder / f"{clip.name.replace('/', '-')}.png", contact_sheet(clip, scored, picked))


if __name__ == "__main__":
    report.run(main)
