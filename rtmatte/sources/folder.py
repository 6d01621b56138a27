"""A folder of pictures as a source: one frame each, in natural order (2.png before 10.png)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from rtmatte.clock import Clock
from rtmatte.errors import SourceError
from rtmatte.frame import Frame
from rtmatte.imaging import load_image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


class FolderSource:
    """The pictures in a folder, at `fps`, each with its own size and memory. Hidden and other files are left out."""

    def __init__(self, path: Path, clock: Clock, *, fps: float = 30.0) -> None:
        """Reads the first picture; SourceError when there is none."""
        self.name = path.name
        self.fps = fps
        self._clock = clock
        self._paths = _pictures(path)
        self._first = load_image(self._paths[0])
        self._closed = False

    @property
    def size(self) -> tuple[int, int]:
        return self._first.shape[1], self._first.shape[0]

    @property
    def frame_count(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[Frame]:
        for seq, path in enumerate(self._paths):
            if self._closed:
                return
            pixels = load_image(path) if seq else self._first
            yield Frame(seq, pixels, self._clock.now(), seq / self.fps)

    def close(self) -> None:
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _pictures(folder: Path) -> list[Path]:
    try:
        files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    except OSError as reason:
        raise SourceError(f"cannot read the folder {folder}: {reason.strerror}") from reason
    if not files:
        raise SourceError(f"expected pictures ({' '.join(sorted(SUFFIXES))}) in {folder}, found none")
    return sorted(files, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    # Every other part is a number; as a pair it sorts by value among numbers and by text among words.
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)]
