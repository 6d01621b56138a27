"""What a live line says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rtmatte.frame import Phase
from rtmatte.ladder import Rung
from rtmatte.latency import Percentiles
from rtmatte.pipeline import Counts
from rtmatte.sources import SourceState

View = Literal["composite", "matte", "checkerboard", "original"]


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """The line as it is now.

    `fps` counts the frames sent in the last second; `latency` runs from capture to sending over the last ten, None
    before the first frame, and `stages` is what each stage, and waiting between them, takes of it. `rung` is how far
    the line was degraded to keep up. `drift` is the last drift score, 0..1, None where none was taken. `message` says
    what to do about a source that is not live. `warnings` are sentences for the user, each to be told once.
    """

    phase: Phase
    counts: Counts
    fps: float
    latency: Percentiles | None
    stages: Mapping[str, Percentiles]
    backend: str
    rung: Rung
    source: SourceState
    message: str
    faults: int
    drift: float | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the same as plain values, fit for JSON."""
        return asdict(self)
