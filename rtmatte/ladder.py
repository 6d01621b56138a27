"""What to give up when the machine cannot keep up, and when to take it back. Pure decisions: it is told what came and
what was lost, and says on which rung to stand."""

from __future__ import annotations

from enum import StrEnum


class Rung(StrEnum):
    """How the line runs, from the top: each rung keeps what those above it gave up."""

    FULL = "full"
    SMALLER = "smaller network"
    SPARSE = "sparser memory"
    HALF_RATE = "half rate"
    BLUR_ALL = "nobody shown"
