"""What stands behind a gateway's doors while there is no cluster: its own static rules."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from tlsgate.core.access import Decision, Identity, decide
from tlsgate.core.routing import Route
from tlsgate.interfaces import IAuthorizer, ILedger


@implementer(IAuthorizer)
class StaticRules:
    """Allows whom the route itself names."""

    def decide(self, route: Route, identity: Identity | None, address: str | None) -> Decision:
        return decide(route.allow, identity)


@implementer(ILedger)
class NoLedger:
    """Keeps no record: who uses which listener is a cluster's question."""

    def opened(
        self, listener: str, transport: str, identity: Identity | None, peer: IAddress
    ) -> None:
        return

    def closed(
        self, listener: str, transport: str, identity: Identity | None, peer: IAddress
    ) -> None:
        return
