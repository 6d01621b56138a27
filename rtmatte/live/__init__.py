"""The live line: a source's newest frames, cut out and drawn as the control says."""

from __future__ import annotations

from rtmatte.live.line import LiveLine
from rtmatte.live.status import LiveStatus, View

__all__ = ["LiveLine", "LiveStatus", "View"]
