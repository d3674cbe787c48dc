"""The agent in this process: joined, with its tunnels, and what is served through them.

1. `begin` joins (`service.enrolment`), starts the labels' commands, and dials gateways
   (`tunnel.agent`). It listens nowhere.
2. `service.requests` decides about each client, and carries what is allowed.
3. A reload changes labels, addresses and timeouts while everything goes on.
4. `drain` takes nobody new, and waits for those who are served.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from tlsgate.cluster.hostfiles import HostFiles
from tlsgate.cluster.joining import Joining
from tlsgate.cluster.view import ClusterView
from tlsgate.config.settings import AgentSettings, Join, OfferSettings, Settings
from tlsgate.core.offers import Offer
from tlsgate.errors import NotServed, ReloadRefused
from tlsgate.interfaces import IAudit
from tlsgate.net.poller import Poller
from tlsgate.net.tally import Tally
from tlsgate.net.wheel import Wheel
from tlsgate.registry import load_targets
from tlsgate.service import counts
from tlsgate.service.crew import ICrew, Orders
from tlsgate.service.enrolment import Enrolment
from tlsgate.service.judging import Judge
from tlsgate.service.labels import Labels
from tlsgate.service.memory import Trimmer
from tlsgate.service.querytrail import QueryTrail
from tlsgate.service.requests import Requests
from tlsgate.service.sshnode import NoSsh, SshNode
from tlsgate.targets import check_files, openings
from tlsgate.targets.base import Openings, nothing
from tlsgate.tls.fast import Slab
from tlsgate.tls.peer import load_cas
from tlsgate.tunnel import finding
from tlsgate.tunnel.agent import Agent
from tlsgate.tunnel.dialling import Badge, Means
from tlsgate.tunnel.stream import AgentStream

if TYPE_CHECKING:
    from tlsgate.net.gateway import Journal

#: What a change of these can mean to somebody who is served.
_CONCERNS = frozenset({"lock", "role", "user", "cert_authority", "cluster_auth_preference"})

_Offered = tuple[Offer, OfferSettings]


@implementer(ICrew)
class AgentCrew:
    """See the module.

    Args:
        reactor: Twisted's.
        settings: the first ones, of an agent.
        journal: gets a line for each client that was served.
        audit: where events go.
        in_thread: `twisted.internet.threads.deferToThread`.
        environ: of the process, for an HTTP proxy.
        now: seconds since the epoch.
        chance: a random number from 0 up to 1.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        *,
        journal: Journal,
        audit: IAudit,
        in_thread: Callable[..., Deferred[Any]],
        environ: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        agent, join = _parts(settings)
        environ = os.environ if environ is None else environ
        self._reactor = reactor
        self._settings = settings
        self._in_thread = in_thread
        self._next: tuple[Settings, tuple[Labels, ...]] | None = None
        self._openings: Openings = {}
        self._drained: Deferred[int] | None = None
        self._limit: IDelayedCall | None = None
        self._over = False
        self.means = Means(
            reactor=reactor,
            poller=Poller(reactor),
            wheel=Wheel(reactor),
            slab=Slab(),
            now=reactor.seconds,
            time=now,
            environ=environ,
        )
        folder = settings.data_dir / "agent"
        files = HostFiles(folder, *agent.roles)
        joining = Joining(join, settings.node_name, files, reactor, now, environ=environ)
        view = ClusterView(settings.cluster_name, joining.door(), reactor, now, mode=settings.mode)
        view.stale_limit_seconds = settings.strict_stale_seconds
        self.view = view
        self._labels = self._make_labels(agent)
        self._known: dict[tuple[str, str], _Offered] | None = None
        self._given: Mapping[str, str] = {}
        #: What the host's own sshd shows and reads, and what it tells of.
        self.ssh: SshNode | NoSsh = NoSsh()
        if "node" in agent.roles:
            self.ssh = SshNode(
                folder / "ssh",
                view,
                self._node_labels,
                reactor,
                name=settings.node_name,
                log=agent.sshd_log,
                now=now,
            )
        hostname = socket.gethostname()[:256]
        self.enrolment = Enrolment(
            joining,
            view,
            self.ssh,
            folder,
            reactor,
            renewed=self._renewed,
            relabelled=self._offers_changed,
            told_of=lambda gateways: self.tunnels.told_of(gateways),
            offers=self.offers,
            hostname=hostname,
            now=now,
        )
        judge = Judge(view, self._offer, now)
        self._queries = QueryTrail(audit, view.door.ask, reactor, now)
        self.requests = Requests(
            self.means,
            judge,
            lambda: self._settings.timeouts,
            self._resolve,
            journal,
            self._queries,
            self._offered,
            view.door,
            {**openings(), **self._dropped(settings)},
        )
        view.on_change(self._changed)
        self.tunnels = Agent(
            self.means,
            join.servers,
            agent.roles,
            badge=self._badge,
            name=lambda: self.enrolment.joined.name,
            find=lambda server: finding.find(reactor, server, environ),
            asked=self.requests.asked,
            chance=chance,
            make_stream=AgentStream,
        )
        self._trimmer = Trimmer(reactor, lambda: len(self.requests.served))

    # -- ICrew -----------------------------------------------------------------------------

    async def begin(self, orders: Orders) -> None:
        self._check(_parts(self._settings)[0], self.requests.openings)
        for one in self._labels:
            one.start()
        await self.enrolment.start()
        if self._over:
            return
        self.ssh.start()
        self.tunnels.offer(self.offers())
        self.tunnels.start()
        self._trimmer.start()

    async def prepare(self, orders: Orders) -> Sequence[str]:
        settings = orders.settings
        agent, _ = _parts(settings)
        if settings.node_name != self._settings.node_name:
            raise ReloadRefused(
                ["teleport.nodename cannot change while the agent runs; restart it"]
            )
        self._openings = {**openings(), **self._dropped(settings)}
        self._check(agent, self._openings)
        if agent.roles != _parts(self._settings)[0].roles:
            why = (
                "ssh_service, db_service and app_service cannot be switched on or off while "
                "the agent runs, since its certificate names them; restart it"
            )
            raise ReloadRefused([why])
        self._next = (settings, self._make_labels(agent))
        return ()

    async def commit(self) -> None:
        prepared, self._next = self._next, None
        if prepared is None:
            return
        before, self._labels = self._labels, prepared[1]
        self._settings = prepared[0]
        self.requests.openings = self._openings
        self.view.stale_limit_seconds = self._settings.strict_stale_seconds
        self.view.default_mode = self._settings.mode
        for old in before:
            for new in self._labels:
                new.keep(old)
            old.stop()
        for one in self._labels:
            one.start()
        self._offers_changed()

    def abort(self) -> None:
        self._next = None

    async def stop_accepting(self, finish: bool) -> None:
        """Nothing listens; `drain` tells the gateways."""

    def drain(self, seconds: float) -> Deferred[int]:
        drained = self._drained = Deferred()
        self._over = True
        self.enrolment.linger()
        for one in self._labels:
            one.stop()
        self._trimmer.stop()
        self._limit = self._reactor.callLater(seconds, self.cut)
        self.tunnels.drain().addCallback(lambda _: self._ended(0))
        return drained

    def cut(self) -> None:
        left = len(self.requests.served)
        self._over = True
        drained, self._drained = self._drained, None  # or it would hear of none
        self.tunnels.cut()
        self._drained = drained
        self._ended(left)

    def reopen_logs(self) -> None:
        """The daemon's own logs are all there are."""

    async def connections(self) -> list[dict[str, Any]]:
        return self.requests.told()

    async def tally(self) -> dict[str, Any]:
        tally = Tally()
        tally.active["tunnel"] = len(self.requests.served)
        return counts.fields(tally)

    async def explain(
        self, listener: str, sni: str | None, alpn: Sequence[str], cert_pem: str | None
    ) -> dict[str, Any]:
        raise NotServed("explain", "an agent has no listeners; ask at a gateway")

    def members(self) -> list[dict[str, Any]]:
        return []

    async def cluster(self) -> dict[str, Any] | None:
        return {**self.enrolment.told(), "tunnels": self.tunnels.told()}

    async def foresee(self, text: str, settings: Settings) -> dict[str, Any] | None:
        return None

    # -- inside ----------------------------------------------------------------------------

    def offers(self) -> tuple[Offer, ...]:
        """What is offered now, with the labels of the join token."""
        return tuple(offer for offer, _ in self._offering().values())

    def _offering(self) -> Mapping[tuple[str, str], _Offered]:
        """What is offered, and what the file says of it; made anew when a label is another."""
        given = self.enrolment.labels
        if self._known is None or given is not self._given:
            self._given, self._known = given, {}
            for one in self._labels:
                offer = one.offer()
                offer = evolve(offer, labels={**offer.labels, **given})
                self._known[offer.kind, offer.name] = offer, one.settings
        return self._known

    def _offer(self, kind: str, name: str) -> Offer | None:
        found = self._offering().get((kind, name))
        return None if found is None else found[0]

    def _offered(self, kind: str, name: str) -> OfferSettings:
        return self._offering()[kind, name][1]

    def _dropped(self, settings: Settings) -> Openings:
        """What drop-ins of the agent's folder serve."""
        loaded = load_targets(settings.plugins_dir)
        for file, why in loaded.failed:
            self.log.error("the plug-in {file} does not load: {why}", file=file, why=why)
        for file in loaded.changed:
            self.log.warn(  # noqa: G010 -- Twisted's name
                "{file} has changed; the agent runs the older one until it is restarted", file=file
            )
        return {key: target.begin for key, target in loaded.targets.items()}

    def _check(self, agent: AgentSettings, openings: Openings) -> None:
        """Make sure that everything that is offered can be served.

        Raises:
            BadKeyPair: a file of authorities cannot be used.
            NotServed: there is no drop-in for a database's protocol.
        """
        check_files(agent.offers)
        for offer in agent.offers:
            if (offer.kind, offer.protocol) not in openings:
                why = f"no plug-in in {self._settings.plugins_dir} serves it, for {offer.name}"
                raise NotServed(offer.protocol, why)

    def _node_labels(self) -> Mapping[str, str]:
        node = (one.labels for one in self.offers() if one.kind == "node")
        return next(node, {})

    def _make_labels(self, agent: AgentSettings) -> tuple[Labels, ...]:
        return tuple(Labels(one, self._reactor, self._offers_changed) for one in agent.offers)

    def _offers_changed(self) -> None:
        """A label, or an address, is another one."""
        self._known = None
        if self._over:
            return
        self.requests.look()
        self.ssh.refresh()
        self.tunnels.offer(self.offers())
        self.enrolment.beat()

    def _changed(self, what: frozenset[str]) -> None:
        if "cert_authority" in what:
            for opening in self.requests.openings.values():
                getattr(opening, "forget", nothing)()
        if what & _CONCERNS:
            self.requests.look()

    def _renewed(self) -> None:
        self.tunnels.renewed()

    def _badge(self) -> Badge:
        joined, state = self.enrolment.joined, self.view.state
        cas = () if state is None else load_cas(state.authorities["host"])
        return Badge(pair=joined.pair, cluster=joined.cluster, cas=cas or joined.cas)

    def _resolve(self, host: str, port: int) -> Deferred[Any]:
        return self._in_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)

    def _ended(self, cut: int) -> None:
        limit, self._limit = self._limit, None
        if limit is not None and limit.active():
            limit.cancel()
        self.ssh.stop()
        self._queries.stop()
        self.enrolment.stop()
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.callback(cut)


def _parts(settings: Settings) -> tuple[AgentSettings, Join]:
    assert settings.agent is not None and settings.join is not None
    return settings.agent, settings.join
