"""Which name a request is for, from its Host header and its target (S04, S05)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tlsgate.core import names
from tlsgate.errors import BadBytes, BadName

#: An authority's host and port (RFC 3986 section 3.2); what is no name has to be an address.
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[^\[\]:@/?#]{1,255})(?::([0-9]{0,5}))?\Z")
_ADDRESS = re.compile(rb"\[.*\]|[0-9]{1,3}(\.[0-9]{1,3}){3}\Z")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)\Z", re.IGNORECASE | re.DOTALL)


def host_name(authority: bytes) -> str | None:
    """The normalised name in "name:port"; None for an IP address, which no route claims.

    Raises:
        BadName: it is neither.
    """
    match = _AUTHORITY.match(authority)
    if match is None:
        raise BadName("Host", "neither a name nor an address")
    host = match[1]
    return None if _ADDRESS.match(host) else names.normal(host)


def asked_for(target: bytes, hosts: Sequence[bytes], version: bytes) -> tuple[str | None, bytes]:
    """The name that a request is for, and its target in origin form.

    A request that leaves open what it is for is refused, as every hop would have its
    own opinion (RFC 9112 section 3.2): no Host in HTTP/1.1, two of them, a target that names
    another host.

    Args:
        target: as on the request line: "/path?query", "http://host/path", "*".
        hosts: every Host header (and :authority), in order.
        version: b"HTTP/1.0", b"HTTP/1.1" or b"HTTP/2".

    Raises:
        BadBytes: refused; answer it with 400.
    """
    different = {host.lower() for host in hosts}
    if len(different) > 1 or (version != b"HTTP/2" and len(hosts) > 1):
        raise BadBytes("request", "more than one Host")
    if not hosts and version != b"HTTP/1.0":
        raise BadBytes("request", "no Host")
    name = host_name(hosts[0]) if hosts else None
    if target.startswith(b"/") or target == b"*":
        return name, target
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        raise BadBytes("request", "a target that is neither a path nor a URL")
    if not hosts or absolute[1].lower() not in different:
        raise BadBytes("request", "a target that names another host than Host")
    path = absolute[2]
    return name, path if path.startswith(b"/") else b"/" + path
