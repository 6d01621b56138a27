"""Pictures on the CPU: read, write, resize, and fit a frame into a working size.

Everything is RGB; BGR exists only on the lines that talk to OpenCV's codecs. Nothing here knows a model or a stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

from rtmatte.errors import InputError, MaskError, RtmatteError, SinkError, SourceError
from rtmatte.frame import Alpha, Mask
from rtmatte.resampling import resize_linear

Picture = NDArray[Any]
Size = tuple[int, int]  # (width, height)

LONGEST_SIDE = 16_384  # pixels of a size that a user may ask for; 8K is half of it

_DEPTH = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


def parse_size(text: str) -> Size:
    """Returns (width, height) of a text like 1280x720; InputError for any other."""
    width, _, height = text.lower().partition("x")
    if not all(side.isdecimal() and len(side) < 9 and 0 < int(side) <= LONGEST_SIDE for side in (width, height)):
        raise InputError(f"expected a size like 1280x720, of up to {LONGEST_SIDE} pixels a side, found {text!r}")
    return int(width), int(height)


def load_image(path: Path) -> NDArray[np.uint8]:
    """Returns the picture in `path` as (H, W, 3) uint8 RGB, turned upright; SourceError when there is none."""
    return decode_image(_bytes(path, SourceError), path)


def decode_image(data: bytes, name: object = "the data") -> NDArray[np.uint8]:
    """Returns the picture in `data` as `load_image` does; errors call it `name`."""
    decoded = _decode(data, cv2.IMREAD_COLOR, SourceError, name)
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def load_mask(path: Path) -> Mask:
    """Returns the mask in `path`: white is the person, grey is in between.

    A picture with transparency is read by its alpha channel, a coloured one by its brightness; 8 and 16 bits.
    Raises MaskError when the file cannot be read as a picture.
    """
    return decode_mask(_bytes(path, MaskError), path)


def decode_mask(data: bytes, name: object = "the data") -> Mask:
    """Returns the mask in `data` as `load_mask` does; errors call it `name`."""
    decoded = _decode(data, cv2.IMREAD_UNCHANGED, MaskError, name)
    depth = _DEPTH.get(decoded.dtype)
    if depth is None:
        raise MaskError(f"expected a mask of 8 or 16 bits, found {decoded.dtype} in {name}; save it as a PNG")
    if decoded.ndim == 3:
        has_alpha = decoded.shape[2] == 4 and decoded[..., 3].min() < depth
        decoded = decoded[..., 3] if has_alpha else cv2.cvtColor(decoded[..., :3], cv2.COLOR_BGR2GRAY)
    return Mask(decoded.astype(np.float32) / np.float32(depth))


def _bytes(path: Path, error: type[RtmatteError]) -> bytes:
    # They are read here because OpenCV cannot open every path that Windows allows.
    try:
        return path.read_bytes()
    except OSError as reason:
        raise error(f"cannot read {path}: {reason.strerror or reason}; check the path") from reason


def _decode(data: bytes, flags: int, error: type[RtmatteError], name: object) -> Picture:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # a header that promises more pixels than OpenCV accepts
        decoded = None
    if decoded is None:
        raise error(f"expected a picture, found none in {name} ({len(data)} bytes); use PNG or JPEG")
    return decoded


def encode_jpeg(pixels: NDArray[np.uint8], *, quality: int) -> bytes:
    """Returns (H, W, 3) RGB or (H, W, 1) grey as a JPEG of `quality` 1 to 100."""
    picture = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.shape[2] == 3 else pixels
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def save_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Writes (H, W), (H, W, 1) grey, (H, W, 3) RGB or (H, W, 4) RGBA as a PNG; SinkError when it cannot."""
    if pixels.ndim == 3 and pixels.shape[2] > 1:
        code = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        encoded = cv2.imencode(".png", cv2.cvtColor(pixels, code))[1]
    else:
        encoded = cv2.imencode(".png", pixels)[1]
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as reason:
        raise SinkError(f"cannot write {path}: {reason.strerror or reason}") from reason


