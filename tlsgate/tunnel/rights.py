"""What an agent may say of itself: what its certificate says (S41)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tlsgate.core.claims import Claims
from tlsgate.core.greetings import AgentHello
from tlsgate.core.offers import KINDS, Offer
from tlsgate.errors import Denied

#: What errors and audit call the way by which agents come.
ROUTE: Final = "tunnel"


def check_hello(claims: Claims, hello: AgentHello) -> None:
    """Hold a HELLO against the certificate of who says it.

    Raises:
        Denied: it says something that the certificate does not.
    """
    for what, said, true in (
        ("agent", hello.agent, claims.name),
        ("cluster", hello.cluster, claims.cluster),
    ):
        if said != true:
            raise Denied(ROUTE, claims.name, f"it says that it is {what} {said!r}")
    check_roles(claims, hello.roles)
    check_offers(claims, hello.roles, hello.offers)


def check_roles(claims: Claims, roles: Iterable[str]) -> None:
    """Hold what an agent says it is against its certificate.

    Raises:
        Denied: it is not that.
    """
    asked = set(roles)
    for role in sorted(asked - set(KINDS)):
        raise Denied(ROUTE, claims.name, f"an agent is no {role}")
    for role in sorted(asked - set(claims.system_roles)):
        raise Denied(ROUTE, claims.name, f"its certificate does not say that it is a {role}")
    if not asked:
        raise Denied(ROUTE, claims.name, "it has no role of an agent")


def check_offers(claims: Claims, roles: Iterable[str], offers: Iterable[Offer]) -> None:
    """Hold what an agent offers against its certificate: nobody serves under another's name.

    Raises:
        Denied: it offers what it may not (S41).
    """
    asked = frozenset(roles)
    for offer in offers:
        what = f"{offer.kind} {offer.name!r}"
        if offer.kind not in asked:
            raise Denied(ROUTE, claims.name, f"it offers {what} and is no {offer.kind}")
        if offer.kind == "node" and offer.name != claims.name:
            raise Denied(ROUTE, claims.name, f"it offers {what}, which is not its own name")
