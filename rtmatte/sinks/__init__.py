"""Where finished frames go: video files, folders of pictures, a virtual camera, a window, memory.

A sink is opened by its constructor and finished by its context manager, also when the run failed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from rtmatte.errors import SinkError
from rtmatte.frame import Frame

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm")


class Sink(Protocol):
    """Takes frames in order."""

    def write(self, frame: Frame) -> None:
        """Takes the frame, whose pixels it no longer needs when it returns; SinkError when it cannot."""
        ...

    def close(self) -> None:
        """Finishes the output; SinkError when it is not whole. May be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def open_sink(
    path: Path, *, size: tuple[int, int], fps: float, audio_from: Path | None = None, inputs: Iterable[Path] = ()
) -> Sink:
    """Returns the sink that `path` names: a folder of PNG files when it has no suffix, else a video.

    Raises SinkError when it cannot be written, or is one of the `inputs`. What it held before is lost with the first
    frame. `size` and `fps` are the video's; its sound is copied from `audio_from`.
    """
    if any(
        path.exists() and other.exists() and path.samefile(other) for other in (*inputs, *filter(None, [audio_from]))
    ):
        raise SinkError(f"expected an output other than the input, found {path} for both; choose another name")
    suffix = path.suffix.lower()
    if not suffix or os.path.isdir(path):  # unlike Path.is_dir it raises nothing
        from rtmatte.sinks.folder import FolderSink

        return FolderSink(path)
    if suffix not in VIDEO_SUFFIXES:
        raise SinkError(
            f"expected an output that ends in {', '.join(VIDEO_SUFFIXES)}, or without a suffix for a folder of PNG "
            f"files, found {path.name}"
        )
    from rtmatte.sinks.video import VideoSink

    return VideoSink(path, size=size, fps=fps, audio_from=audio_from)


def rgb_of(frame: Frame) -> NDArray[Any]:
    """Returns the pixels of a frame as (H, W, 3): themselves, or grey repeated; SinkError for RGBA.

    For sinks that show pictures and have nothing to show through.
    """
    pixels: NDArray[Any] = frame.pixels
    if pixels.shape[2] == 4:
        raise SinkError("expected a picture without transparency for this output, found RGBA; choose a background")
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
