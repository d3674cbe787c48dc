"""Databases and applications: what agents offer of them, kept a while, and read as one list.

One item for each agent and kind, `offers/<kind>/<agent>`, so that an agent costs a write a
minute, whatever it offers (R07). Several agents may offer one name; it is one thing then, and
whoever may reach it through one of them may reach it.

Of an offer's facts only those are kept that everybody may see: a header that is added for a
target may be a secret (S53).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Literal

from attrs import frozen

from tlsgate.auth import certify
from tlsgate.auth.agentbodies import OfferBody
from tlsgate.auth.opaque import pack, unpack
from tlsgate.auth.parts import Parts
from tlsgate.auth.resources import all_of
from tlsgate.core.keeping import Item
from tlsgate.core.names import normal
from tlsgate.errors import BadName, BadResource

#: How long an agent's last word is good for.
LIFE_SECONDS: Final = 120.0

Kind = Literal["db", "app"]
KINDS: Final[tuple[Kind, ...]] = ("db", "app")

_PREFIX: Final = "offers/"
#: What users may know of an offer.
_FACTS: Final = ("protocol", "description", "public_addr", "jwt_claims")
#: A name goes into certificates, host names and command lines.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@frozen(kw_only=True)
class Offered:
    """What one agent offers under one name.

    Attributes:
        agent: the name of its certificate.
        last_seen: seconds since the epoch, to half a minute or so.
    """

    kind: Kind
    name: str
    labels: Mapping[str, str]
    addresses: tuple[str, ...]
    facts: Mapping[str, str]
    agent: str
    hostname: str
    version: str
    last_seen: float


def key_of(kind: str, agent: str) -> str:
    """Where the offers of an agent stand."""
    return f"{_PREFIX}{kind}/{agent}"


def check(parts: Parts, number: int, offer: OfferBody) -> None:
    """Let the offer of a database or an application pass that has a name of its own.

    Raises:
        BadResource: its name cannot be used, or it is the gateway's.
    """
    if offer.kind not in KINDS:
        return
    if _NAME.fullmatch(offer.name) is None:
        why = "a name has letters, digits and . _ - only, 128 at most"
        raise BadResource([(f"offers.{number}.name", why)])
    address = offer.facts.get("public_addr", "")
    if not address:
        return
    path = f"offers.{number}.facts.public_addr"
    try:
        host = normal(address)
    except BadName as e:
        raise BadResource([(path, "is no host name")]) from e
    if host in certify.hosts_of(parts.public_addresses()):
        raise BadResource([(path, "is a public address of the gateway")])


def packed(
    kind: Kind,
    offers: Sequence[OfferBody],
    *,
    hostname: str,
    version: str,
    given: Mapping[str, str],
) -> bytes | None:
    """What is kept of an agent's *offers*; None: nothing is.

    Args:
        given: labels of the token by which it has joined; they are above its own.
    """
    mine = [
        {
            "name": one.name,
            "labels": {**one.labels, **given},
            "addresses": list(one.addresses),
            "facts": {key: one.facts[key] for key in _FACTS if key in one.facts},
        }
        for one in offers
        if one.kind == kind
    ]
    if not mine:
        return None
    return pack({"hostname": hostname, "version": version, "offers": mine})


async def of_agent(parts: Parts, kind: Kind, agent: str, name: str) -> Offered | None:
    """What the *agent* offers under *name*; None: it has not said so lately."""
    item = await parts.store.get(key_of(kind, agent))
    if item is None:
        return None
    return next((one for one in _read(kind, item) if one.name == name), None)


async def every(parts: Parts, kind: Kind) -> AsyncIterator[Offered]:
    """All that is offered of a kind, by agent."""
    async for item in all_of(parts.store, f"{_PREFIX}{kind}/"):
        for one in _read(kind, item):
            yield one


def _read(kind: Kind, item: Item) -> list[Offered]:
    kept = unpack(item.key, item.value)
    return [
        Offered(
            kind=kind,
            name=one["name"],
            labels=one["labels"],
            addresses=tuple(one["addresses"]),
            facts=one["facts"],
            agent=item.key.rpartition("/")[2],
            hostname=kept["hostname"],
            version=kept["version"],
            last_seen=(item.expires or LIFE_SECONDS) - LIFE_SECONDS,
        )
        for one in kept["offers"]
    ]
