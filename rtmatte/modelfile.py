"""A model file from outside: its hash, its seal, and the header of an ONNX file. No protobuf library, no weights read.

The seal is a last metadata entry of fixed length that holds the sha256 of every byte before it. ONNX readers see one
more metadata entry; we see, wherever the file was copied to, whether it is still what was exported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rtmatte.errors import ContractError

SEAL_KEY = "rtmatte.sha256"

# Fields of ModelProto, and of the two messages in it that are read here (onnx.proto).
_OPSET_IMPORT, _METADATA = 8, 14
_KEY = _DOMAIN = 1
_VALUE = 2
_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5

_HEX = 64
_SEAL_HEAD = bytes([_METADATA << 3 | _LENGTH_DELIMITED, 2 + len(SEAL_KEY) + 2 + _HEX])
_SEAL_HEAD += bytes([_KEY << 3 | _LENGTH_DELIMITED, len(SEAL_KEY)]) + SEAL_KEY.encode()
_SEAL_HEAD += bytes([_VALUE << 3 | _LENGTH_DELIMITED, _HEX])
_SEAL_SIZE = len(_SEAL_HEAD) + _HEX


@dataclass(frozen=True, slots=True)
class Header:
    """What an ONNX file says about itself: its metadata, and the operator domains it uses ("" is ONNX itself)."""

    metadata: dict[str, str]
    domains: tuple[str, ...]


class Seal(NamedTuple):
    """The sha256 that was recorded when the file was sealed, and the one its bytes have now."""

    recorded: str
    found: str


def sha256_of(path: Path) -> str:
    """Returns the hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(path: Path) -> None:
    """Seals the finished ONNX file `path` in place; any change made after that is found by `read_seal`."""
    size = path.stat().st_size - (_SEAL_SIZE if read_seal(path) else 0)
    with path.open("r+b") as file:
        digest = _sha256_of_first(file, size)
        file.seek(size)
        file.write(_SEAL_HEAD + digest.encode())
        file.truncate()


def read_seal(path: Path) -> Seal | None:
    """Returns the seal of `path`, or None when the file does not end in one."""
    size = path.stat().st_size - _SEAL_SIZE
    if size < 0:
        return None
    with path.open("rb") as file:
        file.seek(size)
        tail = file.read(_SEAL_SIZE)
        if not tail.startswith(_SEAL_HEAD):
            return None
        return Seal(tail[-_HEX:].decode("ascii", "replace"), _sha256_of_first(file, size))


def read_header(path: Path) -> Header:
    """Returns the header of the ONNX file `path`; ContractError when it is truncated, unreadable or not ONNX."""
    metadata, domains = {}, []
    try:
        with path.open("rb") as file:
            for number, stop in _fields(file, path.stat().st_size):
                if number == _METADATA:
                    entry = _texts(file, stop)
                    metadata[entry.get(_KEY, "")] = entry.get(_VALUE, "")
                elif number == _OPSET_IMPORT:
                    domains.append(_texts(file, stop).get(_DOMAIN, ""))
    except OSError as error:
        raise ContractError(f"cannot read the model {path}: {error.strerror or error}") from error
    except (EOFError, UnicodeDecodeError) as error:
        raise ContractError(f"{path} is not a complete ONNX file; copy or export it again") from error
    return Header(metadata, tuple(domains))


def _texts(file: BinaryIO, end: int) -> dict[int, str]:
    """Returns the length-delimited fields of the message that ends at `end`, by number, as text."""
    return {number: file.read(stop - file.tell()).decode() for number, stop in _fields(file, end)}


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Yields (field number, end of its payload), the file standing at the payload, and passes over scalars.

    EOFError when a field would reach beyond `end` or is none of protobuf's.
    """
    while file.tell() < end:
        tag = _varint(file)
        number, wire = tag >> 3, tag & 7
        size = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire, 0)
        if wire in (_VARINT, _LENGTH_DELIMITED):
            value = _varint(file)
            size = value if wire == _LENGTH_DELIMITED else 0
        elif size == 0:
            raise EOFError
        stop = file.tell() + size
        if stop > end or number == 0:
            raise EOFError
        if wire == _LENGTH_DELIMITED:
            yield number, stop
        file.seek(stop)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise EOFError


def _sha256_of_first(file: BinaryIO, size: int) -> str:
    digest, block = hashlib.sha256(), 1 << 20
    file.seek(0)
    for start in range(0, size, block):
        digest.update(file.read(min(block, size - start)))
    return digest.hexdigest()
