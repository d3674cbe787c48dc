"""One connection of a client to an application, whatever version of HTTP it speaks.

1. Each request, not just the first, is held against the connection's server name: another
   name's gets 421, before anybody asks who sends it (S05).
2. The first request of somebody begins a session in the audit log; the connection's end is its
   end. Requests are counted in it and not told one by one: a page is made of hundreds.
"""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.logger import Logger

from tlsgate.core.addresses import host_port, split
from tlsgate.core.http.fields import Fields, values
from tlsgate.core.http.forwarded import client_of
from tlsgate.core.http.requests import RequestHead
from tlsgate.core.ledger import program_of
from tlsgate.core.offers import Offer
from tlsgate.errors import GateError
from tlsgate.interfaces import IRouteContext
from tlsgate.protocols.apps.shared import Shared


@define(eq=False)
class Session:
    """One user's use of one application over one connection.

    Attributes:
        began: by the reactor's clock.
        to_target, to_client: bytes of messages as the application got and sent them.
    """

    app: str
    user: str
    began: float
    requests: int = 0
    refused: int = 0
    to_target: int = 0
    to_client: int = 0


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
        self._forwarders = context.settings.forwarders
        self.public = tuple(split(one)[0].lower() for one in context.settings.public.web)
        #: Of the client; the connection has no other one later.
        self.certificate = context.certificate()
        self._running: set[Any] = set()
        self._sessions: dict[tuple[str, str], Session] = {}
        self._refusals = 0
        self._is_named = False

    @property
    def opening_seconds(self) -> float:
        """How long a head may take."""
        context = self.context
        return float(context.settings.waits(context.listener).opening_seconds)

    def is_misdirected(self, head: RequestHead) -> bool:
        """Whether a request is for another name than its connection (S05)."""
        return head.name != self.context.server_name

    def client_of(self, head: RequestHead) -> tuple[str, str]:
        """The address of who has sent a request, and the same with its port.

        It is another one than the connection's where a balancer tells that may. A user's
        certificate has come through none: such a balancer ends TLS itself, and through one that
        does not, the user would have written what it seems to tell (S19).
        """
        if self._forwarders and not self.certificate:
            told = values(head.fields, b"x-forwarded-for")
            address = client_of(self.address, told, self._forwarders)
            if address != self.address:
                return address, host_port(address, 0)  # the balancer's port is none of its
        return self.address, self.client

    def find(self, name: str) -> Offer | None:
        """The application of that host name."""
        tunnels = self.context.tunnels
        return None if tunnels is None else self.shared.find(tunnels, name, self.public)

    # -- what exchanges tell ----------------------------------------------------------------

    def began(self, exchange: object, fields: Fields) -> None:
        """A request with these header fields is under way; the first says by what program."""
        if not self._is_named:
            self._is_named = True
            for said in values(fields, b"user-agent"):
                self.context.came_by(program_of(said.decode("ascii", "replace")))
        self._running.add(exchange)
        if len(self._running) == 1:
            self.context.busy(True)

    def ended(self, exchange: object) -> None:
        """It is over."""
        self._running.discard(exchange)
        if not self._running:
            self.context.busy(False)

    def refused(self, error: GateError, user: str | None = None) -> None:
        """A request was refused; the audit log has the first one of a connection.

        Args:
            user: who has sent it, where that is known.
        """
        self._refusals += 1
        if self._refusals == 1:
            fields = {"reason": error.reason, "app": self.context.server_name or ""}
            if user is not None:
                fields |= {"user": user, "identity": user}
            self.context.emit("app.session.rejected", fields)

    def session(self, offer: Offer, user: str) -> Session:
        """The session of a request that its user may make; its beginning is said once."""
        found = self._sessions.get((offer.name, user))
        if found is None:
            found = Session(offer.name, user, self.context.clock.seconds())
            self._sessions[offer.name, user] = found
            self.context.emit("app.session.start", _who(found))
        found.requests += 1
        return found

    def lost(self, to_target: int = 0, to_client: int = 0, session: Session | None = None) -> None:
        """The connection is over.

        Args:
            to_target, to_client: bytes that it carried for *session* after a change of protocol.
        """
        for exchange in list(self._running):
            exchange.abort()
        if session is not None:
            session.to_target += to_target
            session.to_client += to_client
        sessions, self._sessions = list(self._sessions.values()), {}
        now = self.context.clock.seconds()
        for one in sessions:
            told = {
                "requests": one.requests,
                "refused": one.refused,
                "to_target": one.to_target,
                "to_client": one.to_client,
                "seconds": round(now - one.began, 6),
            }
            self.context.emit("app.session.end", {**_who(one), **told})


def _who(session: Session) -> dict[str, object]:
    """What both events say, beside the connection's own facts."""
    return {
        "app": session.app,
        "target": f"app/{session.app}",
        "user": session.user,
        # A browser's connection names nobody; its session does.
        "identity": session.user,
    }
