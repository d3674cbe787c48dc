"""Under which name a browser finds an application, and which application a name means.

An application is `<name>.<public>`, or what its agent's file says as `public_addr`. A name that
two applications claim means neither: who adds a second one must not get the first one's users.
The names of the gateway itself are nobody's, and so is a `public_addr` below another
application's name, or more than one label below the gateway's: pages there could plant cookies
at the application above.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tlsgate.core.names import normal
from tlsgate.core.offers import Offer
from tlsgate.errors import BadName

#: First labels below a public name that are the gateway's own, or a kind of service.
RESERVED: Final = frozenset({"auth", "kube", "db", "app"})

PUBLIC_ADDR: Final = "public_addr"


def host_of(name: str, public_addr: str, public: str) -> str | None:
    """Give the host name of an application; None: it can have none.

    Args:
        name: of the application.
        public_addr: as its offer's facts have it; "" where it is below the gateway's name.
        public: the gateway's first public name.
    """
    try:
        return normal(public_addr) if public_addr else normal(f"{name}.{public}")
    except BadName:
        return None


def find(offers: Iterable[Offer], host: str, public: Sequence[str]) -> Offer | None:
    """Give the application that *host* means; None: none does, or several.

    Args:
        offers: of applications.
        host: normalised, without a port.
        public: the gateway's public names, normalised.
    """
    if is_own(host, public):
        return None
    offers = tuple(offers)
    found = [one for one in offers if host in _hosts(one, public)]
    # Below the gateway's name the application of that name comes before any that calls itself so.
    own = [one for one in found if not one.facts.get(PUBLIC_ADDR)]
    found = own or found
    if len(found) != 1 or (not own and _is_below(host, found[0], offers, public)):
        return None
    return found[0]


def is_own(host: str, public: Sequence[str]) -> bool:
    """Whether *host* is one of the gateway's own names, which no application can have."""
    return any(
        host == one or (host.endswith(f".{one}") and _last(host, one) in RESERVED) for one in public
    )


def _is_below(host: str, mine: Offer, offers: Iterable[Offer], public: Sequence[str]) -> bool:
    """Whether *host* is below what is another application's name, or may become one's."""
    if any(host.endswith(f".{one}") and "." in host[: -len(one) - 1] for one in public):
        return True
    others = (one for one in offers if one.name != mine.name and one.facts.get(PUBLIC_ADDR))
    return any(host.endswith(f".{name}") for one in others for name in _hosts(one, public))


def _last(host: str, public: str) -> str:
    """The label of *host* that stands right before *public*."""
    return host[: -len(public) - 1].rpartition(".")[2]


def _hosts(offer: Offer, public: Sequence[str]) -> set[str | None]:
    public_addr = offer.facts.get(PUBLIC_ADDR, "")
    return {host_of(offer.name, public_addr, one) for one in public or ("invalid",)}
