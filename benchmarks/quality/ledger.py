"""Results of finished clips, found again by what they were made with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.clips import Clip
from benchmarks.ledger import Ledger
from benchmarks.quality.evaluate import Result


class ResultLedger:
    """Reads back only what was made with equal `settings` and, of a method named in `models`, with that model."""

    def __init__(self, path: Path, settings: Mapping[str, Any], models: Mapping[str, str]) -> None:
        self._ledger = Ledger(path)
        self._settings, self._models = settings, models

    def find(self, method: str, clip: Clip) -> Result | None:
        """Returns what is written of a method on a clip, without its mattes; None when it has yet to be scored."""
        found = self._ledger.find(self._asked(method, clip))
        return Result(method, clip.name, found["per_frame"], {}, tuple(found["step_ms"])) if found else None

    def add(self, result: Result, clip: Clip) -> None:
        """Writes the result on a clip down; SinkError when it cannot."""
        found = {"per_frame": result.per_frame, "step_ms": list(result.step_ms)}
        self._ledger.add(self._asked(result.method, clip), found)

    def _asked(self, method: str, clip: Clip) -> dict[str, Any]:
        model = self._models.get(method, "")
        return {"settings": self._settings, "model": model, "method": method, **clip.fingerprint()}
