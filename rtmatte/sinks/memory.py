"""Frames kept in memory: for tests and for timing a line without an encoder."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Self

from rtmatte.frame import Frame


class MemorySink:
    """Copies of the last `keep` frames, oldest first in `frames`; `count` is how many were written in all."""

    def __init__(self, keep: int = 64) -> None:
        self.frames: deque[Frame] = deque(maxlen=keep)
        self.count = 0

    def write(self, frame: Frame) -> None:
        self.count += 1
        self.frames.append(replace(frame, pixels=frame.pixels.copy()))

    def close(self) -> None:
        """Nothing to finish; the frames stay."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
