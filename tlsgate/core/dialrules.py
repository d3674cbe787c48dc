"""Which addresses an agent dials for a client: those of its own configuration, and no other.

What a gateway asks for is held against the agent's own offer. A name is looked up once, and
what it has come to is dialled: a name that says something else a moment later changes
nothing. Addresses by which a machine reaches its own cloud are dialled only where
the configuration has them literally.

Source: RFC 3927 (169.254.0.0/16), RFC 4291 section 2.5.6 (fe80::/10); the metadata
addresses of AWS (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html),
Azure (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16)
and Alibaba Cloud (https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata).
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from tlsgate.core.addresses import whole
from tlsgate.core.offers import Asked, Offer
from tlsgate.errors import TargetDenied

_METADATA: Final = frozenset(
    map(ip_address, ("169.254.169.254", "fd00:ec2::254", "168.63.129.16", "100.100.100.200"))
)


def address_of(asked: Asked, offer: Offer) -> tuple[str, int]:
    """Host and port that are meant.

    Raises:
        TargetDenied: it is none of the offer's.
    """
    wanted = asked.address
    if wanted is None and offer.addresses:
        wanted = offer.addresses[0]
    if wanted is None or wanted not in offer.addresses:
        raise TargetDenied(
            asked.user,
            f"{wanted or 'any address'} at {offer.name}",
            "it is none of those in the configuration of the agent there",
        )
    return whole(wanted)


def is_literal(host: str) -> bool:
    """Whether *host* is an address, which the configuration has listed as it is."""
    return _address(host) is not None


def may_mean(host: str, found: str) -> bool:
    """Whether the name *host* may stand for the address *found*."""
    address = _address(found)
    if address is None:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        # Else whoever answers for a name could have this host's own services dialled.
        return host.lower().rstrip(".") == "localhost"
    special = address.is_link_local or address.is_unspecified or address.is_multicast
    return not special and not address.is_reserved and address not in _METADATA


@lru_cache(1024)  # of the configuration's own words, and of what names come to
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None
