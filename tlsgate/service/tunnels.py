"""The tunnels of this process: what agents are told, and whom the tunnels tell.

1. What agents are told comes from the settings in force and from the cluster's networking;
   when one of them changes, agents hear of it.
2. Another mode, or other addresses of tunnels, mean another way: agents are brought there in
   waves, as the cluster's advice to agents says (`tunnel.moves`).
3. The auth service hears which agents are here (`tunnel.report`).
4. A gateway that drains tells agents first, so that they are elsewhere before it is gone.
5. What agents offer is kept for the next process (`service.keptoffers`), which waits for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from twisted.logger import Logger

from tlsgate.cluster.view import ClusterView
from tlsgate.config.settings import Settings
from tlsgate.core import durations
from tlsgate.core.moves import Advice
from tlsgate.core.offers import Asked
from tlsgate.errors import BadBytes, GateError
from tlsgate.interfaces import IReach
from tlsgate.net.ends import SecureEnd
from tlsgate.net.gateway import Gateway
from tlsgate.service.keptoffers import KeptOffers
from tlsgate.tunnel.report import Reports
from tlsgate.tunnel.server import Facts, Tunnels
from tlsgate.tunnel.stream import GatewayStream

#: Between two pings where the cluster says nothing else: a dead agent is gone in 45 s (R15).
PING_SECONDS: Final = 15.0
#: What Teleport's clusters have as keep_alive_interval when nobody has thought about it: for
#: a tunnel that is as good as nothing, three of them are a quarter of an hour.
_UNSAID: Final = 300.0
#: Agents of which each step on their way is told at once: a report has all of them.
_FEW: Final = 200
#: What agents are told.
_WHY: Final = "the way to this cluster's gateways has changed"
_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 3600.0


class OwnTunnels:
    """See the module.

    Args:
        reactor: Twisted's.
        gateway: whose tunnels they are; it has a gate already.
        view: of the cluster.
        index: of this worker.
        followed: see `tunnel.report`.
        folder: where offers are kept; None: nowhere.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        gateway: Gateway,
        view: ClusterView,
        index: int,
        followed: Callable[[], Mapping[str, int]] = dict,
        folder: Path | None = None,
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
        self._mode, self._settings = view.mode, gateway.gate.settings
        self.reports = Reports(
            view.door, self.tunnels.sessions, str(index), reactor, self._heard_of, followed
        )
        self.tunnels.changed = self._came_or_went
        self.tunnels.moved = self._moved
        self._kept: KeptOffers | None = None
        if folder is not None:
            self._kept = KeptOffers(folder, self.tunnels.agents, reactor)
            self._kept.begin()
        self._draining = False
        self._aim(anew=False)
        self._advised()
        view.on_change(self._changed)

    def follow(self) -> None:
        """Other settings may be in force."""
        if self._draining:
            return
        self.tunnels.refresh()
        mode, settings = self._view.mode, self._gateway.gate.settings
        before, self._settings = self._settings, settings
        before_mode, self._mode = self._mode, mode
        anew = _way(mode, before) != _way(mode, settings)
        if anew or before_mode != mode or _opened(before) != _opened(settings):
            self._aim(anew=anew)

    def drain(self, onward: Callable[[Asked], IReach] | None = None) -> None:
        """Tell agents that this process stops, once; those who are served go on.

        Args:
            onward: see `tunnel.server.Tunnels.drain`.
        """
        if self._draining:
            return
        self._draining = True
        if self._kept is not None:
            self._kept.stop()
        self.tunnels.drain("the gateway stops", onward)

    def stop(self) -> None:
        """Tell nobody anything more."""
        self._draining = True
        if self._kept is not None:
            self._kept.stop()
        self.tunnels.stop()
        self.reports.stop()

    # -- inside --

    def _came_or_went(self) -> None:
        self.reports.changed()
        if self._kept is not None:
            self._kept.changed()

    def _changed(self, what: frozenset[str]) -> None:
        if "cluster_networking_config" in what:
            self.follow()
        if "agent_moves" in what:
            self._advised()

    def _aim(self, *, anew: bool) -> None:
        """Have agents come where the cluster's document leads them now."""
        wanted = _wanted(self._mode, self._settings)
        self.tunnels.moves.aim(wanted, _opened(self._settings), _WHY, anew=anew)

    def _moved(self) -> None:
        """Tell it soon, since an operator waits; but where there are many, only now and then."""
        if len(self.tunnels.agents) <= _FEW:
            self.reports.at_once()

    def _advised(self) -> None:
        """Follow the cluster's advice to agents; one that cannot be read changes nothing."""
        try:
            advice = Advice() if (told := self._view.moves) is None else Advice.read(told)
        except BadBytes as error:
            self.log.error("the advice to agents cannot be followed: {why}", why=str(error))
        else:
            self.tunnels.moves.advise(advice)

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


def _opened(settings: Settings) -> frozenset[str]:
    return frozenset(one.name for one in settings.listeners)


def _way(mode: str, settings: Settings) -> tuple[Any, ...]:
    """The addresses that decide where agents dial in this *mode*."""
    name = "web" if mode == "multiplex" else "tunnel"
    ports = tuple(one.endpoint for one in settings.listeners if one.name == name)
    public = settings.public
    return public.web, () if mode == "multiplex" else public.tunnel, ports


def _wanted(mode: str, settings: Settings) -> tuple[str, ...] | None:
    """The listeners at which agents come that go where this cluster's document leads them.

    None: any. A balancer may bring them to the web port by the tunnel's address; and where
    agents have no port, nobody can say where they should be.
    """
    opened, public = _opened(settings), settings.public
    if mode == "multiplex":
        return ("web",) if "web" in opened else None
    if "tunnel" not in opened or set(public.tunnel) & set(public.web):
        return None
    return ("tunnel",)


def ping_seconds(view: ClusterView) -> float:
    """Between two pings of a control connection, as the cluster's networking says now."""
    networking: Mapping[str, Any] = {} if view.state is None else view.state.networking
    said = networking.get("keep_alive_interval")
    seconds = durations.read(said) if isinstance(said, str) else None
    if seconds is None or seconds == _UNSAID:
        return PING_SECONDS
    return min(max(seconds, _SHORTEST_SECONDS), _LONGEST_SECONDS)
