"""The table of routes, and what is made of it: the answers, the limits and the description."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rtmatte.api import schema
from rtmatte.api.handlers import VIEWS, Handlers, Line
from rtmatte.api.messages import JSON, ApiError, Request, Response
from rtmatte.api.schema import Schema
from rtmatte.api.uploads import MASKS, PICTURES, VIDEOS
from rtmatte.control import Control
from rtmatte.errors import RtmatteError
from rtmatte.live import View
from rtmatte.settings import SettingsFolder

SMALL, LARGE, LARGEST = 64 << 10, 16 << 20, 64 << 20  # bytes of a body: JSON, a mask, a background


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table: `path` may hold parts in braces, which `handler` gets by name.

    `takes` are the media types of its body, each with a schema, of `limit` bytes at most; without any there is none.
    """

    method: str
    path: str
    handler: Callable[..., Response]
    says: str
    gives: Schema
    gives_type: str = JSON
    takes: Mapping[str, Schema] = field(default_factory=dict)
    limit: int = 0
    query: Mapping[str, Schema] = field(default_factory=dict)

    def match(self, path: str) -> dict[str, str] | None:
        """Returns the named parts of `path`, None when it is of another route."""
        mine, given = self.path.split("/"), path.split("/")
        if len(mine) != len(given):
            return None
        found = {}
        for pattern, part in zip(mine, given, strict=True):
            if pattern.startswith("{") and part:
                found[pattern[1:-1]] = part
            elif pattern != part:
                return None
        return found

    def check(self, request: Request) -> None:
        """Raises ApiError for a body of another kind, or one that is too long."""
        if len(request.body) > self.limit:
            text = f"expected a body of at most {self.limit} bytes, found {len(request.body)}"
            raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        if self.takes and request.media_type not in self.takes:
            text = f"expected the content type {' or '.join(self.takes)}, found {request.media_type or 'none'!r}"
            raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, text)


def _json(takes: Schema) -> dict[str, Any]:
    return {"takes": {JSON: takes}, "limit": SMALL}


def _binary(*media_types: str, limit: int) -> dict[str, Any]:
    return {"takes": dict.fromkeys(media_types, schema.BYTES), "limit": limit}


def _describe(handlers: Handlers, request: Request) -> Response:
    return Response.of(openapi())


_CHOICE, _FRAME = _json(schema.TARGET), {"view": schema.one_of(VIEWS)}

ROUTES = (
    Route("GET", "settings", Handlers.get_settings, "The settings.", schema.SETTINGS),
    Route("PATCH", "settings", Handlers.patch_settings, "Changes settings.", schema.SETTINGS, **_json(schema.SETTINGS)),
    Route("GET", "status", Handlers.get_status, "How the line is doing.", schema.OBJECT),
    Route("POST", "target", Handlers.post_target, "Chooses who is cut out.", schema.ACCEPTED, **_CHOICE),
    Route(
        "PUT",
        "target/mask",
        Handlers.put_mask,
        "Chooses by a mask, white where the person is.",
        schema.ACCEPTED,
        **_binary(*MASKS, limit=LARGE),
    ),
    Route("POST", "target/undo", Handlers.post_undo, "Takes the last choice back.", schema.ACCEPTED),
    Route("POST", "reseed", Handlers.post_reseed, "Looks afresh at the person who is followed.", schema.ACCEPTED),
    Route(
        "PUT",
        "background",
        Handlers.put_background,
        "Puts a picture or a looping video behind the person.",
        schema.SETTINGS,
        **_binary(*PICTURES, *VIDEOS, limit=LARGEST),
    ),
    Route(
        "POST", "record", Handlers.post_record, "Begins or ends the recording.", schema.ACCEPTED, **_json(schema.RECORD)
    ),
    Route("GET", "presets", Handlers.get_presets, "The names of the presets.", schema.PRESETS),
    Route("PUT", "presets/{name}", Handlers.put_preset, "Keeps the settings under a name.", schema.PRESETS),
    Route("POST", "presets/{name}/load", Handlers.load_preset, "Takes the settings of a preset.", schema.SETTINGS),
    Route("GET", "frame.jpg", Handlers.get_frame, "The newest picture.", schema.BYTES, "image/jpeg", query=_FRAME),
    Route("GET", "openapi.json", _describe, "This description.", schema.OBJECT),
)


class Api:
    """The routes over one line and its control; every method may be called on several threads at once.

    `uploads` is a folder of its own for the backgrounds that are sent. Without `kept` there are no presets. Of the
    `VIEWS` only `views` are given away: the original shows the room.
    """

    def __init__(
        self,
        line: Line,
        control: Control,
        *,
        uploads: Path,
        kept: SettingsFolder | None = None,
        views: Collection[View] = VIEWS,
    ) -> None:
        self._handlers = Handlers(line, control, uploads=uploads, kept=kept, views=views)
        self.change = self._handlers.change
        self.command = self._handlers.command

    def limit(self, method: str, path: str) -> int:
        """Returns the most bytes that a body may have; ApiError where there is no such route."""
        return _find(method, path)[0].limit

    def answer(self, request: Request) -> Response:
        """Returns the answer to a request; what is wrong with it is an answer too."""
        try:
            route, parts = _find(request.method, request.path)
            route.check(request)
            return route.handler(self._handlers, request, **parts)
        except RtmatteError as error:
            return Response.error(error)


def _find(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Returns the route of a request and the named parts of its path; ApiError when there is none."""
    there = [(route, parts) for route in ROUTES if (parts := route.match(path)) is not None]
    for route, parts in there:
        if route.method == method:
            return route, parts
    if there:
        allow = [route.method for route, _ in there]
        text = f"expected {' or '.join(allow)} for {path}, found {method}"
        raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, text, allow=allow)
    raise ApiError(HTTPStatus.NOT_FOUND, f"there is no {path!r} here; openapi.json lists what there is")


def openapi() -> dict[str, Any]:
    """Returns the description of the API in the form of OpenAPI 3.1, made from the table."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(f"/{route.path}", {})[route.method.lower()] = _operation(route)
    info = {"title": "rtmatte", "version": "1", "description": "The control of one live line."}
    return {"openapi": "3.1.0", "info": info, "paths": paths}


def _operation(route: Route) -> dict[str, Any]:
    named = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in named]
    parameters += [{"name": name, "in": "query", "schema": each} for name, each in route.query.items()]
    status = "202" if route.gives is schema.ACCEPTED else "200"
    operation: dict[str, Any] = {
        "summary": route.says,
        "responses": {
            status: {"description": "done", "content": {route.gives_type: {"schema": route.gives}}},
            "default": {"description": "what is wrong", "content": {JSON: {"schema": schema.ERROR}}},
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if route.takes:
        content = {media_type: {"schema": each} for media_type, each in route.takes.items()}
        operation["requestBody"] = {"required": True, "content": content}
    return operation
