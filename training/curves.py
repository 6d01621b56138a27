"""Draws the loss curves of a run as a PNG: one line for every part of the loss, phases marked."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt

matplotlib.use("Agg")

_NOT_A_LOSS = {"step", "phase", "time"}


def draw_curves(log: Path, out: Path) -> None:
    """Writes the picture `out` from the JSON lines in `log`; does nothing when the log is empty."""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    if not records:
        return
    names = dict.fromkeys(name for record in records for name in record if name not in _NOT_A_LOSS)
    figure, axes = plt.subplots(figsize=(10, 5), layout="constrained")
    for name in names:
        steps, values = np.array([(r["step"], r[name]) for r in records if name in r]).T
        width = max(1, len(values) // 100)
        smooth = np.convolve(np.pad(values, width // 2, mode="edge"), np.ones(width) / width, mode="valid")[
            : len(steps)
        ]
        axes.plot(steps, smooth, label=name, linewidth=1.2)
    for before, record in itertools.pairwise(records):
        if record["phase"] != before["phase"]:
            axes.axvline(record["step"], color="grey", linewidth=0.8)
            axes.annotate(record["phase"], (record["step"], axes.get_ylim()[1]), va="top", fontsize=8)
    title = f"{len(records)} points, last step {records[-1]['step']}"
    axes.set(xlabel="step", ylabel="weighted loss", yscale="log", title=title)
    axes.legend(ncols=4, fontsize=8)
    figure.savefig(out, dpi=110)
    plt.close(figure)
