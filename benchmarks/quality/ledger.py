"""Scores written down clip by clip, so that a run that was cut off goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.quality.evaluate import Result
from rtmatte.errors import SinkError


class Ledger:
    """Results of finished clips in a file of JSON lines.

    Only those are read back that were made with equal `settings` and, of a method named in `models`, with that model.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], models: Mapping[str, str]) -> None:
        self._path = path
        self._settings, self._models = dict(settings), models
        self._known: dict[tuple[str, str], Result] = {}
        if path.exists():
            lines, _, cut_off = path.read_text(encoding="utf-8").rpartition("\n")
            if cut_off:  # by a run that was killed while it wrote
                path.write_text(f"{lines}\n" if lines else "", encoding="utf-8")
            for line in lines.splitlines():
                self._read(json.loads(line))

    def find(self, method: str, clip: str) -> Result | None:
        """Returns what is written of a method on a clip, without its mattes; None when it has yet to be scored."""
        return self._known.get((method, clip))

    def add(self, result: Result) -> None:
        """Writes a result down; SinkError when it cannot."""
        record = {
            "settings": self._settings,
            "model": self._models.get(result.method, ""),
            "method": result.method,
            "clip": result.clip,
            "per_frame": result.per_frame,
            "step_ms": result.step_ms,
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise SinkError(f"cannot write {self._path}: {error.strerror}; name another with --resume") from error
        self._known[result.method, result.clip] = result

    def _read(self, record: Mapping[str, Any]) -> None:
        same_model = record["model"] == self._models.get(record["method"], "")
        if same_model and record["settings"] == self._settings:
            result = Result(record["method"], record["clip"], record["per_frame"], {}, tuple(record["step_ms"]))
            self._known[result.method, result.clip] = result
