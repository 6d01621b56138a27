"""Where frames come from: cameras, files, folders of pictures, and a made scene.

A source is opened by its constructor, iterated once, and closed by its context manager.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Protocol, Self

from rtmatte.clock import Clock
from rtmatte.errors import SourceError
from rtmatte.frame import Frame


class SourceState(StrEnum):
    """How a live source is; in any but the first there is no picture, and blank frames stand in for it."""

    LIVE = "live"
    BLACK = "black"  # pictures come, and show nothing: a shutter, a lid, a privacy switch
    STALLED = "stalled"  # no pictures and no error
    UNPLUGGED = "unplugged"
    BUSY = "busy"  # another program has it
    DENIED = "denied"  # this user may not open it
    FAILED = "failed"  # it is there and gives no pictures, for no reason that could be found
    RESTING = "resting"  # released on purpose, because nobody watches


class Source(Protocol):
    """Frames in order. Iterating raises SourceError when it cannot go on, SourceTruncated after the last frame of an
    input that ended early."""

    @property
    def name(self) -> str:
        """What to call it when talking to the user."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the first frame; later ones may differ."""
        ...

    @property
    def fps(self) -> float:
        """Frames a second, on average."""
        ...

    @property
    def frame_count(self) -> int | None:
        """How many frames there are by the file's own account, for progress; None for live input."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Ends the iteration, also from another thread, and frees the device or file. May be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def open_source(
    text: str | Path, clock: Clock, *, size: tuple[int, int] = (1280, 720), fps: float | None = None
) -> Source:
    """Returns the opened source that `text` names; SourceError when there is none.

    `text` is `camera`, a camera's number or `/dev/video` path, `synthetic`, a folder of pictures, or a video file.
    `size` and `fps` (30 when None) are what a camera is asked for and what the made scene has; `fps` is also the rate
    of a folder. A video file has its own. A camera is watched: it is opened again whenever it is lost.
    """
    name, path = str(text), Path(text)
    if not name:  # as a path it would be the folder one stands in
        raise SourceError("expected a camera's number, a video file or a folder, found an empty name; give one")
    if name == "synthetic":
        from rtmatte.sources.synthetic import SyntheticSource

        return SyntheticSource(clock, size=size, fps=fps or 30.0)
    device = _camera(name)
    if device is not None:
        from rtmatte.sources.camera import CameraSource, seems_free
        from rtmatte.sources.watch import WatchedSource

        camera = partial(CameraSource, device, clock, size=size, fps=fps or 30.0)
        return WatchedSource(camera, clock, returned=partial(seems_free, device))
    if "://" in name:
        raise SourceError(f"expected a camera, a local file or a folder, found {name}; download it first")
    if os.path.isdir(path):  # unlike Path.is_dir it raises nothing
        from rtmatte.sources.folder import FolderSource

        return FolderSource(path, clock, fps=fps or 30.0)
    from rtmatte.sources.file import FileSource

    return FileSource(path, clock)


def _camera(text: str) -> int | str | None:
    if text == "camera":
        return 0
    if text.isdecimal():
        return int(text)
    return text if text.startswith("/dev/video") else None
