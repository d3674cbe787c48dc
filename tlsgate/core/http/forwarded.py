"""Whose address a request counts as, where balancers that speak HTTP stand before the gateway.

X-Forwarded-For is what anybody may write, so it counts only from a trusted neighbour, and is
read from its end: each trusted hop has added the address that it saw itself (S19).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

#: Hops that are looked at; no chain of balancers is so long.
MOST_HOPS: Final = 16

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network


def client_of(peer: str, written: Sequence[bytes], trusted: tuple[_Network, ...]) -> str:
    """The address of the nearest hop that is not trusted; that of *peer* itself most often.

    Args:
        peer: the address of who has connected; "" or a name: it has none.
        written: the values of X-Forwarded-For, in their order.
        trusted: whose word counts.
    """
    if not trusted or not written:
        return peer
    return _client_of(peer, tuple(written), trusted)


@lru_cache(maxsize=1024)
def _client_of(peer: str, written: tuple[bytes, ...], trusted: tuple[_Network, ...]) -> str:
    nearest = _read(peer)
    if nearest is None or not _is_in(nearest, trusted):
        return peer
    found = peer
    hops = b",".join(written).rsplit(b",", MOST_HOPS)[-MOST_HOPS:]
    for hop in reversed(hops):
        address = _read(hop.strip(b" \t").decode("ascii", "replace"))
        if address is None:
            break  # what stands before it was passed on by who cannot say by whom
        found = str(address)
        if not _is_in(address, trusted):
            break
    return found


def _read(text: str) -> _Address | None:
    """An address as hops write it, some with a port; None: it is none that a client can have."""
    if len(text) > 64:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found: _Address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return None if found.is_multicast or found.is_unspecified or found.is_reserved else found


def _is_in(address: _Address, networks: Sequence[_Network]) -> bool:
    return any(address in one for one in networks)
