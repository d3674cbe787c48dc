"""What stands behind a gateway's doors: static rules where there is no cluster, and the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from attrs import evolve
from zope.interface import implementer

from tlsgate.core.access import Decision, Identity, decide
from tlsgate.core.ledger import Book, Use, who
from tlsgate.core.routing import Route
from tlsgate.interfaces import IAuthorizer
from tlsgate.net.noting import ILedger


@implementer(IAuthorizer)
class StaticRules:
    """Allows whom the route itself names."""

    def decide(self, route: Route, identity: Identity | None, address: str | None) -> Decision:
        return decide(route.allow, identity)


def nobodys(identity: Identity) -> bool:
    """Whether a certificate is of the cluster, where there is none."""
    return False


@implementer(ILedger)
class ProcessLedger:
    """Writes into this process's book who has come through its gateway.

    Who has shown no identity counts from the first byte that it has sent inside: a balancer
    that looks at the port is not somebody who uses it.

    Args:
        is_ours: whether a certificate is one of the cluster's; only then its claims count.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        is_ours: Callable[[Identity], bool] = nobodys,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.book = Book()
        self._is_ours = is_ours
        self._now = now
        self._uses: dict[int, Use] = {}
        self._silent: dict[int, Any] = {}

    def opened(self, connection: Any) -> None:
        """See `ILedger.opened`."""
        if connection.identity is None:
            self._silent[connection.number] = connection
        else:
            self._enter(connection)

    def known(self, connection: Any) -> None:
        """See `ILedger.known`."""
        number = connection.number
        before = self._uses.get(number)
        if before is None:
            # Who says by what program it comes has sent something.
            self._silent.pop(number, None)
            self._enter(connection)
            return
        after = self._use(connection)
        if after != before:
            self._uses[number] = after
            self.book.known(before, after, self._now())

    def closed(self, connection: Any) -> None:
        """See `ILedger.closed`."""
        number = connection.number
        if self._silent.pop(number, None) is not None and connection.carried()[0]:
            self._enter(connection)
        use = self._uses.pop(number, None)
        if use is not None:
            self.book.closed(use, self._now())

    def look(self) -> None:
        """Write down who has said something since the last look."""
        for number, connection in list(self._silent.items()):
            if connection.carried()[0]:
                del self._silent[number]
                self._enter(connection)

    # -- inside --

    def _enter(self, connection: Any) -> None:
        use = self._uses[connection.number] = self._use(connection)
        self.book.opened(use, self._now())

    def _use(self, connection: Any) -> Use:
        identity = connection.identity
        if identity is not None and identity.claims is not None and not self._is_ours(identity):
            identity = evolve(identity, claims=None)
        kind, name = who(identity, getattr(connection.peer, "host", None) or "unix")
        return Use(
            kind,
            "".join(one for one in name if one.isprintable())[:256] or "unnamed",
            connection.listener,
            connection.transport_kind,
            connection.client_version,
        )
