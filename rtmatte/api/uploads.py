"""Backgrounds and masks that clients send: what they are is read from their bytes, and no client chooses a path."""

from __future__ import annotations

import hashlib
import re
import struct
from http import HTTPStatus
from pathlib import Path

from rtmatte.api.messages import ApiError
from rtmatte.clock import MonotonicClock
from rtmatte.errors import InputError, SinkError, SourceError
from rtmatte.imaging import Size, decode_image
from rtmatte.sources.file import FileSource

MASKS = ("image/png",)
PICTURES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
VIDEOS = {"video/mp4": ".mp4", "video/webm": ".webm"}

MOST_PIXELS = 64_000_000  # of a picture: beyond what cameras make; decoded it is three bytes each
MOST_VIDEO_PIXELS = 4096 * 2304
MOST_KEPT = 16  # files; the one used longest ago makes room

_STORED = re.compile(r"[0-9a-f]{16}\.(png|jpg|webp|mp4|webm)")
_SIZES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})  # JPEG's SOF markers


class Uploads:
    """The files that were sent, in `folder`, named by what is in them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, data: bytes, media_type: str) -> Path:
        """Returns where a background is kept, once it has been decoded; ApiError or InputError for what is none."""
        name = hashlib.sha256(data).hexdigest()[:16]
        if media_type in PICTURES:
            check_picture(data, media_type)
            decode_image(data, "what was sent")
            return self._write(data, name + PICTURES[media_type])
        _check_kind(data, media_type)
        path = self._write(data, name + VIDEOS[media_type])
        try:
            _check_video(path)
        except InputError:
            path.unlink(missing_ok=True)
            raise
        return path

    def find(self, name: str) -> Path:
        """Returns where the file `name` is; InputError when nothing of that name was sent."""
        path = self._folder / name
        if not _STORED.fullmatch(name) or not path.is_file():
            raise InputError(f"expected a background that was sent, found none called {name!r}; send it first")
        path.touch()
        return path

    def _write(self, data: bytes, name: str) -> Path:
        path, draft = self._folder / name, self._folder / f"{name}.part"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_bytes(data)
            draft.replace(path)
            kept = [each for each in self._folder.iterdir() if _STORED.fullmatch(each.name)]
            for old in sorted(kept, key=lambda each: each.stat().st_mtime, reverse=True)[MOST_KEPT:]:
                old.unlink(missing_ok=True)
        except OSError as reason:
            raise SinkError(f"cannot keep the background: {reason.strerror or reason}") from reason
        return path


def check_picture(data: bytes, media_type: str) -> None:
    """Raises ApiError for a picture that is not of its media type, or has too many pixels, before it is decoded."""
    _check_kind(data, media_type)
    size = picture_size(data)
    if size is None or not 0 < size[0] * size[1] <= MOST_PIXELS:
        found = "no size" if size is None else f"{size[0]}x{size[1]}"
        text = f"expected a picture of at most {MOST_PIXELS // 1_000_000} megapixels, found {found}; send a smaller one"
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)


def _check_video(path: Path) -> None:
    try:
        with FileSource(path, MonotonicClock()) as source:
            width, height = source.size
    except SourceError as reason:
        raise InputError("expected a video that can be decoded, found none in what was sent; use H.264") from reason
    if width * height > MOST_VIDEO_PIXELS:
        text = f"expected a video of at most 4096x2304, found {width}x{height}; send a smaller one"
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)


def _check_kind(data: bytes, media_type: str) -> None:
    found = kind_of(data)
    if found != media_type:
        text = f"expected {media_type}, as the content type says; found {found or 'something else'} in the body"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text)


def kind_of(data: bytes) -> str:
    """Returns the media type of what is in `data`, as its first bytes have it; empty for what is not taken here."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp":
        return "video/mp4"
    if data.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm"
    return ""


def picture_size(data: bytes) -> Size | None:
    """Returns (width, height) out of the header of a PNG, JPEG or WebP, None for a damaged one."""
    try:
        match kind_of(data):
            case "image/png":
                width, height = struct.unpack_from(">II", data, 16)
                return width, height
            case "image/jpeg":
                return _jpeg_size(data)
            case "image/webp":
                return _webp_size(data)
    except struct.error:  # it ends before its header does
        return None
    return None


def _jpeg_size(data: bytes) -> Size | None:
    at = 2
    while True:
        mark, kind, length = struct.unpack_from(">BBH", data, at)
        if mark != 0xFF:
            return None
        if kind in _SIZES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 1 if kind == 0xFF else 2 + length  # a marker may be padded by 0xFF


def _webp_size(data: bytes) -> Size | None:
    match data[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X" if len(data) >= 30:
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return None
