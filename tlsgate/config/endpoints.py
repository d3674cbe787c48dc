"""Addresses as operators write them, to Twisted endpoint strings that are known to parse.

A listener is `host:port` in Teleport's way, or any Twisted server endpoint string; a
target is a Twisted client endpoint string, or `host:port`. Nothing is opened or looked
up here, but an unknown endpoint type asks the installed plug-ins for its name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address

from attrs import field, frozen
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import getPlugins

from tlsgate.core.names import normal
from tlsgate.errors import BadName

_SERVER_WAYS = 'write host:port, or an endpoint such as "tcp:3080" or "unix:/run/tlsgate.sock"'
_CLIENT_WAYS = 'write "tcp:host:port", "tls:host:port" or "unix:/path"'


@frozen
class Parts:
    """An endpoint string taken apart as Twisted does it."""

    type: str
    args: tuple[str, ...]
    named: Mapping[str, str] = field(factory=dict)

    def __str__(self) -> str:
        named = (f"{key}={quoteStringArgument(value)}" for key, value in self.named.items())
        return ":".join((self.type, *map(quoteStringArgument, self.args), *named))


@frozen
class Bind:
    """What a server endpoint occupies.

    Attributes:
        kind: "tcp", "unix", "systemd", or another endpoint's type.
        host: for tcp, the interface: "" for every IPv4 address, "::" for all there are.
        port: for tcp; 0 means that the system picks one.
        name: what tells two others of one kind apart: a path, an index.
    """

    kind: str
    host: str = ""
    port: int = 0
    name: str = ""

    def overlaps(self, other: Bind) -> bool:
        """True when both cannot be open at once."""
        if self.kind != other.kind:
            return False
        if self.kind != "tcp":
            return self.name == other.name
        if self.port != other.port or not self.port:
            return False
        hosts = {self.host or "0.0.0.0", other.host or "0.0.0.0"}
        # "::" is dual-stack: it takes the IPv4 side too.
        if len(hosts) == 1 or "::" in hosts:
            return True
        return "0.0.0.0" in hosts and not any(":" in host for host in hosts)


@frozen
class Target:
    """What a client endpoint string dials.

    Attributes:
        kind: "tcp", "tls", "unix", or another endpoint's type.
        options: the named arguments that are left (timeout, trustRoots, ...).
    """

    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    options: Mapping[str, str] = field(factory=dict)


def split(description: str) -> Parts:
    """Take an endpoint string apart; a backslash takes the next character as it is.

    Raises:
        ValueError: it ends in a backslash, or a positional part follows a named one.
    """
    args: list[str] = []
    named: dict[str, str] = {}
    key: str | None = None
    current = ""
    chars = iter(description)
    for char in chars:
        if char == "\\":
            after = next(chars, None)
            if after is None:
                raise ValueError("ends in a backslash that escapes nothing")
            current += after
        elif char == ":":
            _add_part(args, named, key, current)
            key, current = None, ""
        elif char == "=" and key is None:
            key, current = current, ""
        else:
            current += char
    _add_part(args, named, key, current)
    return Parts(args[0] if args else "", tuple(args[1:]), named)


def _add_part(args: list[str], named: dict[str, str], key: str | None, value: str) -> None:
    if key is None:
        args.append(value)
    elif key in named:
        raise ValueError(f"says {key}= twice")
    else:
        named[key] = value


# -- listeners ---------------------------------------------------------------------


def server_endpoint(value: str, default_port: int | None) -> tuple[str, bool]:
    r"""Turn a listener's address into a Twisted server endpoint string.

    `0.0.0.0:3080`, `[::1]:3080`, `127.0.0.1` (with *default_port*), `:3080` and `3080`
    (every address there is, IPv4 and IPv6: `tcp:3080:interface=\:\:`), or an endpoint
    string as it stands. `haproxy:` in front is stripped.

    Returns:
        The endpoint string, and whether `haproxy:` asked for the PROXY protocol.

    Raises:
        ValueError: with a sentence that says what would be right.
    """
    if value.startswith("haproxy:"):
        return server_endpoint(value.removeprefix("haproxy:"), default_port)[0], True
    if not value or value != value.strip():
        raise ValueError(f"no address in {value!r}; {_SERVER_WAYS}")
    found = _host_and_port(value.removeprefix("tcp://"))
    if found is None or _names_endpoint(found, "server"):
        bind_of(value)
        return value, False
    host, port = found
    host = {"": "::", "localhost": "127.0.0.1"}.get(host, host)
    port = default_port if port is None else port
    if port is None:
        raise ValueError(f"{value!r} has no port; {_SERVER_WAYS}")
    return str(Parts("tcp", (str(port),), {"interface": host})), False


def bind_of(endpoint: str) -> Bind:
    """What *endpoint* will occupy once it is open.

    Raises:
        ValueError: it is no server endpoint string that can be used here.
    """
    parts = split(endpoint)
    match parts.type:
        case "tcp" | "tcp6":
            return _tcp_bind(parts)
        case "unix":
            return _unix_bind(parts)
        case "systemd":
            return _systemd_bind(parts)
        case "ssl" | "tls":
            raise ValueError(
                f"{parts.type}: would end TLS before the gate has seen the hello; write tcp:"
            )
        case "stdio" | "haproxy":
            raise ValueError(f"{parts.type}: cannot be a listener here; {_SERVER_WAYS}")
        case other if other in endpoint_types("server"):
            return Bind(other, name=endpoint)
    raise ValueError(f"{parts.type!r} is no endpoint type; {_SERVER_WAYS}")


def can_be_inherited(endpoint: str) -> bool:
    """True when a listening descriptor comes out of it, as several workers need."""
    return split(endpoint).type in ("tcp", "tcp6", "unix", "systemd")


def _tcp_bind(parts: Parts) -> Bind:
    names = ("port", "backlog", "interface")
    if parts.type == "tcp":
        names = ("port", "interface", "backlog")
    given = _arguments(parts, names)
    if "port" not in given:
        raise ValueError(f"{parts.type}: without a port")
    port = _number(given["port"], "port", 65535)
    _number(given.get("backlog", "50"), "backlog", 1 << 20)
    default = "::" if parts.type == "tcp6" else ""
    host = given.get("interface", default)
    if ":" in host or (host[:1].isdigit() and host[-1:].isdigit()):
        try:
            host = str(ip_address(host.partition("%")[0]))
        except ValueError:
            raise ValueError(f"interface {host!r} is no IP address") from None
    return Bind("tcp", host="" if host == "0.0.0.0" else host, port=port)


def _unix_bind(parts: Parts) -> Bind:
    given = _arguments(parts, ("address", "mode", "backlog", "lockfile"))
    if not given.get("address"):
        raise ValueError("unix: without a path")
    if not re.fullmatch(r"[0-7]{1,4}", given.get("mode", "666")):
        raise ValueError(f"mode {given['mode']!r} has to be octal, such as 660")
    _number(given.get("backlog", "50"), "backlog", 1 << 20)
    if given.get("lockfile", "1") not in ("0", "1"):
        raise ValueError("lockfile has to be 0 or 1")
    return Bind("unix", name=given["address"])


def _systemd_bind(parts: Parts) -> Bind:
    given = _arguments(parts, ("domain", "index", "name"))
    if given.get("domain") not in ("INET", "INET6", "UNIX"):
        raise ValueError("systemd: needs domain=INET, INET6 or UNIX")
    if ("index" in given) == ("name" in given):
        raise ValueError("systemd: needs index=N or name=NAME, one of both")
    if "index" in given:
        return Bind("systemd", name=f"index {_number(given['index'], 'index', 4096)}")
    return Bind("systemd", name=f"name {given['name']}")


# -- targets -----------------------------------------------------------------------


def client_endpoint(value: str) -> str:
    """Turn a target into a Twisted client endpoint string; `host:port` becomes tcp.

    Raises:
        ValueError: with a sentence that says what would be right.
    """
    found = _host_and_port(value)
    if found is not None and found[0] and not _names_endpoint(found, "client"):
        host, port = found
        if port is None:
            raise ValueError(f"{value!r} has no port; {_CLIENT_WAYS}")
        value = str(Parts("tcp", (host, str(port))))
    target_of(value)
    return value


def target_of(endpoint: str) -> Target:
    """What *endpoint* dials.

    Raises:
        ValueError: it is no client endpoint string that can be used here.
    """
    parts = split(endpoint)
    match parts.type:
        case "tcp" | "tls":
            return _host_target(parts)
        case "unix":
            given = _arguments(parts, ("path",), ("timeout", "lockfile"))
            if not given.get("path"):
                raise ValueError("unix: without a path")
            path = given.pop("path")
            return Target("unix", path=path, options=given)
        case "ssl":
            raise ValueError("ssl: checks no name; write tls:")
        case other if other in endpoint_types("client"):
            return Target(other, options=dict(parts.named))
    raise ValueError(f"{parts.type!r} is no endpoint type; {_CLIENT_WAYS}")


def _host_target(parts: Parts) -> Target:
    # Of Twisted's `tls:` we do the handshake ourselves, with these two only.
    more = ("trustRoots", "endpoint") if parts.type == "tls" else ("timeout", "bindAddress")
    given = _arguments(parts, ("host", "port"), more)
    if not given.get("host") or "port" not in given:
        raise ValueError(f"{parts.type}: needs a host and a port; {_CLIENT_WAYS}")
    host = _checked_host(given.pop("host"))
    port = _number(given.pop("port"), "port", 65535)
    if not port:
        raise ValueError("port 0 cannot be dialled")
    if (inner := given.get("endpoint")) is not None and target_of(inner).kind == "tls":
        raise ValueError("tls: inside tls: is not spoken")
    return Target(parts.type, host=host, port=port, options=given)


# -- public addresses ----------------------------------------------------------------


def public_address(value: str) -> tuple[str, int | None]:
    """Take `host`, `host:port`, `[v6]:port` apart, as clients are told them.

    Raises:
        ValueError: it is none of them.
    """
    found = _host_and_port(value.removeprefix("tcp://").removeprefix("https://"))
    if found is None or not found[0]:
        raise ValueError(f"has to be host or host:port, not {value!r}")
    if found[1] == 0:
        raise ValueError("port 0 cannot be dialled")
    return found


# -- parts of these --------------------------------------------------------------------


@functools.cache
def endpoint_types(side: str) -> frozenset[str]:
    """The endpoint types that installed packages add, for "server" or "client"."""
    if side == "server":
        return frozenset(found.prefix for found in getPlugins(IStreamServerEndpointStringParser))
    return frozenset(
        found.prefix for found in getPlugins(IStreamClientEndpointStringParserWithReactor)
    )


_BUILT_IN = frozenset({"tcp", "tcp6", "unix", "systemd", "ssl", "tls", "stdio", "haproxy"})


def _names_endpoint(found: tuple[str, int | None], side: str) -> bool:
    """True when what looks like a host and a port begins with an endpoint's type."""
    host, port = found
    if port is None:
        return False
    if not host or host == "localhost" or "." in host or ":" in host:
        return False
    return host in _BUILT_IN or host in endpoint_types(side)


