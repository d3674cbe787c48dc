"""One connection of a client to an application, whatever version of HTTP it speaks.

1. Each request, not just the first, is held against the connection's server name: another
   name's gets 421, before anybody asks who sends it (S05).
2. The first request of somebody begins a session in the audit log; the connection's end is its
   end.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.logger import Logger

from tlsgate.core.access import Identity
from tlsgate.core.addresses import host_port, split
from tlsgate.core.http.requests import RequestHead
from tlsgate.core.offers import Offer
from tlsgate.errors import GateError
from tlsgate.interfaces import IRouteContext
from tlsgate.protocols.apps.shared import Shared


class Visit:
    """What is known of one connection."""

    log = Logger()

    def __init__(self, shared: Shared, context: IRouteContext) -> None:
        self.shared = shared
        self.context = context
        peer = context.peer
        placed = isinstance(peer, IPv4Address | IPv6Address)
        self.address: str = peer.host if placed else ""  # type: ignore[attr-defined]
        self.client = host_port(peer.host, peer.port) if placed else ""  # type: ignore[attr-defined]
        self.public = tuple(split(one)[0].lower() for one in context.settings.public.web)
        self._running: set[Any] = set()
        self._session: tuple[str, str] | None = None
        self._requests = self._refusals = 0

    @property
    def opening_seconds(self) -> float:
        """How long a head may take."""
        context = self.context
        return float(context.settings.waits(context.listener).opening_seconds)

    def is_misdirected(self, head: RequestHead) -> bool:
        """Whether a request is for another name than its connection (S05)."""
        return head.name != self.context.server_name

    def find(self, name: str) -> Offer | None:
        """The application of that host name."""
        tunnels = self.context.tunnels
        return None if tunnels is None else self.shared.find(tunnels, name, self.public)

    # -- what exchanges tell ----------------------------------------------------------------

    def began(self, exchange: object) -> None:
        """A request is under way."""
        self._running.add(exchange)
        self._requests += 1
        if len(self._running) == 1:
            self.context.busy(True)

    def ended(self, exchange: object) -> None:
        """It is over."""
        self._running.discard(exchange)
        if not self._running:
            self.context.busy(False)

    def refused(self, error: GateError) -> None:
        """A request was refused; the audit log has the first one of a connection."""
        self._refusals += 1
        if self._refusals == 1:
            fields = {"reason": error.reason, "app": self.context.server_name or ""}
            self.context.emit("app.session.rejected", fields)

    def session_began(self, offer: Offer, identity: Identity) -> None:
        """Somebody may use an application; said once for each who does on a connection."""
        user = identity.name if identity.claims is None else identity.claims.name
        now = (offer.name, user)
        if self._session != now:
            self._session_over()
            self._session = now
            self.context.emit("app.session.start", {"app": offer.name, "user": user})

    def lost(self) -> None:
        """The connection is over."""
        for exchange in list(self._running):
            exchange.abort()
        self._session_over()

    def _session_over(self) -> None:
        if self._session is not None:
            app, user = self._session
            self._session = None
            fields = {"app": app, "user": user, "requests": self._requests}
            self.context.emit("app.session.end", fields)
