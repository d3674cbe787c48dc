"""Which node somebody means who writes a host and a port, as SSH clients do.

A node is known as NAME, as NAME.<a public name of the gateway>, since that is what OpenSSH's
configuration and certificates can hold, and as NAME.<cluster>.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tlsgate.core.names import normal
from tlsgate.core.offers import Offer
from tlsgate.errors import BadName, NotOffered

#: What SSH clients ask for when nobody has said a port: they mean the node's own sshd.
SSH_PORT: Final = 22


def node_of(host: str, publics: Sequence[str], cluster: str) -> str:
    """Give the name of the node that *host* stands for, in lower case.

    Args:
        publics: the gateway's public names.
        cluster: its name.

    Raises:
        BadName: *host* is no name, or it is the gateway's or the cluster's own.
    """
    name = normal(host)
    for suffix in sorted({*publics, cluster}, key=len, reverse=True):
        if name == suffix:
            raise BadName(f"node {name!a}", "it is the gateway; write NODE or NODE." + suffix)
        if name.endswith("." + suffix):
            return name[: -len(suffix) - 1]
    return name


def offer_of(name: str, offers: Iterable[Offer]) -> Offer | None:
    """Give the offer of *name*, however its case is written."""
    return next((one for one in offers if one.name.lower() == name), None)


def may_be_listed(host: str, name: str) -> bool:
    """Whether *host*, which `node_of` gives *name* for, may stand for an address of an agent's.

    One label, and whatever lies below the cluster or a public name, is a node's own name. Else
    any agent could list the address of a node that is away, and be taken for it (S41).
    """
    return "." in name and normal(host) == name


def address_of(offer: Offer, port: int) -> str | None:
    """Give the one of the node's addresses that *port* means; None: its first.

    Raises:
        NotOffered: the node offers no such port.
    """
    if port == SSH_PORT:
        return None
    for address in offer.addresses:
        if address.rpartition(":")[2] == str(port):
            return address
    raise NotOffered(offer.name, port)


def listed(address: str, offers: Iterable[Offer]) -> Offer | None:
    """Give the only offer that lists *address* ("host:port"); None: none does, or several."""
    found = [one for one in offers if address in one.addresses]
    return found[0] if len(found) == 1 else None
