"""Addresses as people write them: "host:port", an IPv6 host in brackets."""

from __future__ import annotations


def host_port(host: str, port: int) -> str:
    """Write *host* and *port* as one address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split(address: str) -> tuple[str, int | None]:
    """Take "host:port", "[v6]:port" or "host" apart, brackets removed."""
    host, colon, port = address.rpartition(":")
    if not colon or "]" in port or not (port.isascii() and port.isdigit()):
        return address.strip("[]"), None
    return host.strip("[]"), int(port)


def whole(address: str) -> tuple[str, int]:
    """Take an address apart that is known to have a port, as what is dialled has.

    Raises:
        ValueError: it has none.
    """
    host, port = split(address)
    if port is None:
        raise ValueError(f"{address!r} has no port")
    return host, port
