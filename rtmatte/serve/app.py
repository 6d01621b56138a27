"""The HTTP side of the server: its routes, and the page's files.

POST /api/login {"key"} · GET /api/server · GET /api/sessions · POST /api/sessions {"type", "sdp", "resume"} · GET,
DELETE /api/sessions/{id} · the control API of `rtmatte.api` below it · WebSocket /api/sessions/{id}/events · WHIP at
/whip, WHEP at /whep · /api/openapi.json · /metrics · /healthz · the page at /.
"""

from __future__ import annotations

import json
import mimetypes
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import Any

from aiohttp import web

from rtmatte.clock import Clock
from rtmatte.serve.access import COOKIE, Access
from rtmatte.serve.control import ControlRoutes
from rtmatte.serve.guard import Guard, read_body
from rtmatte.serve.options import ServeOptions
from rtmatte.serve.refusal import Refusal, bad_request, not_found
from rtmatte.serve.studio import Studio
from rtmatte.serve.watchtower import Canary, Watchtower
from rtmatte.serve.whip import WhipRoutes

PAGE = Path(__file__).parent / "page"
JSON = "application/json"
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".webmanifest": "application/manifest+json"}


def make_app(studio: Studio, networks: Canary, options: ServeOptions, access: Access, clock: Clock) -> web.Application:
    """Returns the application of a server; starting and ending `studio` and `networks` is the caller's."""
    page = PageFiles(PAGE)
    guard = Guard(options, access, clock, is_public=page.has, may_watch=studio.admits)
    app = web.Application(middlewares=[guard.handle], client_max_size=options.limits.body)
    SessionRoutes(studio, options, access).add_to(app)
    ControlRoutes(studio, options).add_to(app)
    WhipRoutes(studio, options).add_to(app)
    Watchtower(studio, networks, guard).add_to(app)
    page.add_to(app)
    return app


class PageFiles:
    """The files of the page, looked up by name in a list made at the start: no path is ever made of a request."""

    def __init__(self, folder: Path) -> None:
        files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        self._files = {path.relative_to(folder).as_posix(): path for path in files}

    def has(self, path: str) -> bool:
        """Whether `path` is a file of the page; the page itself is at /."""
        return path == "/" or path.removeprefix("/") in self._files

    def add_to(self, app: web.Application) -> None:
        for name in ("", *self._files):
            app.router.add_get(f"/{name}", self.get)

    async def get(self, request: web.Request) -> web.StreamResponse:
        path = self._files.get(request.path.removeprefix("/") or "index.html")
        if path is None:
            raise not_found("there is nothing at this address")
        kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return web.Response(body=path.read_bytes(), content_type=kind, headers={"Cache-Control": "no-cache"})


class SessionRoutes:
    """The JSON side: logging in, what the server is, publishing from a page."""

    def __init__(self, studio: Studio, options: ServeOptions, access: Access) -> None:
        self._studio, self._options, self._access = studio, options, access

    def add_to(self, app: web.Application) -> None:
        app.router.add_post("/api/login", self.log_in)
        app.router.add_get("/api/server", self.server)
        app.router.add_get("/api/sessions", self.sessions, allow_head=False)
        app.router.add_post("/api/sessions", self.publish)
        app.router.add_get("/api/sessions/{id}", self.session, allow_head=False)
        app.router.add_delete("/api/sessions/{id}", self.end)

    async def log_in(self, request: web.Request) -> web.Response:
        """{"key": the token, or the one-time key of the printed address} → 204 and a cookie."""
        given = (await self._json(request)).get("key")
        login = self._access.log_in(given) if isinstance(given, str) else None
        if login is None:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "expected the server's token, or the key of its address, unused")
        response = web.Response(status=HTTPStatus.NO_CONTENT)
        secure = self._options.certificate is not None
        response.set_cookie(COOKIE, login, httponly=True, samesite="Strict", secure=secure, path="/")
        return response

    async def server(self, request: web.Request) -> web.Response:
        """→ what a page needs to know before it connects."""
        return web.json_response(
            {
                "version": metadata.version("rtmatte"),
                "model": self._studio.model,
                "backend": self._studio.backend,
                "ice_servers": [server.to_dict() for server in self._options.ice_servers],
                "relay_only": self._options.relay_only,
                "records": self._options.recordings is not None,
                "publishers": {"now": self._studio.publishers, "limit": self._studio.capacity},
            }
        )

    async def sessions(self, request: web.Request) -> web.Response:
        """→ {"sessions": each as below, the oldest first}."""
        return web.json_response({"sessions": [each.summary for each in self._studio.broadcasts]})

    async def publish(self, request: web.Request) -> web.Response:
        """{"type": "offer", "sdp", "resume": an earlier id or null} → 201 {"type": "answer", "sdp", "id", "watch",
        "viewing_key"}."""
        given = await self._json(request)
        sdp, resume = given.get("sdp"), given.get("resume")
        if given.get("type") != "offer" or not isinstance(sdp, str) or not isinstance(resume, str | None):
            raise bad_request('expected {"type": "offer", "sdp": text, "resume": an earlier id or null}')
        published = await self._studio.publish(sdp, sender="page", resume=resume)
        shown = {"id": published.id, "watch": published.watch, "viewing_key": published.viewing_key}
        shown |= {"type": "answer", "sdp": published.answer}
        where = {"Location": f"/api/sessions/{published.id}"}
        return web.json_response(shown, status=HTTPStatus.CREATED, headers=where)

    async def session(self, request: web.Request) -> web.Response:
        """→ {"id", "watch", "viewing_key", "sender": "page" | "OBS" | "WHIP", "seconds" on air, "size" [w, h] or null,
        "state": "connecting" | "live" | "away", "viewers", "recording": a file's name or null, "encoders"}; 404 once it
        is over."""
        return web.json_response(self._studio.broadcast(request.match_info["id"]).summary)

    async def end(self, request: web.Request) -> web.Response:
        """Ends the session, its viewers with it; ending it again is as good."""
        await self._studio.end(request.match_info["id"])
        return web.json_response({})

    async def _json(self, request: web.Request) -> dict[str, Any]:
        limits = self._options.limits
        body = await read_body(request, content=JSON, limit=limits.body, wait=limits.body_wait)
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise bad_request("expected a JSON object as the body")
        return given
