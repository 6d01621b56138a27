"""How errors run over a clip, as a picture: one panel a metric, one line a method, the mean over all clips."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt

from benchmarks.quality.table import Results

matplotlib.use("Agg")

PANELS = ("mad", "mse", "dtssd", "core")


def plot_scores(results: Results, path: Path) -> None:
    """Writes the picture; clips of different lengths count as long as they last."""
    figure, axes = plt.subplots(1, len(PANELS), figsize=(4 * len(PANELS), 3.2), layout="constrained")
    for axis, metric in zip(axes, PANELS, strict=True):
        for method, scored in results.items():
            axis.plot(mean_curve([result.per_frame[metric] for result in scored]), label=method, linewidth=1.2)
        axis.set(title=metric, xlabel="scored frame", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """Returns the mean of the curves at every place that one of them reaches."""
    return [float(np.mean([v for v in values if v is not None])) for values in zip_longest(*curves)]
