"""The scores of all methods on all clips, as a table for people and as data for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from rich.table import Table

from benchmarks.metrics import PerFrame, clip_mean, mean_of_clips, published_mean
from benchmarks.quality.evaluate import Result
from benchmarks.report import rounded

LISTED_CLIPS = 12

Results = Mapping[str, Sequence[Result]]  # by method, every method with the same clips in the same order
Published = Mapping[str, Mapping[str, float]]  # metrics by method
Averaging = Literal["plain", "published"]  # every clip counts once, or as in the published spreadsheets

AVERAGINGS: Mapping[Averaging, Callable[[Sequence[PerFrame]], dict[str, float]]] = {
    "plain": mean_of_clips,
    "published": published_mean,
}


def score_table(results: Results, published: Published | None = None, *, averaging: Averaging = "plain") -> Table:
    """Returns a table of every method's mean over the clips, below its means on each of them when they are few.

    `published` figures of other systems stand last, where a metric was published.
    """
    average = AVERAGINGS[averaging]
    metrics = list(next(iter(results.values()))[0].per_frame)
    table = Table("clip", "method", *metrics, "ms")
    clips = [result.clip for result in next(iter(results.values()))]
    for position, clip in enumerate(clips if len(clips) <= LISTED_CLIPS else []):
        for method, scored in results.items():
            _add_row(
                table,
                clip,
                method,
                clip_mean(scored[position].per_frame),
                metrics,
                _p50(scored[position : position + 1]),
            )
        table.add_section()
    for method, scored in results.items():
        means = average([result.per_frame for result in scored])
        _add_row(table, f"mean of {len(clips)}", method, means, metrics, _p50(scored))
    table.add_section()
    for method, figures in (published or {}).items():
        _add_row(table, "published", method, figures, metrics, "")
    return table


def scores(results: Results) -> dict[str, Any]:
    """Returns the scores as they are written: per method the mean, and per clip the mean and every frame.

    `mean` counts every clip once; `published_mean` is the average of the published tables.
    """
    return {
        method: {
            "mean": rounded(mean_of_clips([result.per_frame for result in scored])),
            "published_mean": rounded(published_mean([result.per_frame for result in scored])),
            "step_ms": _percentiles(scored),
            "clips": {
                result.clip: {
                    "mean": rounded(clip_mean(result.per_frame)),
                    "per_frame": {name: [round(v, 3) for v in values] for name, values in result.per_frame.items()},
                }
                for result in scored
            },
        }
        for method, scored in results.items()
    }


def _add_row(
    table: Table, clip: str, method: str, means: Mapping[str, float], metrics: Sequence[str], step_ms: str
) -> None:
    cells = (f"{means[metric]:.2f}" if metric in means else "-" for metric in metrics)
    table.add_row(clip, method, *cells, step_ms)


def _p50(scored: Sequence[Result]) -> str:
    found = _percentiles(scored)
    return f"{found['p50']:.1f}" if found else ""


def _percentiles(scored: Sequence[Result]) -> dict[str, float]:
    """Of the time of a step over all clips; empty when no clip has a second frame."""
    steps = [step for result in scored for step in result.step_ms]
    if not steps:
        return {}
    return {f"p{share}": round(float(np.percentile(steps, share)), 2) for share in (50, 95, 99)}
