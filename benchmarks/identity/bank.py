"""Is it the memory that tells the person? The returns again with the bank replaced by its mean: less found, if it is.

    python -m benchmarks.identity.bank CHECKPOINT --data runs/made/returns --json benchmarks/results/bank-made.json

The mean still says that there was a person and how much of one, not where or who. Both networks are exported and run
as a user would run them.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import report
from benchmarks.ablation import variants
from benchmarks.identity.jobs import Asked, Job, answer_all
from benchmarks.identity.questions import FOUND, RETURNS, SEEN, Answer
from benchmarks.ledger import Ledger
from export.to_onnx import export_step
from rtmatte.modelfile import sha256_of
from rtmatte.network import lite_step
from rtmatte.network.lite import Lite
from rtmatte.network.lite_step import LiteStep, contract_of

VARIANTS = ("as trained", "bank replaced by its mean")


def main(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of lite.")],
    data: Annotated[Path, typer.Option(help="A made set.")],
    only: Annotated[str, typer.Option(help="Only clips whose name matches.")] = "*",
    processes: Annotated[int, typer.Option(help="Processes of one thread (default: one a core).", min=1)] = (
        os.cpu_count() or 1
    ),
    resume: Annotated[Path | None, typer.Option(help="Note answers here, and go on from what it holds.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """What the bank is worth when a person comes back."""
    nets = variants(lite_step.load(checkpoint))
    ledger = Ledger(resume) if resume else None
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in VARIANTS:
            graph = Path(folder) / f"{name.replace(' ', '-')}.onnx"
            asked = Asked(str(graph), (data,), only)
            clips = [clip for clip in asked.clips().values() if clip.first_mask().area >= SEEN]
            height, width = clips[0].truth(0).shape
            export_variant(nets[name], graph, width=width, height=height)
            jobs = [Job(question, clip.name) for clip in clips for question in RETURNS]
            answers = answer_all(asked, jobs, processes=processes, ledger=ledger)
            shown = track(answers, name, total=len(jobs), console=Console(stderr=True))
            found[name] = shares([answer for _, answer in shown])
    body: dict[str, Any] = {"data": data.name, "clips": len(clips), "sha256": sha256_of(checkpoint), "variants": found}
    Console().print(_table(found))
    if json is not None:
        report.write_json(json, "benchmarks.identity.bank", body)


def export_variant(net: Lite, path: Path, *, width: int, height: int) -> None:
    """Writes a network, whatever reads its bank, as the graph of a step."""
    step = LiteStep(net.eval(), width=width, height=height)
    export_step(step, contract_of(net, width=width, height=height), path, half_weights=False)


def shares(answers: list[Answer]) -> dict[str, float]:
    """Returns how many returns were not found, and the mean error: what of the overlap is missing from 1."""
    overlaps = np.array([answer["overlap"] for answer in answers])
    return report.rounded({"missed_share": float((overlaps < FOUND).mean()), "error": float(1 - overlaps.mean())}, 4)


def _table(found: dict[str, dict[str, float]]) -> Table:
    table = Table("variant", "not found", "error")
    for name, one in found.items():
        table.add_row(name, f"{one['missed_share']:.1%}", f"{one['error']:.3f}")
    return table


if __name__ == "__main__":
    report.run(main)
