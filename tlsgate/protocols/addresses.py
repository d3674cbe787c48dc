"""Addresses as clients are told them: "host:port" from endpoint strings and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tlsgate.config.settings import Settings
from tlsgate.core.addresses import host_port

_COLON = re.compile(r"(?<!\\):")
_ESCAPED = re.compile(r"\\(.)")


def of_endpoint(endpoint: str) -> str | None:
    """The "host:port" of a TCP server endpoint string; None for every other kind.

    "0.0.0.0" stands for an endpoint without an interface, as in Twisted.
    """
    kind, *rest = _COLON.split(endpoint)
    if kind not in ("tcp", "tcp4", "tcp6"):
        return None
    words = [_ESCAPED.sub(r"\1", word) for word in rest]
    named = dict(word.split("=", 1) for word in words if "=" in word)
    port = next((word for word in words if "=" not in word), named.get("port", ""))
    if not (port.isascii() and port.isdigit()):
        return None
    return host_port(named.get("interface") or ("::" if kind == "tcp6" else "0.0.0.0"), int(port))


def open_listeners(settings: Settings) -> Mapping[str, str]:
    """Listener name to "host:port", of those listeners that have one."""
    pairs = ((listener.name, of_endpoint(listener.endpoint)) for listener in settings.listeners)
    return {name: address for name, address in pairs if address is not None}


def listen_addr(
    settings: Settings, listeners: Mapping[str, str], name: str, *, follows_mode: bool = True
) -> str | None:
    """What the ping document says of listener *name*; None: nothing.

    In versions after v1 a multiplexing gate tells the web address for every listener that
    *follows_mode*, whether it is open or not: that is where its clients have to go.
    """
    if follows_mode and settings.version != "v1" and settings.mode == "multiplex":
        return listeners.get("web")
    return listeners.get(name)


def present(**fields: str | None) -> dict[str, str]:
    """The fields that have a value; the ping document leaves the others out."""
    return {key: value for key, value in fields.items() if value}


def first(addresses: tuple[str, ...]) -> str | None:
    """The address that is advertised: the first one of a list."""
    return addresses[0] if addresses else None
