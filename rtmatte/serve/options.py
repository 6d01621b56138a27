"""What the operator of a server may choose, checked before anything is opened."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from rtmatte.errors import InputError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
ICE_URL = re.compile(r"(stun|stuns|turn|turns):[^\s?]+(\?transport=(udp|tcp))?")


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server, as peers and this server are told of it."""

    url: str
    username: str | None = None
    credential: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not ICE_URL.fullmatch(self.url):
            raise InputError(f"expected an ICE server like turn:host:3478?transport=udp, found {self.url!r}")
        if self.url.startswith("turn") and not (self.username and self.credential):
            raise InputError(f"expected a user name and a credential for {self.url}; write URL,USER,CREDENTIAL")

    @classmethod
    def parse(cls, text: str) -> IceServer:
        """Returns the server that `URL` or `URL,USER,CREDENTIAL` names; InputError for anything else."""
        parts = text.split(",", 2)
        if len(parts) == 2:
            raise InputError(f"expected URL or URL,USER,CREDENTIAL, found two parts in {parts[0]!r}")
        return cls(*parts)

    def to_dict(self) -> dict[str, str]:
        """Returns it as an RTCIceServer of the browser's API."""
        fields = {"urls": self.url, "username": self.username, "credential": self.credential}
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server takes on, and how long it waits; seconds and bytes.

    `publishers` None: as many as the measured time of a step allows.
    """

    publishers: int | None = None
    viewers: int = 16  # of one publisher
    body: int = 64 * 1024
    upload: int = 64 * 1024 * 1024
    connections: int = 500
    header_wait: float = 5.0
    body_wait: float = 10.0
    connect_wait: float = 10.0  # from the answer to the first packet
    heartbeat_wait: float = 3.0  # for peers with a data channel
    silence_wait: float = 5.0  # for peers without one
    resume_wait: float = 60.0  # that a lost publisher's settings are kept for its return
    requests_per_second: float = 10.0  # of one address, for what costs a connection; bursts of ten seconds' worth
    logins_per_minute: int = 10


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where the server listens, who may come, and how streams leave it. `bit_rate` None: as the viewers can take."""

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()  # further names by which browsers may call this server
    origins: tuple[str, ...] = ()  # further pages that may use it
    certificate: Path | None = None
    key: Path | None = None
    ice_servers: tuple[IceServer, ...] = ()
    relay_only: bool = False
    loopback_peers: bool = False
    bit_rate: int | None = None
    recordings: Path | None = None  # a folder for what publishers record; None: nothing is recorded here
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InputError(f"expected a port of 0 to 65535, found {self.port}")
        if not self.is_local and not self.token:
            raise InputError(f"expected a token for a server on {self.host}, which others can reach; found none")
        if self.token is not None and len(self.token) < 16:
            raise InputError("expected a token of 16 characters or more; leave it out to have one made")
        if (self.certificate is None) != (self.key is None):
            raise InputError("expected both a certificate and its key for HTTPS; give --cert and --key")
        if self.bit_rate is not None and not 300_000 <= self.bit_rate <= 20_000_000:
            raise InputError(f"expected a bit rate of 0.3 to 20 Mb/s, found {self.bit_rate / 1e6:g}")
        for server in self.ice_servers if self.relay_only else ():
            if server.url.startswith("turn"):
                break
        else:
            if self.relay_only:
                raise InputError("expected a TURN server to relay by, found none; add --ice-server")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    @property
    def scheme(self) -> str:
        return "https" if self.certificate else "http"

    @property
    def host_names(self) -> frozenset[str]:
        """What a request's Host may say, without the port, in lower case."""
        return LOOPBACK_NAMES | {_bracketed(name.lower()) for name in (self.host, *self.names)}


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
