"""An agent's PostgreSQL behind a plain port of the test's own process: no gateway, no cluster.

What a gateway would do is done here by hand: it gives keys, tells a cancel request by its first
bytes, and says refusals in PostgreSQL's words. Everything behind that is the agent's own.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.internet import threads
from twisted.internet.protocol import Factory, Protocol

from tests.targets.dbhouse import FakeDoor
from tests.targets.rig import TIMEOUTS
from tlsgate.config.settings import OfferSettings
from tlsgate.core.access import Decision, Identity
from tlsgate.core.offers import Answered, Asked, Offer
from tlsgate.core.wire import postgres
from tlsgate.net.ends import End, PlainEnd
from tlsgate.net.lease import Lease
from tlsgate.net.poller import READ, Poller
from tlsgate.net.wheel import Wheel
from tlsgate.service.judging import Case
from tlsgate.service.requests import Requests
from tlsgate.targets import openings
from tlsgate.tls.fast import Slab
from tlsgate.tunnel.dialling import Means


@define(eq=False)
class Front:
    """One port for each of some databases.

    Attributes:
        reactor: Twisted's.
        databases: by name.
        names: the database user and the database that a gateway has decided about.
        events: what was recorded.
        audited: whether a role has queries audited.
    """

    reactor: Any
    databases: Mapping[str, OfferSettings]
    names: tuple[str, str] = ("alice", "app")
    audited: bool = False
    events: list[tuple[str, Mapping[str, Any]]] = field(factory=list)
    keys: dict[bytes, str] = field(factory=dict)
    ports: dict[str, int] = field(factory=dict)
    _listening: list[Any] = field(factory=list)
    door: Any = None
    means: Any = None
    requests: Any = None

    def start(self) -> None:
        """Listen."""
        now = time.time()
        self.door = FakeDoor(now - 60, now + 3600)
        judge: Any = self
        audit: Any = self
        self.means = Means(
            reactor=self.reactor,
            poller=Poller(self.reactor),
            wheel=Wheel(self.reactor),
            slab=Slab(),
            now=self.reactor.seconds,
            time=time.time,
            environ={},
        )
        self.requests = Requests(
            self.means,
            judge,
            lambda: TIMEOUTS,
            self._resolve,
            lambda line: None,
            audit,
            lambda kind, name: self.databases[name],
            self.door,
            openings(),
        )
        for name in self.databases:
            factory = Factory.forProtocol(_Client)
            factory.noisy = False
            factory.front, factory.database = self, name  # type: ignore[attr-defined]
            port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
            self.ports[name] = port.getHost().port
            self._listening.append(port)

    def stop(self) -> None:
        """Listen no more, and cut who is served."""
        for port in self._listening:
            port.stopListening()
        for one in list(self.requests.served):
            one.cut("the test is over")
        self.means.wheel.stop()
        self.means.poller.close()

    def _resolve(self, host: str, port: int) -> Any:
        kind = socket.SOCK_STREAM
        return threads.deferToThreadPool(
            self.reactor,
            self.reactor.getThreadPool(),
            socket.getaddrinfo,
            host,
            port,
            type=kind,
        )

    # -- what stands in for the judge and the audit --

    def case(self, asked: Asked) -> Case:
        """Everybody is let in."""
        settings = self.databases[asked.name]
        host, _, port = settings.addresses[0].rpartition(":")
        return Case(
            asked=asked,
            offer=Offer(kind="db", name=asked.name, addresses=settings.addresses),
            identity=Identity(common_names=("alice",), not_after=time.time() + 3600),
            host=host,
            port=int(port),
            decision=Decision(True, "a role", audit_queries=self.audited),
        )

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        """See `IAudit`."""
        self.events.append((event, fields))


class _Client(Protocol):
    """A client, until the agent has it; then the stream's request."""

    open = True
    cancelled: Any = None

    def connectionMade(self) -> None:
        """Lend the socket at once: nothing of the client's may be read here."""
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        self._lease = Lease(transport, self.factory.front.means.poller)
        self._lease.on_ready = self._look
        self._lease.want(READ)

    def _look(self, mask: int) -> None:
        """See what comes first, without taking it."""
        try:
            head = self._lease.socket.recv(16, socket.MSG_PEEK)
        except BlockingIOError:
            return
        if 0 < len(head) < 16:
            return  # both packets have more
        self._lease.want(0)
        if not head:
            self._lease.close()
            return
        factory: Any = self.factory
        front: Front = factory.front
        user, database = front.names
        details = {"db_user": user, "db_name": database}
        if postgres.is_cancel_request(head):
            details["cancel"] = front.keys.get(head[8:16], "")
            self._lease.socket.recv(16)
        else:
            key = os.urandom(36)
            front.keys[key[:8]] = details["key"] = key.hex()
        asked = Asked(kind="db", name=factory.database, user="alice", details=details)
        front.requests.asked(asked, self)

    def accept(self) -> End:
        """See `tunnel.stream`."""
        self.open = False
        return PlainEnd(self._lease)

    def refuse(self, answered: Answered) -> None:
        """What a gateway says; see `accept`."""
        self.open = False
        self._lease.socket.send(postgres.error_response("28000", answered.message))
        self._lease.socket.shutdown(socket.SHUT_WR)
        self._lease.close()
