"""What the figures of a GPU are held against, and whether they stand it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.gpu_systems import CAPTURED, SPLIT

Figures = Mapping[str, Any]

RATIO = {"512x288": 6.0, "1280x720": 4.0}  # times as fast as plain PyTorch in float32
STEADY = 1.1  # p99 of a step over its p50
READY = 0.75  # of the step until the alpha of its head is there
LINE_P50, LINE_P99 = 8.0, 12.0  # ms from frame in to composite out at 1280x720, asked of an H200
ERROR = 1e-3  # mean |difference| of alphas


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit and what was found; None where it was not measured here."""

    name: str
    limit: float
    found: float | None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it holds; None where it was not measured."""
        if self.found is None:
            return None
        return self.found >= self.limit if self.at_least else self.found <= self.limit

    def entry(self) -> dict[str, Any]:
        """Returns the bar as the report has it."""
        return {"bar": self.name, "asked": self.limit, "found": self.found, "met": self.met}

    def __str__(self) -> str:
        verdict = {True: "met", False: "NOT MET", None: "not measured"}[self.met]
        sign = ">=" if self.at_least else "<="
        return f"{self.name} {sign} {self.limit:g}: {'-' if self.found is None else f'{self.found:.4g}'} ({verdict})"


def bars(rows: Sequence[Figures]) -> list[Bar]:
    """Returns every bar with what the rows say to it."""
    found = []
    for size, ratio in RATIO.items():
        whole, split = _row(rows, size, CAPTURED), _row(rows, size, SPLIT)
        found.append(Bar(f"{size} {CAPTURED}: times plain float32", ratio, whole.get("ratio"), at_least=True))
        found.append(Bar(f"{size} {CAPTURED}: p99 / p50", STEADY, _over(whole.get("step_ms"), whole.get("step_ms"))))
        ready = _over(split.get("paced_ms"), whole.get("paced_ms"), "p50")
        found.append(Bar(f"{size} alpha of the head / whole step", READY, ready))
    for row in rows:
        name = f"{row['model']} {row['size']} {row['system']}"
        if row["model"] == "matanyone" and row["size"] == "1280x720" and "head and tail" in row["system"]:
            line = row.get("line_ms", {})
            found.append(Bar(f"{name}: frame in to composite out, p50 ms", LINE_P50, line.get("p50")))
            found.append(Bar(f"{name}: frame in to composite out, p99 ms", LINE_P99, line.get("p99")))
        for kind, what in (("single_steps", "single steps"), ("free_running", "free-running")):
            if kind in row:
                worst = max(row[kind]["mean"], row[kind]["last_mean"])
                found.append(Bar(f"{name}: error, {what} over {row[kind]['frames']} frames", ERROR, worst))
    return found


def _row(rows: Sequence[Figures], size: str, system: str) -> Figures:
    of = [row for row in rows if (row["model"], row["size"], row["system"]) == ("matanyone", size, system)]
    return of[0] if of else {}


def _over(above: Mapping[str, float] | None, below: Mapping[str, float] | None, of: str = "p99") -> float | None:
    """Returns one percentile of `above` over the median of `below`."""
    return None if above is None or below is None else round(above[of] / below["p50"], 3)
