"""What stands behind the person: a still picture or colour, a looping video, or the room itself, blurred.

`parse_background` reads what a user typed, `open_background` makes it. Nothing here opens a video: the front hands
over a way to do so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rtmatte import imaging
from rtmatte.compose.blur import Blur
from rtmatte.compose.scratch import Bytes
from rtmatte.errors import InputError, SourceError
from rtmatte.frame import Alpha, Frame

GREEN = (0, 255, 0)
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif"})
CHOICES = "blur, blur:1 to blur:100, green, #rrggbb, transparent, side-by-side, none, or a picture or video file"

VideoSource = Callable[[Path], Iterable[Frame]]


@dataclass(frozen=True, slots=True)
class BackgroundSpec:
    """A background as the user chose it; which of the other fields means something follows from `kind`.

    `strength` (1 to 100) belongs to blur, `colour` (RGB) to colour, `path` to image and video.
    """

    kind: Literal["blur", "colour", "image", "video", "transparent", "side-by-side", "none"]
    strength: float = 50.0
    colour: tuple[int, int, int] = GREEN
    path: Path = Path()


def parse_background(text: str) -> BackgroundSpec:
    """Returns the background that `text` names; InputError when it names none, or a file that is not there."""
    match text.strip().lower().partition(":"):
        case ("none" | "transparent" | "side-by-side" | "blur") as kind, "", "":
            return BackgroundSpec(kind)
        case "blur", ":", strength:
            return BackgroundSpec("blur", strength=_strength(strength))
        case "green", "", "":
            return BackgroundSpec("colour", colour=GREEN)
    if re.fullmatch("#[0-9a-fA-F]{6}", text.strip()):
        red, green, blue = bytes.fromhex(text.strip()[1:])
        return BackgroundSpec("colour", colour=(red, green, blue))
    return _file(Path(text))


def _strength(text: str) -> float:
    try:
        strength = float(text)
    except ValueError:
        strength = 0.0
    if not 1 <= strength <= 100:
        raise InputError(f"expected a blur of 1 to 100, found {text!r}; 50 is the default")
    return strength


def _file(path: Path) -> BackgroundSpec:
    suffix = path.suffix.lower()
    if suffix not in IMAGES | VIDEOS:
        raise InputError(f"expected a background of {CHOICES}; found {str(path)!r}")
    if not path.is_file():
        raise InputError(f"expected a background file, found none at {path}; check the path")
    return BackgroundSpec("image" if suffix in IMAGES else "video", path=path)


class Background(Protocol):
    """Something to put behind a person.

    `at` is the time of the frame in seconds, on any clock that only this stream uses.
    """

    def behind(self, picture: Bytes, alpha: Alpha, out: Bytes, *, at: float) -> None:
        """Fills `out` (H, W, 3) with what is behind the person of `picture` (h, w, 3) with `alpha` (h, w)."""
        ...

    def plain(self, out: Bytes, *, at: float) -> None:
        """Fills `out` (H, W, 3) with what shows nothing of the room, for when there is no trustworthy matte."""
        ...


def open_background(spec: BackgroundSpec, video_source: VideoSource | None = None) -> Background:
    """Returns the background of `spec`; `video_source` gives the frames of a video file from its start.

    Raises SourceError for a file that cannot be read, InputError for the kinds that put nothing
    behind the person: `compose.host.open_compositor` knows them.
    """
    match spec.kind:
        case "blur":
            return Blur(spec.strength)
        case "colour":
            return Still(np.full((1, 1, 3), spec.colour, np.uint8))
        case "image":
            return Still(imaging.load_image(spec.path))
        case "video":
            if video_source is None:
                raise InputError(f"expected a picture or a colour here, found the video {spec.path}")
            return Looped(spec.path, video_source)
        case nothing:
            raise InputError(f"expected a background with a picture, found {nothing!r}")


def cover(pixels: NDArray[Any], out: NDArray[Any]) -> None:
    """Fills `out` (H, W, 3) with the middle of `pixels`, as large as fits: nothing is stretched, no bar remains."""
    (height, width), (out_height, out_width) = pixels.shape[:2], out.shape[:2]
    shrink = min(width / out_width, height / out_height)
    crop_width = max(1, min(width, round(out_width * shrink)))
    crop_height = max(1, min(height, round(out_height * shrink)))
    x, y = (width - crop_width) // 2, (height - crop_height) // 2
    # Down to a half, linear interpolation still sees every pixel, and is four times as fast as the mean over areas.
    how = cv2.INTER_LINEAR if shrink <= 2 else cv2.INTER_AREA
    cv2.resize(pixels[y : y + crop_height, x : x + crop_width], (out_width, out_height), out, interpolation=how)


class Still:
    """One picture, fitted once per frame size; a colour is a picture of one pixel."""

    def __init__(self, picture: Bytes) -> None:
        self._picture = picture
        self._fitted = picture

    def behind(self, picture: Bytes, alpha: Alpha, out: Bytes, *, at: float) -> None:
        self.plain(out, at=at)

    def plain(self, out: Bytes, *, at: float) -> None:
        if self._fitted.shape != out.shape:
            self._fitted = np.empty(out.shape, np.uint8)
            cover(self._picture, self._fitted)
        np.copyto(out, self._fitted)


class Looped:
    """A video that starts again at its end and keeps its own pace, whatever the pace of the stream before it.

    It is decoded where it is drawn, so the caller pays for it. Frames without a time are taken as 30 a second. When it
    cannot be opened again, its last picture stays.
    """

    PERIOD = 1 / 30  # seconds
    CATCH_UP = 4  # frames shown in one call at most; what is later than that waits, the stream does not

    def __init__(self, path: Path, video_source: VideoSource) -> None:
        self._path = path
        self._video_source = video_source
        self._frames = iter(video_source(path))
        self._next = next(self._frames, None)  # a lease: the one after it is asked for only when it was drawn
        if self._next is None:
            raise SourceError(f"expected a video with at least one frame, found none in {path}")
        self._round = 1  # frames decoded since the video was opened
        self._period = self.PERIOD
        self._due = 0.0  # when the next frame is to be shown
        self._at: float | None = None
        self._canvas = np.zeros((1, 1, 3), np.uint8)

    def behind(self, picture: Bytes, alpha: Alpha, out: Bytes, *, at: float) -> None:
        self.plain(out, at=at)

    def plain(self, out: Bytes, *, at: float) -> None:
        if self._canvas.shape != out.shape:
            old, self._canvas = self._canvas, np.empty(out.shape, np.uint8)
            cover(old, self._canvas)
        self._move_on(at)
        np.copyto(out, self._canvas)

    def _move_on(self, at: float) -> None:
        """Draws the frames that are due at the time `at`."""
        if self._at is None:
            self._due = at
        elif at < self._at:  # the stream before it started over
            self._due -= self._at - at
        self._at = at
        for _ in range(self.CATCH_UP):
            if self._next is None or self._due > at:
                return
            cover(self._next.pixels, self._canvas)
            self._advance(self._next)
        self._due = max(self._due, at + self._period)

    def _advance(self, shown: Frame) -> None:
        following = self._decode()
        if following is not None:
            self._round += 1
            if following.pts is not None and shown.pts is not None and following.pts > shown.pts:
                self._period = following.pts - shown.pts
        elif self._round > 1:  # a video of one frame is a picture: nothing to open again
            following = self._reopen()
            self._round = 1
        self._next = following
        self._due += self._period

    def _decode(self) -> Frame | None:
        try:
            return next(self._frames, None)
        except SourceError:  # damaged or truncated: its end, for a background
            return None

    def _reopen(self) -> Frame | None:
        try:
            self._frames = iter(self._video_source(self._path))
        except SourceError:
            return None
        return self._decode()
