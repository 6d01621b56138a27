"""`rtmatte serve`: streams by WebRTC in, the same before another background out, and a page to do it from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtmatte.cli.console import say, warn
from rtmatte.cli.line import (
    DEFAULT_MODEL,
    BackgroundOption,
    Device,
    DeviceOption,
    ModelChoice,
    ModelOption,
    TrustOption,
    video_source,
)
from rtmatte.clock import Clock, MonotonicClock
from rtmatte.contract import SEED
from rtmatte.control import Control
from rtmatte.engine import locate
from rtmatte.errors import EnvironmentFault, ExitCode
from rtmatte.frame import Mask
from rtmatte.imaging import Size, parse_size
from rtmatte.live import LiveLine
from rtmatte.live.drawing import live_background
from rtmatte.settings import Settings
from rtmatte.targets.click import ClickPicker
from rtmatte.targets.person import PersonTarget

if TYPE_CHECKING:
    from rtmatte.serve.network import Networks

MEGABIT = 1_000_000


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but this machine's own asks for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")] = 8080,
    token: Annotated[
        str | None,
        typer.Option(envvar="RTMATTE_TOKEN", help="What clients have to send; elsewhere than here one is made."),
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="A certificate (PEM) for HTTPS, which phones ask for.")] = None,
    key: Annotated[Path | None, typer.Option(help="The key (PEM) of the certificate.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="Another name that browsers call this server by.")] = None,
    origin: Annotated[list[str] | None, typer.Option(help="Another site whose pages may use this server.")] = None,
    ice_server: Annotated[
        list[str] | None, typer.Option(help="stun:HOST:PORT, or turn:HOST:PORT,USER,CREDENTIAL; none by default.")
    ] = None,
    relay_only: Annotated[
        bool, typer.Option("--relay-only", help="Let media go through the TURN server alone.")
    ] = False,
    loopback: Annotated[
        bool, typer.Option("--loopback", help="Offer 127.0.0.1 for media, too: for peers here, without a network.")
    ] = False,
    publishers: Annotated[
        int | None, typer.Option(min=1, help="Publishers at a time; by default as many as the network has time for.")
    ] = None,
    viewers: Annotated[int, typer.Option(min=0, help="Viewers of each publisher.")] = 16,
    bit_rate: Annotated[
        float | None, typer.Option(min=0.3, max=20, help="Mb/s of the pictures; by default what viewers can take.")
    ] = None,
    recordings: Annotated[
        Path | None, typer.Option(help="A folder on this machine where publishers may record; none by default.")
    ] = None,
    background: BackgroundOption = "blur",
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = Device.AUTO,
    trust: TrustOption = False,
    size: Annotated[str, typer.Option(help="Width x height of pictures to measure the network with.")] = "1280x720",
) -> ExitCode:
    """Publish, watch and choose by WebRTC: a page for browsers, WHIP for OBS, WHEP for players."""
    try:
        from rtmatte.serve import network, server
    except ImportError as error:
        raise EnvironmentFault(f"serving needs aiortc and aiohttp ({error}): pip install 'rtmatte[webrtc]'") from error
    from rtmatte.serve.access import new_token
    from rtmatte.serve.options import IceServer, Limits, ServeOptions, is_loopback
    from rtmatte.serve.recording import recordings_folder

    live_background(background)
    options = ServeOptions(
        host=host,
        port=port,
        token=token or (None if is_loopback(host) else new_token()),
        names=tuple(name or ()),
        origins=tuple(origin or ()),
        certificate=cert,
        key=key,
        ice_servers=tuple(IceServer.parse(text) for text in ice_server or ()),
        relay_only=relay_only,
        loopback_peers=loopback,
        bit_rate=None if bit_rate is None else int(bit_rate * MEGABIT),
        recordings=None if recordings is None else recordings_folder(recordings),
        limits=Limits(publishers=publishers, viewers=viewers),
    )
    clock = MonotonicClock()
    with ExitStack() as stack:

        def open_networks(choice: ModelChoice) -> network.Networks:
            return stack.enter_context(
                closing(
                    network.Networks(
                        choice.open, lambda size: locate(choice.name, size), clock, open_smaller=choice.open_smaller
                    )
                )
            )

        networks = open_networks(ModelChoice(model, device, trust))
        networks.measure(parse_size(size))
        finders = networks if model == DEFAULT_MODEL else open_networks(ModelChoice(DEFAULT_MODEL))

        def ready(address: str) -> None:
            room = publishers or networks.publishers
            say(f"open {address} (room for {room} publisher{'s' * (room > 1)}, {networks.backend})")
            if options.token and token is None:
                say(f"the token for OBS and others, of this run alone: {options.token}")
            if not options.is_local and cert is None:
                warn("without --cert browsers give no camera to this address, and the token travels in the clear")

        return server.run(
            options,
            networks,
            line_opener(networks, finders, clock),
            clock,
            ready,
            model=model,
            settings=lambda: Settings(background=background),
        )


def line_opener(
    networks: Networks, finders: Networks, clock: Clock
) -> Callable[[Size, Control, Mask | None], LiveLine]:
    """Returns what opens a line for pictures of a size: a network of `networks`, a smaller one to fall back on where
    there is one, and one of `finders` that looks for people."""

    def open_line(size: Size, control: Control, first: Mask | None) -> LiveLine:
        engine = networks.engine(size)
        person = PersonTarget(finders.engine(size)) if engine.contract.takes(SEED) else None
        return LiveLine(
            engine,
            control,
            clock,
            size=size,
            finder=person,
            first_mask=first,
            picker=None if person is None else ClickPicker(person),
            smaller=networks.smaller(size),
            video_source=video_source(clock),
        )

    return open_line
