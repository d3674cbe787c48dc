"""Applications whose names no certificate of the gateway is for: browsers refuse those."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tlsgate.core.addresses import split
from tlsgate.core.appnames import PUBLIC_ADDR, host_of
from tlsgate.core.offers import Offer


def uncovered(gate: Any, offers: Iterable[Offer]) -> list[str]:
    """Say of each such application what an operator has to see to.

    Args:
        gate: a `net.gate.Gate`.
        offers: of applications, as agents make them now.
    """
    public = gate.settings.public.web
    first = split(public[0])[0] if public else "localhost"
    said = []
    for offer in offers:
        if offer.facts.get("protocol") == "tcp":
            continue
        host = host_of(offer.name, offer.facts.get(PUBLIC_ADDR, ""), first)
        if host is None:
            said.append(f"application {offer.name}: its public_addr is no host name")
        elif not gate.certificates.covers(host):
            said.append(
                f"application {offer.name}: no certificate is for {host}, so browsers refuse it; "
                "add one to https_keypairs"
            )
    return said
