"""WHIP (RFC 9725) for publishers such as OBS, WHEP for players: offer in, answer out, and a resource to end it by.

Trickle ICE is taken, ICE restarts are not: a peer whose way changed connects again.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from rtmatte.serve.guard import FRAGMENT, SDP, read_body
from rtmatte.serve.options import IceServer, ServeOptions
from rtmatte.serve.peer import Peer
from rtmatte.serve.refusal import Refusal, bad_request, not_found
from rtmatte.serve.studio import Answered, Studio

ANY = "*"


class WhipRoutes:
    """POST /whip, and DELETE or PATCH /whip/ID; POST /whep or /whep/WATCH, and DELETE or PATCH /whep/WATCH/ID."""

    def __init__(self, studio: Studio, options: ServeOptions) -> None:
        self._studio, self._options = studio, options

    def add_to(self, app: web.Application) -> None:
        for path in ("/whip", "/whep", "/whep/{watch}"):
            app.router.add_route("OPTIONS", path, self.describe)
        for path in ("/whip/{id}", "/whep/{watch}/{id}"):
            app.router.add_route("OPTIONS", path, self.describe_resource)
        app.router.add_post("/whip", self.publish)
        app.router.add_delete("/whip/{id}", self.end)
        app.router.add_patch("/whip/{id}", self.trickle_publisher)
        app.router.add_post("/whep", self.watch)
        app.router.add_post("/whep/{watch}", self.watch)
        app.router.add_delete("/whep/{watch}/{id}", self.leave)
        app.router.add_patch("/whep/{watch}/{id}", self.trickle_viewer)

    async def describe(self, request: web.Request) -> web.Response:
        response = web.Response(status=HTTPStatus.NO_CONTENT)
        response.headers["Accept-Post"] = SDP
        return self._allowing(request, response, "OPTIONS, POST")

    async def describe_resource(self, request: web.Request) -> web.Response:
        response = web.Response(status=HTTPStatus.NO_CONTENT)
        response.headers["Accept-Patch"] = FRAGMENT
        return self._allowing(request, response, "DELETE, OPTIONS, PATCH")

    async def publish(self, request: web.Request) -> web.Response:
        sender = "OBS" if "OBS-Studio" in request.headers.get("User-Agent", "") else "WHIP"
        answered = await self._studio.publish(await self._text(request, SDP), sender=sender)
        return self._created(answered, f"/whip/{answered.id}")

    async def watch(self, request: web.Request) -> web.Response:
        answered = await self._studio.watch(await self._text(request, SDP), watch=request.match_info.get("watch"))
        return self._created(answered, f"/whep/{answered.watch}/{answered.id}")

    async def end(self, request: web.Request) -> web.Response:
        await self._studio.end(request.match_info["id"])
        return web.Response()

    async def leave(self, request: web.Request) -> web.Response:
        await self._studio.leave(request.match_info["watch"], request.match_info["id"])
        return web.Response()

    async def trickle_publisher(self, request: web.Request) -> web.Response:
        peer = self._studio.broadcast(request.match_info["id"]).publisher
        if peer is None:
            raise not_found("the publisher's connection was lost; publish again")
        return await self._trickle(request, peer, request.match_info["id"])

    async def trickle_viewer(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        return await self._trickle(request, self._studio.viewer(request.match_info["watch"], id), id)

    async def _trickle(self, request: web.Request, peer: Peer, id: str) -> web.Response:
        match = request.headers.get("If-Match", _tag(id))
        if match == ANY:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "expected candidates only; for an ICE restart connect again")
        if match != _tag(id):
            raise Refusal(HTTPStatus.PRECONDITION_FAILED, "expected the ETag of the answer in If-Match")
        await peer.trickle(await self._text(request, FRAGMENT))
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _text(self, request: web.Request, content: str) -> str:
        limits = self._options.limits
        body = await read_body(request, content=content, limit=limits.body, wait=limits.body_wait)
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise bad_request("expected a body in UTF-8") from error

    def _created(self, answered: Answered, location: str) -> web.Response:
        response = web.Response(status=HTTPStatus.CREATED, text=answered.answer, content_type=SDP)
        response.headers["Content-Type"] = SDP  # bare: strict clients compare it whole
        response.headers["Location"] = location
        response.headers["ETag"] = _tag(answered.id)
        response.headers["Accept-Patch"] = FRAGMENT
        self._link(response)
        return response

    def _allowing(self, request: web.Request, response: web.Response, methods: str) -> web.Response:
        response.headers["Allow"] = methods
        if "Authorization" in request.headers:  # anybody may ask, but the relays' passwords are for peers
            self._link(response)
        if request.headers.get("Origin") in self._options.origins:
            response.headers["Access-Control-Allow-Methods"] = methods
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, If-Match"
        return response

    def _link(self, response: web.Response) -> None:
        for server in self._options.ice_servers:
            response.headers.add("Link", link(server))


def link(server: IceServer) -> str:
    """Returns an ICE server as the value of a Link header (RFC 9725, 4.6)."""
    parts = [f"<{server.url}>", 'rel="ice-server"']
    if server.username is not None and server.credential is not None:
        parts += [f"username={_quoted(server.username)}", f"credential={_quoted(server.credential)}"]
        parts += ['credential-type="password"']
    return "; ".join(parts)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _tag(id: str) -> str:
    """Returns the ETag of a session's only ICE generation: another thing than its secret id."""
    return f'"{id[:8]}"'