def _host_and_port(value: str) -> tuple[str, int | None] | None:
    """Host and port of an address in Teleport's way; None when it is in no such way.

    Raises:
        ValueError: it is, and the host or the port is impossible.
    """
    if value.isascii() and value.isdigit():
        return "", _number(value, "port", 65535)
    if found := re.fullmatch(r"\[([^\]]*)\](?::([0-9]*))?", value):
        try:
            host = str(IPv6Address(found[1]))
        except ValueError:
            raise ValueError(f"{found[1]!r} is no IPv6 address") from None
        return host, None if found[2] is None else _number(found[2], "port", 65535)
    if value.count(":") > 1:
        try:
            return str(IPv6Address(value)), None
        except ValueError:
            return None
    host, colon, port = value.partition(":")
    if "/" in value or "=" in value or (colon and not re.fullmatch(r"[0-9]*", port)):
        return None
    if colon and not port:
        if host in _BUILT_IN:
            return None
        raise ValueError(f"no port after the colon in {value!r}")
    return (_checked_host(host) if host else ""), (_number(port, "port", 65535) if colon else None)


def _checked_host(host: str) -> str:
    try:
        return str(ip_address(host.partition("%")[0])) if "%" not in host else host
    except ValueError:
        pass
    try:
        return normal(host)
    except BadName as e:
        raise ValueError(f"host {host!r}: {e.why}") from None


def _number(value: str, what: str, high: int) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", value) or int(value) > high:
        raise ValueError(f"{what} {value!r} has to be a number from 0 to {high}")
    return int(value)


def _arguments(parts: Parts, positional: Sequence[str], more: Sequence[str] = ()) -> dict[str, str]:
    """The arguments by name, positional ones too.

    Raises:
        ValueError: there are too many, one is given twice, or one has an unknown name.
    """
    if len(parts.args) > len(positional):
        raise ValueError(
            f"{parts.type}: {parts.args[len(positional)]!r} is one part too many "
            "(a colon inside a value is written \\:)"
        )
    given = dict(zip(positional, parts.args, strict=False))
    for key, value in parts.named.items():
        if key in given:
            raise ValueError(f"{parts.type}: says {key} twice")
        if key not in (*positional, *more):
            known = ", ".join((*positional, *more))
            raise ValueError(f"{parts.type}: {key}= is unknown; there are {known}")
        given[key] = value
    return given
