"""What the control API takes and gives: requests, responses, and errors with the status that fits them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any

from rtmatte.errors import InputError, RtmatteError

JSON = "application/json"


class ApiError(RtmatteError):
    """A request that cannot be answered, and its HTTP status; `allow` are the methods there would be."""

    def __init__(self, status: HTTPStatus, text: str, *, allow: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.allow = tuple(allow)


@dataclass(frozen=True, slots=True)
class Request:
    """A request: `path` is relative to the line and begins without a slash, and is decoded, as is the `query`."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""
    body: bytes = b""

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in small letters."""
        return self.content_type.partition(";")[0].strip().lower()

    def json(self) -> dict[str, Any]:
        """Returns the JSON object of the body; InputError for anything else."""
        try:
            # Python reads NaN and Infinity, which JSON does not know.
            values = json.loads(self.body, parse_constant=_refused)
        except (ValueError, RecursionError) as reason:
            raise InputError(f"expected a body of JSON, found none: {reason}") from reason
        if not isinstance(values, dict):
            raise InputError(f"expected a JSON object, found {type(values).__name__}")
        return values


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `headers` beyond the content type."""

    status: HTTPStatus = HTTPStatus.OK
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
        """Returns the answer that holds `values`, anything that `plain` takes, as JSON."""
        return cls(status, json.dumps(plain(values), allow_nan=False).encode())

    @classmethod
    def error(cls, error: RtmatteError) -> Response:
        """Returns the answer to what went wrong: {"error": the sentence for the user}."""
        status, allow = HTTPStatus.BAD_REQUEST, ""
        if isinstance(error, ApiError):
            status, allow = error.status, ", ".join(error.allow)
        answer = cls.of({"error": str(error)}, status)
        return cls(status, answer.body, headers={"Allow": allow}) if allow else answer


def plain(value: object) -> Any:
    """Returns `value` in what JSON knows: dataclasses become objects, numbers that are none become null."""
    match value:
        case Enum():
            return plain(value.value)
        case float() if not math.isfinite(value):
            return None
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(plain(name)): plain(each) for name, each in value.items()}
        case Sequence():
            return [plain(each) for each in value]
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    return str(value)
