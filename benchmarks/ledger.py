"""Answers written down one by one, so that a run that was cut off goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtmatte.errors import SinkError

Record = Mapping[str, Any]  # of what JSON holds


class Ledger:
    """A file of JSON lines: what was asked, everything that decides the answer included, and what was found."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        if path.exists():
            lines, _, cut_off = path.read_text(encoding="utf-8").rpartition("\n")
            if cut_off:  # by a run that was killed while it wrote
                path.write_text(f"{lines}\n" if lines else "", encoding="utf-8")
            for line in lines.splitlines():
                record = json.loads(line)
                self._known[_key(record["asked"])] = record["found"]

    def find(self, asked: Record) -> dict[str, Any] | None:
        """Returns what was found when exactly this was asked before; None when it never was."""
        return self._known.get(_key(asked))

    def add(self, asked: Record, found: Record) -> None:
        """Writes an answer down; SinkError when it cannot."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"asked": asked, "found": found}) + "\n")
        except OSError as error:
            raise SinkError(f"cannot write {self._path}: {error.strerror}; name another with --resume") from error
        self._known[_key(asked)] = dict(found)


def _key(asked: Record) -> str:
    return json.dumps(asked, sort_keys=True)
