"""The published results of other systems, to be printed beside ours; see the source in the JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtmatte.imaging import Size

PUBLISHED = Path(__file__).with_name("published.json")


def published(data_set: str, size: Size) -> dict[str, dict[str, float]]:
    """Returns metrics by method for the frames of one size of a data set; empty where nothing is published."""
    rows: Mapping[str, Mapping[str, float]] = _table()["sets"].get(f"{data_set} {size[0]}x{size[1]}", {})
    methods = dict.fromkeys(method for row in rows.values() for method in row)
    return {name: {metric: row[name] for metric, row in rows.items() if name in row} for name in methods}


def source() -> str:
    """Returns where the figures come from, in one sentence."""
    return str(_table()["source"])


def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return table
