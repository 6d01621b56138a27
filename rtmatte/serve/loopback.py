"""Peers on this machine alone: ICE leaves the loopback addresses out, and without a network there are no others."""

from __future__ import annotations

from collections.abc import Callable

from aioice import ice

LOOPBACK = "127.0.0.1"


def keep_loopback() -> None:
    """Has every connection of this process offer 127.0.0.1 as well; doing it twice is harmless."""
    if ice.get_host_addresses is _addresses:
        return
    _without.append(ice.get_host_addresses)
    ice.get_host_addresses = _addresses


def _addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    addresses = _without[0](use_ipv4, use_ipv6)
    return [*addresses, LOOPBACK] if use_ipv4 and LOOPBACK not in addresses else addresses


_without: list[Callable[[bool, bool], list[str]]] = []
