"""The tunnels of this process: what agents are told, and whom the tunnels tell.

1. What agents are told comes from the settings in force and from the cluster's networking;
   when one of them changes, agents hear of it.
2. Another mode, or other addresses of tunnels, mean another way: agents dial anew.
3. The auth service hears which agents are here (`tunnel.report`).
4. A gateway that drains tells agents first, so that they are elsewhere before it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tlsgate.cluster.view import ClusterView
from tlsgate.core import durations
from tlsgate.errors import GateError
from tlsgate.net.ends import SecureEnd
from tlsgate.net.gateway import Gateway
from tlsgate.tunnel.report import Reports
from tlsgate.tunnel.server import Facts, Tunnels
from tlsgate.tunnel.stream import GatewayStream

#: Between two pings where the cluster says nothing else: a dead agent is gone in 45 s (R15).
PING_SECONDS: Final = 15.0
#: What Teleport's clusters have as keep_alive_interval when nobody has thought about it: for
#: a tunnel that is as good as nothing, three of them are a quarter of an hour.
_UNSAID: Final = 300.0
_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 3600.0


class OwnTunnels:
    """See the module.

    Args:
        reactor: Twisted's.
        gateway: whose tunnels they are; it has a gate already.
        view: of the cluster.
        index: of this worker.
        followed: see `tunnel.report`.
    """

    def __init__(
        self,
        reactor: Any,
        gateway: Gateway,
        view: ClusterView,
        index: int,
        followed: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._gateway = gateway
        self._view = view
        self._index = index
        self._elsewhere: tuple[str, ...] = ()
        self.tunnels = Tunnels(
            self._facts,
            self._stream,
            clock=reactor,
            wheel=gateway.wheel,
            now=gateway.now,
        )
        self._way = self._ways()
        self.reports = Reports(
            view.door, self.tunnels.sessions, str(index), reactor, self._heard_of, followed
        )
        self.tunnels.changed = self.reports.changed
        self._draining = False
        view.on_change(self._changed)

    def follow(self) -> None:
        """Other settings may be in force."""
        if self._draining:
            return
        self.tunnels.refresh()
        before, self._way = self._way, self._ways()
        if before != self._way:
            self.tunnels.move("the way to this cluster's gateways has changed")

    def drain(self) -> None:
        """Tell agents that this process stops; those who are served go on."""
        self._draining = True
        self.tunnels.drain("the gateway stops")

    def stop(self) -> None:
        """Tell nobody anything more."""
        self._draining = True
        self.tunnels.stop()
        self.reports.stop()

    # -- inside --

    def _changed(self, what: frozenset[str]) -> None:
        if "cluster_networking_config" in what:
            self.follow()

    def _heard_of(self, addresses: tuple[str, ...]) -> None:
        self._elsewhere = addresses
        if not self._draining:
            self.tunnels.refresh()

    def _facts(self) -> Facts:
        settings = self._gateway.gate.settings
        own = settings.public.web
        return Facts(
            gateway=settings.node_name,
            worker=str(self._index),
            workers=tuple(map(str, range(settings.workers))),
            ping_seconds=ping_seconds(self._view),
            gateways=tuple(one for one in dict.fromkeys(self._elsewhere) if one not in own),
        )

    def _ways(self) -> tuple[Any, ...]:
        """What decides by which way agents come."""
        settings = self._gateway.gate.settings
        ports = tuple(one.endpoint for one in settings.listeners if one.name in ("web", "tunnel"))
        return self._view.mode, settings.public.web, settings.public.tunnel, ports

    def _stream(
        self,
        end: SecureEnd,
        idle: Callable[[object], None],
        lost: Callable[[object, GateError], None],
    ) -> GatewayStream:
        gateway = self._gateway
        return GatewayStream(
            end.lease,
            end.session,
            slab=gateway.slab,
            wheel=gateway.wheel,
            now=gateway.now,
            idle=idle,
            lost=lost,
        )


def ping_seconds(view: ClusterView) -> float:
    """Between two pings of a control connection, as the cluster's networking says now."""
    networking: Mapping[str, Any] = {} if view.state is None else view.state.networking
    said = networking.get("keep_alive_interval")
    seconds = durations.read(said) if isinstance(said, str) else None
    if seconds is None or seconds == _UNSAID:
        return PING_SECONDS
    return min(max(seconds, _SHORTEST_SECONDS), _LONGEST_SECONDS)
