"""A folder of PNG files as a sink: 0000.png, 0001.png and so on, grey, RGB or RGBA as the frames are."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import SinkError
from rtmatte.frame import Frame
from rtmatte.imaging import save_png

NUMBERED = re.compile(r"\d{4,}\.png")


class FolderSink:
    """Numbers the frames by `written`, not by their seq, so that there are no holes.

    A folder that holds nothing but such numbers is an earlier output: it is emptied with the first frame. Any other
    folder with something in it is refused.
    """

    def __init__(self, path: Path) -> None:
        """Makes the folder; SinkError when it cannot be written or holds something else."""
        self.written = 0
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            names = [entry.name for entry in path.iterdir()]
        except OSError as reason:
            raise SinkError(f"cannot write the folder {path}: {reason.strerror}; choose another") from reason
        if not os.access(path, os.W_OK | os.X_OK):
            raise SinkError(f"cannot write the folder {path}: Permission denied; choose another")
        foreign = [name for name in names if not NUMBERED.fullmatch(name)]
        if foreign:
            raise SinkError(
                f"expected an empty folder or an earlier output of numbered PNG files, found {foreign[0]} in {path}; "
                "choose another folder"
            )
        self._stale = [path / name for name in names]

    def write(self, frame: Frame) -> None:
        pixels: NDArray[Any] = frame.pixels
        if pixels.dtype != np.uint8:
            pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
        self._sweep()
        save_png(self._path / f"{self.written:04d}.png", pixels)
        self.written += 1

    def close(self) -> None:
        """Nothing to finish: every file was whole when its `write` returned."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _sweep(self) -> None:
        try:
            while self._stale:
                self._stale.pop().unlink(missing_ok=True)
        except OSError as reason:
            raise SinkError(f"cannot empty the folder {self._path}: {reason.strerror}") from reason
