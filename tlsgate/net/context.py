"""What a protocol is told about the connection that it serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.interfaces import IAddress, IReactorTime
from zope.interface import implementer

from tlsgate.core.access import Decision, Identity
from tlsgate.core.relayed import Relayed
from tlsgate.core.routing import Choice, Route, RouteTable
from tlsgate.errors import GateError
from tlsgate.interfaces import ICluster, IGateProtocol, IKept, IReach, IRouteContext, ITunnels
from tlsgate.net.elsewhere import Elsewhere
from tlsgate.net.ends import End
from tlsgate.net.gate import WEB
from tlsgate.net.relay import Pair
from tlsgate.tls.fast import Slab
from tlsgate.tls.sshhost import SshHost

if TYPE_CHECKING:
    from tlsgate.net.connection import Connection


@implementer(IRouteContext)
@define(eq=False, kw_only=True)
class RouteContext:
    """See `IRouteContext`.

    It knows the connection, which does not know it: the protocol that holds it may go
    whenever it likes, and no cycle waits for the collector (S57).
    """

    connection: Connection

    choice: Choice
    listener: str
    opening: str
    server_name: str | None
    identity: Identity | None
    peer: IAddress
    local: IAddress
    settings: Any
    own_settings: object
    protocols: Mapping[str, IGateProtocol]
    clock: IReactorTime
    table: RouteTable
    cluster: ICluster | None = None
    tunnels: ITunnels | None = None

    @property
    def trace(self) -> str:
        """See `IRouteContext.trace`."""
        return self.connection.traced()

    @property
    def route(self) -> Route:
        """See `IRouteContext.route`."""
        return self.choice.route

    def claims(self, server_name: str | None) -> str | None:
        """See `IRouteContext.claims`."""
        return self.table.claims(self.connection.gate.known_as(server_name, self.tunnels))

    @property
    def slab(self) -> Slab:
        """See `IRouteContext.slab`."""
        return self.connection.gateway.slab

    @property
    def web_chains(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """See `IRouteContext.web_chains`."""
        return self.connection.gate.certificates.chains()

    @property
    def ping_seconds(self) -> float | None:
        """See `IRouteContext.ping_seconds`."""
        pinged = self.connection.pinged
        return None if pinged is None else pinged.seconds

    def certificate(self) -> bytes:
        """See `IRouteContext.certificate`."""
        tls = self.connection.tls
        return b"" if tls is None else tls.der

    def relay(
        self,
        reach: IReach,
        answer: Callable[[GateError | None], bytes],
        unread: bytes = b"",
        *,
        target: str = "",
        limits: Decision | None = None,
    ) -> None:
        """See `IRouteContext.relay`."""
        self.connection.hand_over(reach, answer, unread, target, limits)

    def about(self, relayed: Relayed) -> None:
        """See `IRouteContext.about`."""
        self.connection.relayed = relayed

    def refuse(self, error: GateError, words: bytes, *, target: str = "") -> None:
        """See `IRouteContext.refuse`."""
        self.connection.refuse_served(error, words, target)

    def keep(self, kept: IKept) -> None:
        """See `IRouteContext.keep`."""
        self.connection.keep(kept)

    @property
    def ssh_host(self) -> SshHost | None:
        """See `IRouteContext.ssh_host`."""
        return self.connection.gate.ssh_host

    @property
    def worker(self) -> int:
        """See `IRouteContext.worker`."""
        return self.connection.gateway.worker

    def elsewhere(self, worker: int) -> Elsewhere:
        """See `IRouteContext.elsewhere`."""
        connection = self.connection
        gateway = connection.gateway
        return Elsewhere(
            gateway.passing, gateway.poller, worker, WEB, connection.peer, connection.local
        )

    def on_end(self, listener: Callable[[], None]) -> None:
        """See `IRouteContext.on_end`."""
        self.connection.endings = (*self.connection.endings, listener)

    def closed(self) -> GateError | None:
        """See `IRouteContext.closed`."""
        return self.connection.gateway.closed()

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        """See `IRouteContext.emit`."""
        self.connection.emit(event, fields)

    def couple(self, client: End, target: End, limits: Decision | None) -> Pair:
        """See `IRouteContext.couple`."""
        return self.connection.paired(client, target, limits)

    def busy(self, is_busy: bool) -> None:
        """See `IRouteContext.busy`."""
        self.connection.busy(is_busy)

    def identify(self, identity: Identity) -> None:
        """See `IRouteContext.identify`."""
        self.connection.identify(identity)

    def came_by(self, program: str) -> None:
        """See `IRouteContext.came_by`."""
        self.connection.came_by(program)
