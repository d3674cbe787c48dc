"""The gateway in this process: gate, acceptors, certificate watch, memory.

1. `build` makes everything that one configuration needs, in a thread where it can: many
   certificates take a while, and connections go on meanwhile.
2. `commit` swaps in one turn of the reactor: listeners that go accept what waits, the gate
   is exchanged, listeners that come begin.
3. When a certificate's file has changed (`service.certwatch`) the gate is built anew from
   the same settings.
4. When another process takes over, those who came last get in first, and then agents are told.

A little over 400 lines: each step of a listener's life is one method here, and they share its
state.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate import registry
from tlsgate.config.settings import Settings
from tlsgate.core.migration import mode_in_force
from tlsgate.core.offers import Asked
from tlsgate.errors import AuditFailed, CannotListen, ReloadRefused
from tlsgate.interfaces import IReach
from tlsgate.net.gate import WEB, Gate, Trust, cluster_names
from tlsgate.net.gateway import Gateway, Journal
from tlsgate.net.owner import Owned
from tlsgate.net.passing import Passing
from tlsgate.net.succession import Onward, Place, inherit
from tlsgate.service import counts
from tlsgate.service.acceptor import MOST_A_TURN, Acceptor, Descriptors
from tlsgate.service.audit import AuditLog
from tlsgate.service.certwatch import CertificateWatch
from tlsgate.service.coverage import uncovered
from tlsgate.service.crew import ICrew, Orders
from tlsgate.service.doors import ProcessLedger, StaticRules, nobodys
from tlsgate.service.explain import explain
from tlsgate.service.facts import facts, file_facts, told_ports
from tlsgate.service.listeners import Bound
from tlsgate.service.membership import Membership
from tlsgate.service.memory import Trimmer
from tlsgate.service.modeclock import ModeClock
from tlsgate.service.reporting import Reporting
from tlsgate.service.tunnels import OwnTunnels

_T = TypeVar("_T")
#: Runs a function in a thread: `twisted.internet.threads.deferToThread`, or at once in tests.
InThread = Callable[[Callable[[], _T]], Deferred[_T]]
#: How long a successor may have to wait for those who came to us last.
_LET_IN_SECONDS, _LOOK_SECONDS = 1.0, 0.02


@frozen(eq=False)
class Built:
    """A gate, and what an operator should know of how it was made."""

    gate: Gate
    remarks: tuple[str, ...] = ()


def build(settings: Settings, trust: Trust | None = None) -> Built:
    """Make the gate of *settings* in a cluster that is trusted; reads files, opens nothing.

    Raises:
        GateError: it cannot be made.
    """
    loaded = registry.load(settings.plugins_dir)
    remarks = [f"plug-in {file} is missing: {why}" for file, why in loaded.failed]
    remarks += [
        f"plug-in {file} has changed; its new code runs after `tgctl upgrade`"
        for file in loaded.changed
    ]
    return Built(Gate.build(settings, loaded.protocols, trust), tuple(remarks))


@frozen
class _Next:
    """What was prepared."""

    orders: Orders
    built: Built
    ports: Mapping[str, IListeningPort] = field(factory=dict)


@implementer(ICrew)
class LocalGateway:
    """Serves in this process.

    Args:
        reactor: Twisted's.
        built: the first gate.
        journal, audit: where the end of each connection is told.
        descriptors: of this process.
        in_thread: see `InThread`.
        index: which of several workers this is; the first one logs for all.
        most: how many connections one turn accepts.
        membership: in a cluster; None: the gateway stands alone.
        reports: the cluster hears what is open here and who has come.
    """

    def __init__(
        self,
        reactor: Any,
        built: Built,
        *,
        journal: Journal,
        audit: AuditLog,
        descriptors: Descriptors,
        in_thread: InThread[Any],
        index: int = 0,
        most: int = MOST_A_TURN,
        membership: Membership | None = None,
        reports: bool = True,
    ) -> None:
        self._reactor = reactor
        self.built = built
        self._membership = membership
        self._audit = audit
        ours = nobodys if membership is None else membership.view.is_ours
        self.ledger = ProcessLedger(ours)
        self.gateway = Gateway(
            reactor,
            audit=audit,
            authorizer=StaticRules() if membership is None else membership.view,
            ledger=self.ledger,
            journal=journal,
            cluster=None if membership is None else membership.view,
            closed=lambda: AuditFailed() if audit.refuses else None,
        )
        self.gateway.take(built.gate)
        self._tunnels: OwnTunnels | None = None
        if membership is not None:
            self._tunnels = OwnTunnels(
                reactor,
                self.gateway,
                membership.view,
                index,
                membership.followed,
                membership.folder,
            )
            membership.on_followed = self._tunnels.reports.at_once
            self.gateway.tunnels = self._tunnels.tunnels
        self._index = index
        #: What the file says of the mode, and since when each port is open.
        self._file: Mapping[str, Any] = {}
        self._since: dict[str, float] = {}
        self._sockets: dict[str, str | None] = {}
        self.reporting: Reporting | None = None
        if membership is not None and reports:
            self.reporting = Reporting(
                membership.view.door, self.ledger.book, self._facts, reactor, self.ledger.look
            )
        self._told: ModeClock | None = None
        if membership is not None:
            self._told = ModeClock(membership.folder, reactor.seconds, time.time)
            membership.view.on_change(self._mode_changed)
        if built.gate.settings.workers > 1:
            folder = built.gate.settings.data_dir / "gateway" / "passing"
            self.gateway.passing = Passing(reactor, folder, index, self.gateway.receive)
        #: Where the process before us leaves clients; the auth service's own gateway has none.
        self._place: Place | None = None
        if self._tunnels is not None and reports:
            folder = built.gate.settings.data_dir / "gateway" / "succession"
            self._place = Place(reactor, folder, index, self._inherit)
        self._descriptors = descriptors
        self._in_thread = in_thread
        self._acceptors: dict[str, tuple[Bound, Acceptor]] = {}
        #: Open endpoints that give no descriptor.
        self._ports: dict[str, tuple[Bound, IListeningPort]] = {}
        self._next: _Next | None = None
        self._preparing = False
        self._most = most
        self._watch = CertificateWatch(
            reactor,
            store=lambda: self.gateway.gate.certificates,
            renew=self._renew,
            busy=lambda: self._preparing,
            tells=index == 0,
        )
        self._trimmer = Trimmer(reactor, lambda: sum(self.gateway.tally.active.values()))
        self._drained: Deferred[int] | None = None

    # -- ICrew -----------------------------------------------------------------------------

    async def begin(self, orders: Orders) -> None:
        if self._membership is not None:
            gate = self.gateway.gate
            names = cluster_names(gate.settings, gate.protocols)
            self._membership.public = gate.settings.public.web
            await self._membership.start(names, self._renew, self.gateway.end_those)
            self._mode = self._membership.view.mode
            self.built = await self._build(orders.settings)
        ports = await self._open_ports(orders)
        self._take(_Next(orders, self.built, ports))
        if self.gateway.passing is not None:
            self.gateway.passing.start()
        if self._place is not None:
            self._place.start()
        self._trimmer.start()
        if self.reporting is not None:
            self.reporting.start()

    async def prepare(self, orders: Orders) -> Sequence[str]:
        self._preparing = True
        try:
            if self._membership is not None:
                protocols = self.gateway.gate.protocols
                self._membership.public = orders.settings.public.web
                await self._membership.follow(cluster_names(orders.settings, protocols))
            built = await self._build(orders.settings)
            self._next = _Next(orders, built, await self._open_ports(orders))
        except BaseException:
            self._preparing = False
            raise
        return built.remarks

    async def commit(self) -> None:
        prepared, self._next, self._preparing = self._next, None, False
        if prepared is not None:
            self._take(prepared)

    def abort(self) -> None:
        prepared, self._next, self._preparing = self._next, None, False
        if prepared is not None:
            for port in prepared.ports.values():
                port.stopListening()

    async def stop_accepting(self, finish: bool) -> None:
        self.gateway.succeeded = not finish
        for _, acceptor in self._acceptors.values():
            if finish:
                acceptor.finish()
            else:
                acceptor.stop()
        self._acceptors.clear()
        for _, port in self._ports.values():
            port.stopListening()
        self._ports.clear()
        if self._place is not None:
            self._place.stop()
        if not finish:
            if self.reporting is not None:  # while the auth service beside us answers
                self.reporting.leave()
            await self._let_in()

    async def _let_in(self) -> None:
        """Another process serves: have those who came last reach what they want, then agents go.

        Who has come there meanwhile waits for the agents, so this must not take long.
        """
        until = self._reactor.seconds() + _LET_IN_SECONDS
        while self.gateway.opening() and self._reactor.seconds() < until:
            await deferLater(self._reactor, _LOOK_SECONDS)
        if self._tunnels is not None:
            self._tunnels.drain(self._way_onward())

    def drain(self, seconds: float) -> Deferred[int]:
        if self.gateway.passing is not None:
            self.gateway.passing.stop()
        self._watch.stop()
        self._trimmer.stop()
        if self.reporting is not None:
            self._sockets.clear()
            self.reporting.leave()
        if self._membership is not None:
            self._membership.linger()
        if self._tunnels is not None:
            self._tunnels.drain(self._way_onward())
        drained = self._drained = Deferred()
        self.gateway.drain(seconds).addBoth(self._ended)
        return drained

    def cut(self) -> None:
        left = sum(self.gateway.tally.active.values())
        self.gateway.close_all()
        self._ended(left)

    def reopen_logs(self) -> None:
        """The daemon's own logs are all there are."""

    async def connections(self) -> list[dict[str, Any]]:
        return self.gateway.connections()

    async def tally(self) -> dict[str, Any]:
        tally, book = self.gateway.tally, self.ledger.book
        for way, count in book.totals.items():
            tally.uses[way] = [count, book.active[way]]
        return counts.fields(tally)

    async def explain(
        self, listener: str, sni: str | None, alpn: Sequence[str], cert_pem: str | None
    ) -> dict[str, Any]:
        return explain(self.gateway.gate, listener, sni, alpn, cert_pem)

    def members(self) -> list[dict[str, Any]]:
        return []

    async def cluster(self) -> dict[str, Any] | None:
        if self._membership is None:
            return None
        offered = () if self._tunnels is None else self._tunnels.tunnels.offers("app")
        found = uncovered(self.gateway.gate, offered)
        return {
            **self._membership.told(),
            "mode": self._membership.view.mode,
            "mode_age_seconds": None if self._told is None else self._told.age,
            "uncovered": found,
        }

    async def foresee(self, text: str, settings: Settings) -> dict[str, Any] | None:
        return None  # an auth service of this process is not the crew's

    # -- inside ----------------------------------------------------------------------------

    def _inherit(self, sock: socket.socket, asked: Asked) -> None:
        listener = asked.listener if asked.listener in self.gateway.gate.entrances else WEB
        inherit(self.gateway, listener, sock, asked)

    def _way_onward(self) -> Callable[[Asked], IReach] | None:
        """How to reach what agents offer that have gone to our successor."""
        place, poller = self._place, self.gateway.poller
        if place is None or not self.gateway.succeeded:
            return None
        return lambda asked: Onward(place, poller, asked)

    def _ended(self, cut: int | Failure) -> None:
        if self._tunnels is not None:
            self._tunnels.stop()
        if self.reporting is not None:
            self.reporting.stop()
        if self._membership is not None:
            self._membership.stop()
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.callback(cut if isinstance(cut, int) else 0)

    def _take(self, prepared: _Next) -> None:
        """Put *prepared* in force, in one turn of the reactor."""
        orders = prepared.orders
        for name, (bound, acceptor) in list(self._acceptors.items()):
            if bound not in orders.sockets.values():
                acceptor.finish()
                del self._acceptors[name]
        for name, (bound, port) in list(self._ports.items()):
            if orders.sockets.get(name) is not bound:
                port.stopListening()
                del self._ports[name]
        self.built = prepared.built
        self.gateway.take(prepared.built.gate)
        by_bound: dict[int, Acceptor] = {id(bound): one for bound, one in self._acceptors.values()}
        self._acceptors = {}
        for name, bound in orders.sockets.items():
            if bound.socket is None:
                if name in prepared.ports:
                    self._ports[name] = (bound, prepared.ports[name])
                continue
            known = by_bound.get(id(bound))
            if known is None:
                known = self._acceptor(name, bound.socket)
                known.start()
            elif known.name != name:
                known.name = name
                known.factory = self.gateway.factory(name)
            self._acceptors[name] = (bound, known)
        self._audit.strict = orders.settings.audit_strict
        if self._membership is not None:
            self._membership.view.default_mode = orders.settings.mode
            self._membership.view.stale_limit_seconds = orders.settings.strict_stale_seconds
        if self._tunnels is not None:
            self._tunnels.follow()
        self._watch.follow(orders.settings)
        self._note(orders)

    def _note(self, orders: Orders) -> None:
        """Remember what is told of these orders, and tell it."""
        self._sockets = {name: bound.address for name, bound in orders.sockets.items()}
        now = time.time()
        self._since = {name: self._since.get(name, now) for name in self._sockets}
        self._tell_mode()
        if self.reporting is not None:
            self._file = file_facts(orders.text, orders.settings)
            self.reporting.at_once()

    def _tell_mode(self) -> None:
        """Count from now on for how long clients are told the mode, if any can come."""
        if self._membership is not None and self._told is not None and self._sockets:
            self._told.told(self._membership.view.mode)

    def _mode_changed(self, what: frozenset[str]) -> None:
        self._tell_mode()
        if self.reporting is not None and "cluster_networking_config" in what:
            self.reporting.at_once()

    def _facts(self) -> dict[str, Any]:
        """What is told of this gateway; see `service.reporting`."""
        settings, membership = self.gateway.gate.settings, self._membership
        assert membership is not None
        active = self.gateway.tally.active
        return facts(
            settings,
            worker=self._index,
            mode=mode_in_force(membership.view.mode, [one.name for one in settings.listeners]),
            file=self._file,
            listeners=told_ports(settings, self._sockets, active, self._since),
        )

    def _acceptor(self, name: str, listening: socket.socket) -> Acceptor:
        factory = self.gateway.factory(name)
        return Acceptor(
            self._reactor, name, listening, factory, self._descriptors, self._most, Owned
        )

    async def _open_ports(self, orders: Orders) -> dict[str, IListeningPort]:
        """Open endpoints that give no descriptor and are not open.

        Raises:
            CannotListen: one cannot be opened; none has been.
        """
        opened: dict[str, IListeningPort] = {}
        for name, bound in orders.sockets.items():
            if bound.socket is not None or self._ports.get(name, (None,))[0] is bound:
                continue
            try:
                endpoint = serverFromString(self._reactor, bound.endpoint)
                opened[name] = await endpoint.listen(self.gateway.factory(name))
            except Exception as e:
                for port in opened.values():
                    port.stopListening()
                raise CannotListen(name, bound.endpoint, str(e)) from e
        return opened

    async def _build(self, settings: Settings) -> Built:
        trust = None
        if self._membership is not None:
            trust, settings = self._membership.trust, self._membership.named(settings)
        built: Built = await self._in_thread(lambda: build(settings, trust))
        return built

    async def _renew(self) -> None:
        """Build the gate anew from the same settings, because a file has changed.

        Raises:
            GateError: it cannot be built; the old one stays.
        """
        settings = self.gateway.gate.settings
        built = await self._build(settings)
        if self.gateway.gate.settings is not settings or self._preparing:
            raise ReloadRefused(["a reload came in between"])
        self.built = built
        self.gateway.take(built.gate)
