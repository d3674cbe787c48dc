"""What a protocol is told about the connection that it serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define
from twisted.internet.interfaces import IAddress, IReactorTime
from zope.interface import implementer

from tlsgate.core.access import Decision, Identity
from tlsgate.core.routing import Choice, Route, RouteTable
from tlsgate.errors import GateError
from tlsgate.interfaces import ICluster, IGateProtocol, IReach, IRouteContext, ITunnels


@implementer(IRouteContext)
@define(eq=False, kw_only=True)
class RouteContext:
    """See `IRouteContext`."""

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
    def route(self) -> Route:
        """See `IRouteContext.route`."""
        return self.choice.route

    def claims(self, server_name: str | None) -> str | None:
        """See `IRouteContext.claims`."""
        return self.table.claims(server_name)

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
        raise NotImplementedError
