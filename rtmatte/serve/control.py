"""The control API of `rtmatte.api` over HTTP, and a WebSocket that keeps pages in step with it."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from aiohttp import WSMsgType, web

from rtmatte.api import Api, ApiError, Request, openapi, shown
from rtmatte.api.messages import Response, plain
from rtmatte.errors import InputError
from rtmatte.serve.broadcast import Broadcast
from rtmatte.serve.guard import read_body
from rtmatte.serve.options import ServeOptions
from rtmatte.serve.refusal import Refusal
from rtmatte.serve.studio import Studio
from rtmatte.settings import Settings

STATUS_EVERY = 0.25  # seconds
MESSAGE = 16 * 1024  # bytes of one message from a page
MESSAGES = 100  # a second, beyond which a page is cut off
ALIVE = 10.0  # seconds between two looks whether the page is still there
PREFIX = "/api/sessions/{id}/"
LISTED = {"get": {"summary": "The sessions, the oldest first.", "responses": {"200": {"description": "done"}}}}


class ControlRoutes:
    """Everything below /api/sessions/ID/, and the description of it."""

    def __init__(self, studio: Studio, options: ServeOptions) -> None:
        self._studio, self._limits = studio, options.limits
        self._records = options.recordings is not None

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/api/openapi.json", self.describe)
        app.router.add_get("/api/sessions/{id}/events", self.events)
        app.router.add_route("*", "/api/sessions/{id}/{rest:.+}", self.answer)

    async def describe(self, request: web.Request) -> web.Response:
        """→ the control API with the paths that it has here."""
        described = openapi()
        described["paths"] = {f"{PREFIX}{path.lstrip('/')}": each for path, each in described["paths"].items()}
        for operations in described["paths"].values():
            for operation in operations.values():
                own = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
                operation["parameters"] = [own, *operation.get("parameters", [])]
        described["paths"]["/api/sessions"] = LISTED
        return web.json_response(described)

    async def answer(self, request: web.Request) -> web.Response:
        """→ what the control API answers; it runs on a thread of the pool, for it may decode what was sent."""
        broadcast, path = self._studio.broadcast(request.match_info["id"]), request.match_info["rest"]
        try:
            limit = broadcast.api.limit(request.method, path)
        except ApiError as error:
            return _sent(Response.error(error))
        if path == "record" and not self._records:
            sentence = (
                "this server keeps no recordings; start it with --recordings FOLDER, or record what the page shows"
            )
            raise Refusal(HTTPStatus.CONFLICT, sentence)
        body = b""
        if request.body_exists:
            body = await read_body(request, content=request.content_type, limit=limit, wait=self._limits.body_wait)
        asked = Request(request.method, path, dict(request.query), request.headers.get("Content-Type", ""), body)
        return _sent(await asyncio.to_thread(broadcast.api.answer, asked))

    async def events(self, request: web.Request) -> web.WebSocketResponse:
        """A WebSocket: sends {"settings"} when they change and {"status"} four times a second, takes {"change"} and
        {"command"}; what is wrong with these is told as {"error"}."""
        broadcast = self._studio.broadcast(request.match_info["id"])
        socket = web.WebSocketResponse(heartbeat=ALIVE, max_msg_size=MESSAGE)
        await socket.prepare(request)
        told = asyncio.create_task(_tell(socket, broadcast))
        try:
            await _hear(socket, broadcast.api)
        finally:
            told.cancel()
            await asyncio.gather(told, return_exceptions=True)
        return socket


async def _tell(socket: web.WebSocketResponse, broadcast: Broadcast) -> None:
    """Sends what changes, until the page or the session goes; a page that reads slowly gets less, not later."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def notice(settings: Settings) -> None:
        loop.call_soon_threadsafe(changed.set)

    unsubscribe = broadcast.control.on_change(notice)
    changed.set()
    try:
        while not broadcast.is_over:
            if changed.is_set():
                changed.clear()
                await socket.send_json({"settings": plain(shown(broadcast.control.settings))})
            status = plain(broadcast.status) | broadcast.surroundings
            await socket.send_json({"status": status})
            try:
                async with asyncio.timeout(STATUS_EVERY):
                    await changed.wait()
            except TimeoutError:
                pass
        await socket.close(message=b"the session is over")
    except ConnectionError:  # the page has gone; its own end notices, too
        pass
    finally:
        unsubscribe()


async def _hear(socket: web.WebSocketResponse, api: Api) -> None:
    loop = asyncio.get_running_loop()
    since, count = loop.time(), 0
    async for message in socket:
        if loop.time() - since > 1.0:
            since, count = loop.time(), 0
        count += 1
        if count > MESSAGES or message.type is not WSMsgType.TEXT:
            await socket.close(code=1008, message=b"too much, or not text")
            return
        try:
            await asyncio.to_thread(_obey, api, message.data)
        except (InputError, ApiError) as error:
            await socket.send_json({"error": str(error)})


def _obey(api: Api, text: str) -> None:
    try:
        asked: Any = json.loads(text)
    except (ValueError, RecursionError):
        asked = None
    match asked:
        case {"change": dict(values), **rest} if not rest:
            api.change(values)
        case {"command": str(name), **rest} if not rest:
            api.command(name)
        case _:
            raise InputError('expected {"change": {…}} or {"command": "person", "undo" or "reseed"}')


def _sent(response: Response) -> web.Response:
    answer = web.Response(status=response.status, body=response.body, content_type=response.content_type)
    answer.headers.update(response.headers)
    return answer
