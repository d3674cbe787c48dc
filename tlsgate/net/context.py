"""What a protocol is told about the connection that it serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define
from twisted.internet.interfaces import IAddress, IReactorTime
from zope.interface import implementer

from tlsgate.core.access import Identity
from tlsgate.core.routing import Choice, Route, RouteTable
from tlsgate.interfaces import ICluster, IGateProtocol, IRouteContext


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

    @property
    def route(self) -> Route:
        """See `IRouteContext.route`."""
        return self.choice.route

    def claims(self, server_name: str | None) -> str | None:
        """See `IRouteContext.claims`."""
        return self.table.claims(server_name)
