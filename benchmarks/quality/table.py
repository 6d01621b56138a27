"""The scores of all methods on all clips, as a table for people and as data for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.metrics import clip_mean, mean_of_clips
from benchmarks.quality.evaluate import Result
from benchmarks.report import rounded

LISTED_CLIPS = 12

Results = Mapping[str, Sequence[Result]]  # by method, every method with the same clips in the same order


def score_table(results: Results) -> Table:
    """Returns a table of every method's mean over the clips, below its means on each of them when they are few."""
    table = Table("clip", "method", *next(iter(results.values()))[0].per_frame)
    clips = [result.clip for result in next(iter(results.values()))]
    for position, clip in enumerate(clips if len(clips) <= LISTED_CLIPS else []):
        for method, scored in results.items():
            _add_row(table, clip, method, clip_mean(scored[position].per_frame))
        table.add_section()
    for method, scored in results.items():
        _add_row(table, f"mean of {len(clips)}", method, mean_of_clips([result.per_frame for result in scored]))
    return table


def scores(results: Results) -> dict[str, Any]:
    """Returns the scores as they are written: per method the mean, and per clip the mean and every frame."""
    return {
        method: {
            "mean": rounded(mean_of_clips([result.per_frame for result in scored])),
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


def _add_row(table: Table, clip: str, method: str, means: Mapping[str, float]) -> None:
    table.add_row(clip, method, *(f"{value:.2f}" for value in means.values()))
