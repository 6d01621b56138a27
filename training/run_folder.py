"""What a run of either trainer keeps in its folder, and how averaged weights follow those that are trained."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

CHECKPOINT = "last.pt"
AVERAGED = "averaged.pt"
LOG = "log.jsonl"

_DIGITS = 6


def log_means(out: Path, step: int, phase: str, means: Mapping[str, float]) -> None:
    """Adds a line to the log in `out`: the step, its phase, the time, and the mean parts of the loss by name."""
    record = {"step": step, "phase": phase, "time": round(time.time(), 1)}
    with (out / LOG).open("a") as file:
        file.write(json.dumps(record | {name: round(value, _DIGITS) for name, value in means.items()}) + "\n")


def cut_log(out: Path, step: int) -> None:
    """Takes the lines past `step` off the log in `out`, if there is one: those steps come again."""
    log = out / LOG
    if log.exists():
        lines = log.read_text().splitlines(keepends=True)
        log.write_text("".join(line for line in lines if json.loads(line)["step"] <= step))


@torch.no_grad()
def average_towards(averaged: Mapping[str, Tensor], trained: Mapping[str, Tensor], *, decay: float, step: int) -> None:
    """Moves averaged weights a step towards trained ones, in place; counters are copied.

    Early on the average is over fewer steps than `decay` says, so that it forgets where it began.
    """
    keep = min(decay, (1 + step) / (10 + step))
    for mean, now in zip(averaged.values(), trained.values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(now, 1 - keep)
        else:
            mean.copy_(now)
