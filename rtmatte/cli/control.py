"""The control API over HTTP for programs on this machine: 127.0.0.1 alone, and no page of another site may use it.

The server of the standard library is enough for it: few requests, each answered from memory.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import BoundedSemaphore, Thread
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from rtmatte.api import Api, ApiError, Request, Response
from rtmatte.errors import InputError, RtmatteError

HOST = "127.0.0.1"
PREFIX = "/api/"
AT_ONCE = 8  # requests; one more is told to come back
PATIENCE = 10.0  # seconds for a request to arrive


class ControlServer:
    """Answers under http://127.0.0.1:PORT/api/ until it is closed; `port` 0 takes a free one.

    With a `token` every request has to carry it as a bearer's. Raises InputError for a port that is taken.
    """

    def __init__(self, api: Api, *, port: int, token: str | None = None) -> None:
        def handler(*arguments: Any) -> _Handler:
            return _Handler(self._answer, token, *arguments)

        self._api = api
        self._turns = BoundedSemaphore(AT_ONCE)
        try:
            self._server = _Server((HOST, port), handler)
        except OSError as reason:
            raise InputError(f"expected a free port for the control, found {port}: {reason.strerror}") from reason
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self._server.server_port}{PREFIX}"

    def close(self) -> None:
        """Answers nobody any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _answer(self, request: Request, length: int, read: Callable[[int], bytes]) -> Response:
        if not self._turns.acquire(blocking=False):
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, f"expected at most {AT_ONCE} requests at a time; try again")
        try:
            limit = self._api.limit(request.method, request.path)
            if length > limit:
                text = f"expected a body of at most {limit} bytes, found {length}"
                raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
            body = read(length)
            return self._api.answer(Request(request.method, request.path, request.query, request.content_type, body))
        finally:
            self._turns.release()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client that holds its line open does not hold up the end

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is nobody's fault."""


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE

    def __init__(
        self,
        answer: Callable[[Request, int, Callable[[int], bytes]], Response],
        token: str | None,
        *arguments: Any,
    ) -> None:
        self._answer, self._token = answer, token
        super().__init__(*arguments)

    def handle_any(self) -> None:
        """Answers one request; the connection ends with it."""
        self.close_connection = True
        try:
            self._check()
            parts = urlsplit(self.path)
            if not parts.path.startswith(PREFIX):
                raise ApiError(HTTPStatus.NOT_FOUND, f"expected a path below {PREFIX}, found {parts.path}")
            request = Request(
                self.command,
                unquote(parts.path.removeprefix(PREFIX)),
                dict(parse_qsl(parts.query)),
                self.headers.get("Content-Type", ""),
            )
            response = self._answer(request, self._length(), self.rfile.read)
        except RtmatteError as error:
            response = Response.error(error)
        self._send(response)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = handle_any  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: a line for each request is no help to anybody."""

    def version_string(self) -> str:
        return "rtmatte"

    def _check(self) -> None:
        """Raises ApiError for a request that a page of another site may have made, or without the token."""
        port = self.connection.getsockname()[1]
        names = (f"{HOST}:{port}", f"localhost:{port}")
        if self.headers.get("Host") not in names:  # a name that an attacker pointed at this machine
            raise ApiError(HTTPStatus.FORBIDDEN, f"expected the host {names[0]}, found {self.headers.get('Host')!r}")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in tuple(f"http://{name}" for name in names):
            raise ApiError(HTTPStatus.FORBIDDEN, f"expected no page of another site, found {origin!r}")
        if self._token is not None:
            given = self.headers.get("Authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                raise ApiError(HTTPStatus.UNAUTHORIZED, "expected the header Authorization: Bearer and the token")

    def _length(self) -> int:
        if "Transfer-Encoding" in self.headers:
            raise ApiError(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length, found a body in chunks")
        text = self.headers.get("Content-Length", "0")
        if not text.isascii() or not text.isdigit() or len(text) > 12:
            raise ApiError(HTTPStatus.BAD_REQUEST, f"expected a Content-Length in bytes, found {text!r}")
        return int(text)

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)


def read_token(path: Path) -> str:
    """Returns the token in `path`, which is made, for this user alone, where there is none.

    Raises InputError for a file that others may read, or that has no token in it.
    """
    if path.is_dir():
        raise InputError(f"expected a file with a token, found the folder {path}; name a file in it")
    try:
        _make(path)
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise InputError(
                f"expected a token that only you can read, found {path} open to others; run: chmod 600 {path}"
            )
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as reason:
        why = getattr(reason, "strerror", None) or reason
        raise InputError(f"cannot read a token from {path}: {why}; name another file") from reason
    if not token:
        raise InputError(f"expected a token in {path}, found nothing; delete the file and one is made")
    return token


def _make(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{secrets.token_urlsafe(24)}\n")
