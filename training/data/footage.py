"""Pictures of the public data sets, found where their authors put them: in folders, in zip archives, in videos.

Frames and mattes belong together when their names do, whatever their extensions. Mattes are grey, or RGBA whose
transparency is the matte.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import SourceError

Pixels8 = NDArray[np.uint8]
Place = Path | zipfile.Path  # a file or folder, on the disk or in an archive

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
VIDEOS = (".mp4", ".mov", ".mkv", ".avi")


@dataclass(frozen=True, slots=True, repr=False)
class MatteClip:
    """A clip or, of length 1, a picture of a person: `colour(n)` is (H, W, 3) RGB, `alpha(n)` (H, W), both uint8."""

    name: str
    length: int
    colour: Callable[[int], Pixels8]
    alpha: Callable[[int], Pixels8]

    def __repr__(self) -> str:
        return f"MatteClip({self.name}, {self.length} frames)"


def opened(root: Path) -> Place:
    """Returns the folder `root`, or what is in the zip archive `root`; SourceError when it is neither."""
    if root.is_dir():
        return root
    if zipfile.is_zipfile(root):
        return zipfile.Path(root)
    raise SourceError(f"expected a folder or a zip archive of a data set at {root}, found neither; check the path")


def entries(folder: Place, suffixes: tuple[str, ...] = PICTURES) -> dict[str, Place]:
    """Returns the files of `folder` with such a suffix by stem, in order of their names; none of a missing folder."""
    if not folder.is_dir():
        return {}
    files: list[Place] = [path for path in folder.iterdir() if _suffix(path) in suffixes]
    return {_stem(path): path for path in sorted(files, key=lambda path: path.name)}


def folders(folder: Place) -> dict[str, Place]:
    """Returns the folders in `folder` by name, in order; none of a missing folder."""
    if not folder.is_dir():
        return {}
    inner: list[Place] = [path for path in folder.iterdir() if path.is_dir()]
    return {path.name: path for path in sorted(inner, key=lambda path: path.name)}


def below(folder: Place) -> dict[str, Place]:
    """Returns the pictures anywhere below `folder` by stem, in order of their places."""
    found = entries(folder)
    for inner in folders(folder).values():
        found |= below(inner)
    return found


def read_colour(path: Place) -> Pixels8:
    """Returns the picture as (H, W, 3) RGB, the colour under a transparent one's alpha; SourceError when unreadable."""
    return cv2.cvtColor(_decoded(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def read_matte(path: Place) -> Pixels8:
    """Returns the matte (H, W): the transparency of a picture that has some, else its brightness.

    SourceError when it is unreadable.
    """
    decoded = _decoded(path, cv2.IMREAD_UNCHANGED)
    if decoded.dtype == np.uint16:
        decoded = decoded // 257
    if decoded.ndim == 3:
        transparent = decoded.shape[2] == 4 and decoded[..., 3].min() < 255
        decoded = decoded[..., 3] if transparent else cv2.cvtColor(decoded[..., :3], cv2.COLOR_BGR2GRAY)
    return np.ascontiguousarray(decoded, np.uint8)


def paired(name: str, colours: dict[str, Place], mattes: dict[str, Place]) -> MatteClip | None:
    """Returns the clip of the pictures that have a matte of the same stem; None when there are none."""
    pairs = [(path, mattes[stem]) for stem, path in colours.items() if stem in mattes]
    if not pairs:
        return None
    return MatteClip(name, len(pairs), lambda n: read_colour(pairs[n][0]), lambda n: read_matte(pairs[n][1]))


class Video:
    """The frames of a video file by number, RGB; reading on is fast, going back seeks."""

    def __init__(self, path: Place) -> None:
        if not isinstance(path, Path):
            raise SourceError(f"expected a video on the disk, found {path} inside an archive; unpack the archive")
        self._path = path
        self._capture = cv2.VideoCapture(str(path))
        self.length = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._next = 0
        if self.length < 1:
            raise SourceError(f"expected a video, found none in {path}; get the file again")

    def frame(self, number: int) -> Pixels8:
        """Returns frame `number` as (H, W, 3); SourceError when the file ends before it."""
        if number != self._next:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        read, picture = self._capture.read()
        self._next = number + 1
        if not read:
            raise SourceError(f"expected {self.length} frames in {self._path}, found none at {number}; get it again")
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _decoded(path: Place, flags: int) -> NDArray[Any]:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    decoded = cv2.imdecode(data, flags) if data.size else None
    if decoded is None:
        raise SourceError(f"expected a picture, found none in {path}; get the file again")
    return decoded


def _suffix(path: Place) -> str:
    return Path(path.name).suffix.lower()


def _stem(path: Place) -> str:
    return Path(path.name).stem