def resize(pixels: Picture, size: Size, out: Picture | None = None) -> Picture:
    """Returns `pixels` (H, W) or (H, W, C) at `size`: averaged over areas when it shrinks, linear when it grows.

    The answer is `out` when given (of that size and the dtype of `pixels`), else a new array, also at equal size.
    """
    if out is None:
        out = np.empty((size[1], size[0], *pixels.shape[2:]), pixels.dtype)
    # OpenCV answers in new memory, without a word, when the given one does not fit.
    assert (out.shape, out.dtype) == ((size[1], size[0], *pixels.shape[2:]), pixels.dtype), (out.shape, out.dtype)
    height, width = pixels.shape[:2]
    if (width, height) == size:
        np.copyto(out, pixels)
        return out
    shrinks = size[0] <= width and size[1] <= height
    target = out[..., 0] if pixels.shape[2:] == (1,) else out  # OpenCV drops an axis of one channel
    cv2.resize(pixels, size, dst=target, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return out


class Shrink:
    """Makes pictures smaller, in memory that is made once per size.

    They are halved while they are more than twice too large, then interpolated: every pixel counts, as in the mean over
    areas that `resize` takes, at a sixth of its cost (1280x720 to 512x288 in bytes: 0.44 ms for 2.5 ms).
    """

    def __init__(self) -> None:
        self._halves: list[Picture] = []

    def into(self, pixels: Picture, out: Picture) -> None:
        """Writes `pixels` (H, W) or (H, W, C) at the size of `out`, of the same dtype; what grows is interpolated."""
        height, width = out.shape[:2]
        depth = 0
        while pixels.shape[0] > 2 * height or pixels.shape[1] > 2 * width:
            rows, columns = max(height, pixels.shape[0] // 2), max(width, pixels.shape[1] // 2)
            pixels = _halve(pixels, self._half(depth, (rows, columns, *pixels.shape[2:]), pixels.dtype))
            depth += 1
        if pixels.shape == out.shape:
            np.copyto(out, pixels)
        else:
            _interpolate(pixels, out)

    def _half(self, depth: int, shape: tuple[int, ...], dtype: DTypeLike) -> Picture:
        if depth == len(self._halves):
            self._halves.append(np.empty(shape, dtype))
        elif self._halves[depth].shape != shape or self._halves[depth].dtype != dtype:
            self._halves[depth] = np.empty(shape, dtype)
        return self._halves[depth]


def _halve(pixels: Picture, out: Picture) -> Picture:
    even = pixels.shape[0] == 2 * out.shape[0] and pixels.shape[1] == 2 * out.shape[1]
    return _interpolate(pixels, out) if even else resize(pixels, out.shape[1::-1], out)


def _interpolate(pixels: Picture, out: Picture) -> Picture:
    target = out[..., 0] if pixels.shape[2:] == (1,) else out  # OpenCV drops an axis of one channel
    cv2.resize(pixels, out.shape[1::-1], dst=target, interpolation=cv2.INTER_LINEAR)
    return out


@dataclass(frozen=True, slots=True)
class Fit:
    """Where a picture lies inside a working frame of another shape: scaled as a whole, centred, black around it.

    `target` is the working (width, height), `box` the picture's (x, y, width, height) in it.
    """

    target: Size
    box: tuple[int, int, int, int]
    _shrink: Shrink = field(default_factory=Shrink, init=False, repr=False, compare=False)

    @classmethod
    def contain(cls, source: Size, target: Size) -> Fit:
        """Returns the fit that shows all of `source` as large as `target` allows."""
        if min(*source, *target) < 1:
            raise InputError(f"expected sizes of at least 1x1, found {source} into {target}")
        scale = min(target[0] / source[0], target[1] / source[1])
        width, height = (max(1, min(limit, round(side * scale))) for side, limit in zip(source, target, strict=True))
        return cls(target, ((target[0] - width) // 2, (target[1] - height) // 2, width, height))

    def crop(self, working: Picture) -> Picture:
        """Returns the part of a working-size array (H, W, ...) that shows the picture: a view."""
        x, y, width, height = self.box
        return working[y : y + height, x : x + width]

    def restored(self, alpha: Picture) -> Picture:
        """Returns the part of a working-size alpha that shows the picture, at working size: a view."""
        return self.crop(alpha)

    def forward(self, pixels: Picture, out: Picture) -> None:
        """Writes `pixels` (H, W) or (H, W, 3), of any size, into the box of `out` and black around it.

        It allocates nothing, after the first call, while the dtypes agree or the sizes do. float32 becomes uint8 by
        rounding, in 0..255.
        """
        x, y, width, height = self.box
        inside = self.crop(out)
        if pixels.dtype == out.dtype:
            self._shrink.into(pixels, inside)
        else:
            _convert(pixels if inside.shape == pixels.shape else resize(pixels, (width, height)), inside)
        if inside.shape != out.shape:
            for bar in (out[:y], out[y + height :], out[:, :x], out[:, x + width :]):
                bar.fill(0)


@dataclass(frozen=True, slots=True)
class Reduced:
    """A picture of `source` (width, height) as a whole in a working frame of `target`, as MatAnyone's
    `max_internal_size` has it: between its two nearest pixels each way, there and back."""

    source: Size
    target: Size

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The picture's (x, y, width, height) in the working frame: all of it."""
        return 0, 0, *self.target

    def crop(self, working: Picture) -> Picture:
        """Returns the working-size array: all of it shows the picture."""
        return working

    def restored(self, alpha: Picture) -> Picture:
        """Returns a working-size alpha (H, W) at the picture's size, float32 in new memory."""
        return resize_linear(alpha, self.source)

    def forward(self, pixels: Picture, out: Picture) -> None:
        """Writes `pixels` (H, W) or (H, W, 3), of any size, into `out`; bytes are rounded."""
        _convert(resize_linear(pixels, self.target), out)


def _convert(pixels: Picture, out: Picture) -> None:
    if out.dtype == np.uint8:
        pixels = np.clip(np.rint(pixels), 0, 255)
    np.copyto(out, pixels, casting="unsafe")


def largest_part(alpha: Alpha, *, trace: float = 0.1) -> Alpha:
    """Returns `alpha` (H, W) with only the largest connected part of what is above `trace`, zero elsewhere."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(_binary(alpha > trace), connectivity=4)
    if count < 2:
        return np.zeros_like(alpha)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return np.where(labels == largest, alpha, np.float32(0))


def dilate_then_erode(mask: Mask, *, dilate: int, erode: int) -> Mask:
    """Returns a first-frame mask grown and then shrunk by ellipses of `dilate` and `erode` pixels across.

    Growing makes everything that is not black white, shrinking keeps only what is white; with neither (0) the greys
    stay as they are. One pass each, the picture's outside counts for nothing. This is MatAnyone's preparation
    of a first mask.
    """
    if not dilate and not erode:
        return mask
    grey = np.rint(mask.values * 255.0).astype(np.uint8)
    if dilate:
        grey = cv2.dilate(_binary(grey != 0), _ellipse(dilate)).astype(np.uint8, copy=False)
    if erode:
        grey = cv2.erode(_binary(grey == 255), _ellipse(erode)).astype(np.uint8, copy=False)
    return Mask(grey.astype(np.float32) / np.float32(255.0))


def _binary(chosen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(chosen, np.uint8(255), np.uint8(0))


def _ellipse(across: int) -> Picture:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across))
