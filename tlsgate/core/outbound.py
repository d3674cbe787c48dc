"""Which HTTP proxy stands between us and a server, by the environment.

The rules are those of curl and of Go's programs: HTTPS_PROXY names the proxy for TLS,
NO_PROXY whom to reach without it; names in lower case win. Loopback is never proxied.

Source: https://pkg.go.dev/golang.org/x/net/http/httpproxy and
https://everything.curl.dev/usingcurl/proxies/env.html
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final

from attrs import field, frozen

from tlsgate.core.addresses import host_port
from tlsgate.errors import BadBytes

#: Of the value of a variable.
_BYTES: Final = 8192
#: Where an address names no port (httpproxy has 80 for http).
_PORT: Final = 80

_URL = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?"
    r"(?:(?P<user>[^@/\s]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)


@frozen
class HttpProxy:
    """A proxy that is asked with CONNECT.

    Attributes:
        authorization: the value of Proxy-Authorization; "" for none.
    """

    host: str
    port: int
    authorization: str = field(default="", repr=False)


def http_proxy(host: str, port: int, environ: Mapping[str, str]) -> HttpProxy | None:
    """Give the proxy by which TLS to *host* goes; None: it is dialled itself.

    Args:
        host: a name or an address, without brackets.

    Raises:
        BadBytes: HTTPS_PROXY is there and names none. It is not passed over: what has to go
            through a proxy would else go another way.
    """
    written = _of(environ, "https_proxy").strip()
    if not written or _is_loopback(host) or _is_spared(host.lower(), port, environ):
        return None
    found = _URL.fullmatch(written) if len(written) <= _BYTES else None
    if found is None or not 0 < int(found["port"] or _PORT) <= 65535:
        raise BadBytes("HTTPS_PROXY", "it has to be http://host:port")
    if found["scheme"] not in (None, "http", "HTTP"):
        raise BadBytes("HTTPS_PROXY", f"{found['scheme']} is not served; http://host:port is")
    authorization = ""
    if found["user"]:
        user = _plain(found["user"])
        if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in user):
            raise BadBytes("HTTPS_PROXY", "its user or password cannot be printed")
        authorization = "Basic " + base64.b64encode(user.encode()).decode("ascii")
    return HttpProxy(found["host"].strip("[]"), int(found["port"] or _PORT), authorization)


def connect_request(host: str, port: int, proxy: HttpProxy) -> bytes:
    """Ask *proxy* for a connection (RFC 9110 section 9.3.6)."""
    where = host_port(host, port)
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _of(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_spared(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """Whether NO_PROXY names *host*."""
    for word in _of(environ, "no_proxy")[:_BYTES].lower().replace(",", " ").split():
        if word == "*":
            return True
        name, _, own = word.rpartition(":")
        if name and own.isdigit() and (":" not in name or name.startswith("[")):
            if int(own) != port:
                continue
            word = name
        if _fits(word.strip("[]"), host.rstrip(".")):
            return True
    return False


def _fits(word: str, host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        bare = word.removeprefix("*").lstrip(".").rstrip(".")
        if not bare:
            return False
        # With a dot before it, only what lies below; else the name itself too.
        below = host.endswith(f".{bare}")
        return below or (host == bare and not word.startswith((".", "*")))
    try:
        return address in ip_network(word, strict=False)
    except ValueError:
        return False


def _plain(text: str) -> str:
    """*text* without percent-encoding (RFC 3986 section 2.1)."""
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), text)
