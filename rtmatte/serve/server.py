"""The running server: sockets open, signals heeded, everything ended within two seconds."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from collections.abc import Callable
from types import FrameType

from aiohttp import web

from rtmatte.clock import Clock
from rtmatte.errors import ExitCode, InputError
from rtmatte.serve.access import Access
from rtmatte.serve.app import make_app
from rtmatte.serve.broadcast import OpenLine
from rtmatte.serve.loopback import keep_loopback
from rtmatte.serve.network import Networks
from rtmatte.serve.options import ServeOptions
from rtmatte.serve.studio import Studio
from rtmatte.settings import Settings

GRACE = 0.3  # seconds that requests under way get at the end

Ready = Callable[[str], None]  # hears the address to open, with the one-time key in its fragment


def run(
    options: ServeOptions,
    networks: Networks,
    open_line: OpenLine,
    clock: Clock,
    ready: Ready,
    *,
    model: str,
    settings: Callable[[], Settings] = Settings,
) -> ExitCode:
    """Serves until SIGINT or SIGTERM and returns the exit code of that; InputError when it cannot listen."""

    def open_studio() -> Studio:
        return Studio(open_line, networks, options, clock, model=model, settings=settings)

    return asyncio.run(_run(options, networks, open_studio, clock, ready))


async def _run(
    options: ServeOptions, networks: Networks, open_studio: Callable[[], Studio], clock: Clock, ready: Ready
) -> ExitCode:
    logging.getLogger("aioice").setLevel(logging.ERROR)  # it tells of peers' addresses
    if options.loopback_peers:
        keep_loopback()
    access = Access(options.token)
    studio = open_studio()
    runner = web.AppRunner(
        make_app(studio, networks, options, access, clock),
        access_log=None,
        handle_signals=False,
        keepalive_timeout=options.limits.header_wait,
        shutdown_timeout=GRACE,
    )
    ended = _heed_signals()
    try:
        await runner.setup()
        server = await listen(runner, options)
        port = server.sockets[0].getsockname()[1]
        ready(_address(options, port, access.key))
        code = await ended
        server.close()
    finally:
        await studio.close()
        await runner.cleanup()
    return code


async def listen(runner: web.AppRunner, options: ServeOptions) -> asyncio.Server:
    """Returns the open server socket of a runner that was set up; InputError when it cannot be had."""
    assert runner.server is not None, "the runner was set up"
    try:
        return await asyncio.get_running_loop().create_server(
            _Bounded(runner.server, options.limits.connections), options.host, options.port, ssl=_tls(options)
        )
    except OSError as error:
        where = f"{options.host}:{options.port}"
        raise InputError(f"cannot listen on {where}: {error.strerror or error}; choose another --port") from error


class _Bounded:
    """Makes the protocols of connections, and hangs up on those beyond `most`."""

    def __init__(self, server: web.Server, most: int) -> None:
        self._server, self._most = server, most

    def __call__(self) -> asyncio.Protocol:
        return _HangUp() if len(self._server.connections) >= self._most else self._server()


class _HangUp(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _heed_signals() -> asyncio.Future[ExitCode]:
    """Returns what is done when the process is asked to end; asked twice, it ends at once."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[ExitCode] = loop.create_future()

    def end(code: ExitCode) -> None:
        if ended.done():
            raise SystemExit(code)
        ended.set_result(code)

    for number, code in ((signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)):
        try:
            loop.add_signal_handler(number, end, code)
        except NotImplementedError:  # Windows

            def on_thread(number: int, frame: FrameType | None, code: ExitCode = code) -> None:
                loop.call_soon_threadsafe(end, code)

            signal.signal(number, on_thread)
    return ended


def _tls(options: ServeOptions) -> ssl.SSLContext | None:
    if options.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.certificate, options.key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"cannot use the certificate {options.certificate}: {error}") from error
    return context


def _address(options: ServeOptions, port: int, key: str | None) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{options.scheme}://{host}:{port}/" + (f"#key={key}" if key else "")
