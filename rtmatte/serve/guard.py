"""What every request passes before a handler sees it: Host, Origin, token, rate; and how errors leave."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web

from rtmatte.clock import Clock
from rtmatte.errors import InputError
from rtmatte.serve.access import COOKIE, Access, bearer
from rtmatte.serve.limits import RateLimit
from rtmatte.serve.options import ServeOptions
from rtmatte.serve.refusal import Refusal, bad_request

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
OPEN_METHODS = frozenset({"OPTIONS"})
COSTLY = frozenset({("POST", "whip"), ("POST", "whep"), ("POST", "api")})
EXPOSED = "Location, Link, ETag, Accept-Patch"
BURST_SECONDS = 10  # of the rate, taken at once

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

log = logging.getLogger("rtmatte.serve")


class Guard:
    """The middleware of a server, `handle`.

    `is_public` says which paths show nothing but the page itself, `may_watch` whether a viewing key is that of a
    stream, called by its name for viewers.
    """

    def __init__(
        self,
        options: ServeOptions,
        access: Access,
        clock: Clock,
        *,
        is_public: Callable[[str], bool],
        may_watch: Callable[[str, str], bool],
    ) -> None:
        limits = options.limits
        self._options, self._access, self._is_public, self._may_watch = options, access, is_public, may_watch
        rate = limits.requests_per_second
        self._requests = RateLimit(rate, rate * BURST_SECONDS, clock)
        self._logins = RateLimit(limits.logins_per_minute / 60, limits.logins_per_minute, clock)
        self.faults = 0  # requests that met a mistake of ours

    @web.middleware
    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._check(request)
            response = await handler(request)
        except Refusal as refusal:
            response = told(request, refusal.status, str(refusal))
            response.headers.update(refusal.headers)
        except InputError as error:
            response = told(request, HTTPStatus.BAD_REQUEST, str(error))
        except web.HTTPException as error:
            response = told(request, HTTPStatus(error.status), error.reason)
            response.headers.update({name: error.headers[name] for name in ("Allow",) if name in error.headers})
        except asyncio.CancelledError:
            raise
        except Exception:
            self.faults += 1
            log.exception("a mistake in rtmatte, fault %d", self.faults)
            sentence = f"a mistake in rtmatte, fault {self.faults} of this run; the server's log says more"
            response = told(request, HTTPStatus.INTERNAL_SERVER_ERROR, sentence)
        if not response.prepared:
            self._dress(request, response)
        return response

    def _check(self, request: web.Request) -> None:
        self._check_host(request.host)
        self._check_origin(request)
        asks_only = request.method in OPEN_METHODS and "Authorization" not in request.headers
        if asks_only or self._is_public(request.path):
            return
        if request.path == "/api/login":
            self._ration(self._logins, request)
            return
        if not self.admits(request):
            self._ration(self._logins, request)
            raise Refusal(
                HTTPStatus.UNAUTHORIZED,
                "expected the server's token as `Authorization: Bearer TOKEN`; log in on the page, or send it",
                WWW_Authenticate='Bearer realm="rtmatte"',
            )
        if (request.method, request.path.split("/", 2)[1]) in COSTLY:
            self._ration(self._requests, request)

    def admits(self, request: web.Request) -> bool:
        """Whether a request comes with the token or a login, or to watch a stream with the key for that."""
        given = request.headers.get("Authorization")
        if self._access.admits(given, request.cookies.get(COOKIE)):
            return True
        _, *parts = request.path.split("/")
        if parts[0] != "whep" or not 2 <= len(parts) <= 3:
            return False
        key = bearer(given)
        return key is not None and self._may_watch(parts[1], key)

    def _check_host(self, host: str) -> None:
        """A page whose name was made to point here later would be of our origin, so names must be known ones."""
        name = _without_port(host.lower())
        if name not in self._options.host_names and not _is_address(name):
            raise Refusal(
                HTTPStatus.FORBIDDEN, "expected this server's own name in Host; give it further ones with --name"
            )

    def _check_origin(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        if origin is None:
            crossed = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
            if crossed and (request.method != "GET" or request.path.startswith("/api/")):
                raise Refusal(HTTPStatus.FORBIDDEN, "another site's page may not use this server")
        elif not self._is_ours(request, origin):
            raise Refusal(HTTPStatus.FORBIDDEN, "another site's page may not use this server; allow it with --origin")

    def _is_ours(self, request: web.Request, origin: str) -> bool:
        return origin in self._options.origins or origin == f"{self._options.scheme}://{request.host}"

    def _ration(self, limit: RateLimit, request: web.Request) -> None:
        wait = limit.take(request.remote or "")
        if wait > 0:
            raise Refusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many requests from this address; wait a little",
                Retry_After=str(math.ceil(wait)),
            )

    def _dress(self, request: web.Request, response: web.StreamResponse) -> None:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        origin = request.headers.get("Origin")
        if origin in self._options.origins:
            response.headers["Access-Control-Allow-Origin"] = str(origin)
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
            response.headers["Vary"] = "Origin"
            response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"


def told(request: web.Request, status: HTTPStatus, sentence: str) -> web.Response:
    """Returns a response that says one sentence, in JSON, or as plain text to what speaks SDP."""
    if request.path.startswith(("/whip", "/whep")):
        return web.Response(status=status, text=f"{sentence}\n")
    return web.json_response({"error": sentence}, status=status)


async def read_body(request: web.Request, *, content: str, limit: int, wait: float) -> bytes:
    """Returns the body of a request with the content type `content`, at most `limit` bytes that came within `wait`
    seconds; a Refusal for any other."""
    if request.content_type != content:
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected a body of {content}, found {request.content_type}")
    too_large = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a body of at most {limit} bytes, found more")
    if (request.content_length or 0) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(wait):
            async for chunk in request.content.iter_chunked(65536):
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, f"expected the whole body within {wait:g} seconds") from None
    except web.HTTPException:
        raise
    except (ConnectionError, ValueError) as error:
        raise bad_request("expected a body that arrives whole") from error
    return bytes(body)


def _without_port(host: str) -> str:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
    return f"[{name}]" if ":" in name else name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
