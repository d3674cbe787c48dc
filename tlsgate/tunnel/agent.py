"""An agent's tunnels: a session with every gateway, and every worker of it, that it is told of.

1. For each server of the configuration a `Route` asks for /webapi/find on each dial, and
   takes address and way from that one document (`core.tunnelway`).
2. What gateways tell of others, and of their own workers, becomes more routes. A gateway
   that two routes lead to is held by the newer one; the other sleeps until that ends.
3. `tunnel.reach` says when each dials; `tunnel.tether` is the session that comes of it.
4. `offer` tells every gateway what is offered now; `renewed` dials each anew with a new
   certificate; `drain` ends all of it in order.

`Route` stands beside `Agent` in this long file: each calls the other at every step of a route.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

import tlsgate
from tlsgate.core.greetings import LONGEST_SPREAD_SECONDS, AgentHello, GatewayHello, Inventory
from tlsgate.core.offers import Asked, Offer
from tlsgate.core.tunnelway import Way, tunnel_way
from tlsgate.errors import GateError, TunnelBroken
from tlsgate.net.lease import Lease
from tlsgate.tls.fast import Session
from tlsgate.tunnel.dialling import Badge, Dialling, Means
from tlsgate.tunnel.reach import reach
from tlsgate.tunnel.speaking import Speaking
from tlsgate.tunnel.tether import Stream, Tether

#: Failures in a row after which the log says so.
_TELL_AFTER: Final = 2
#: Routes that gateways may tell of.
_MOST_ROUTES: Final = 256

Find = Callable[[str], Awaitable[Mapping[str, Any]]]
MakeStream = Callable[..., Stream]


class Agent:
    """See the module.

    Args:
        badge: who the agent is; asked at each dial.
        find: asks a server for its document.
        asked: takes each request: what is asked, and the stream's `Request`.
        chance: a random number from 0 up to 1.
        make_stream: `tunnel.stream.AgentStream`.
    """

    log = Logger()

    def __init__(
        self,
        means: Means,
        servers: Sequence[str],
        roles: Sequence[str],
        *,
        badge: Callable[[], Badge],
        name: Callable[[], str],
        find: Find,
        asked: Callable[[Asked, Any], None],
        chance: Callable[[], float],
        make_stream: MakeStream,
    ) -> None:
        self.means = means
        self.find = find
        self.badge = badge
        self.chance = chance
        self.draining = False
        self.offers: tuple[Offer, ...] = ()
        self.hostname = socket.gethostname()
        self._name = name
        self._roles = tuple(roles)
        self._asked = asked
        self._make_stream = make_stream
        self._routes: dict[tuple[str, str | None], Route] = {}
        #: Who holds a gateway's worker.
        self._holders: dict[tuple[str, str], Route] = {}
        #: Every session that is not over, those that drain too.
        self.tethers: set[Tether] = set()
        self._drained: list[Deferred[None]] = []
        #: Gateways, as the auth service knows them.
        self._known: tuple[str, ...] = ()
        for server in servers:
            self._routes[server, None] = Route(self, server)

    def start(self) -> None:
        """Begin to dial."""
        for route in list(self._routes.values()):
            route.begin()

    def offer(self, offers: Sequence[Offer]) -> None:
        """Offer this from now on."""
        if tuple(offers) == self.offers:
            return
        self.offers = tuple(offers)
        inventory = Inventory(self.offers, self.hostname)
        for tether in list(self.tethers):
            if not tether.draining:
                tether.offer(inventory)

    def told_of(self, gateways: Sequence[str]) -> None:
        """The auth service says where gateways are, for who is configured with it alone."""
        self._known = tuple(gateways)
        self.seek()

    def seek(self) -> None:
        """Try the gateways that the auth service knows, where the servers are none."""
        if self.draining or self.tethers or not any(one.failed for one in self._routes.values()):
            return
        for address in self._known:
            if (address, None) not in self._routes and len(self._routes) < _MOST_ROUTES:
                made = self._routes[address, None] = Route(self, address, learnt=True)
                made.begin()

    def renewed(self) -> None:
        """There is a new certificate: use it everywhere, and lose nobody."""
        for route in list(self._routes.values()):
            route.move("it has a new certificate")

    def hello(self, kind: str, session: str = "") -> AgentHello:
        """What the agent says first."""
        return AgentHello(
            kind="control" if kind == "control" else "stream",
            agent=self._name(),
            cluster=self.badge().cluster,
            version=tlsgate.__version__,
            session=session,
            roles=self._roles,
            offers=self.offers if kind == "control" else (),
            hostname=self.hostname,
        )

    def told(self) -> list[dict[str, Any]]:
        """The sessions, as JSON types."""
        return [
            {
                "gateway": one.gateway,
                "worker": one.worker,
                "streams": one.streams,
                "busy": one.busy,
                "draining": one.draining,
            }
            for one in sorted(self.tethers, key=lambda one: (one.gateway, one.worker))
        ]

    # -- the end --

    def drain(self) -> Deferred[None]:
        """Look for no gateway any more, take nobody new; done when nobody is served."""
        self.draining = True
        for route in self._routes.values():
            route.stop()
        for tether in list(self.tethers):
            tether.drain()
        done: Deferred[None] = Deferred()
        self._drained.append(done)
        self._maybe_drained()
        return done

    def cut(self) -> None:
        """End everything now."""
        self.draining = True
        for route in self._routes.values():
            route.stop()
        for tether in list(self.tethers):
            tether.cut("the agent ends")
        self.tethers.clear()
        self._maybe_drained()

    def _maybe_drained(self) -> None:
        if not self.tethers:
            waiting, self._drained = self._drained, []
            for one in waiting:
                one.callback(None)

    # -- what routes tell --

    def settled(self, route: Route, tether: Tether) -> None:
        """*route* has a session."""
        self.tethers.add(tether)
        key = (tether.gateway, tether.worker)
        rival = self._holders.get(key)
        self._holders[key] = route
        if rival is not None and rival is not route:
            rival.park()
        self.learn(route, tether)

    def learn(self, route: Route, tether: Tether) -> None:
        """Have a route to whatever *tether* knows of."""
        if self.draining:
            return
        wanted: dict[tuple[str, str | None], Route] = {}
        for worker in tether.workers:
            if worker != tether.worker and (tether.gateway, worker) not in self._holders:
                wanted[route.server, worker] = Route(
                    self, route.server, learnt=route.learnt, worker=worker
                )
        known = {str(one.way) for one in self._routes.values() if one.way is not None}
        for address in tether.gateways:
            if address not in known:
                wanted[address, None] = Route(self, address, learnt=True)
        for key, made in wanted.items():
            if key not in self._routes and len(self._routes) < _MOST_ROUTES:
                self._routes[key] = made
                made.begin()
        for (server, number), one in list(self._routes.items()):
            gone = number is not None and server == route.server and number not in tether.workers
            if gone and one is not route:
                self._forget(one)
        self.forget_unnamed()

    def forget_unnamed(self) -> None:
        """Stop looking for gateways that nobody names any more, and that are not there.

        What is there is there, whoever names it: a gateway that has just started does not know
        of the others yet, and says so.
        """
        named = {one for tether in self.tethers for one in tether.gateways}
        named |= {one.server for one in self._routes.values() if one.tether is not None}
        for one in list(self._routes.values()):
            if one.learnt and one.server not in named:
                self._forget(one)

    def _forget(self, route: Route) -> None:
        self._routes = {key: one for key, one in self._routes.items() if one is not route}
        route.drain()

    def ended(self, route: Route, tether: Tether) -> None:
        """A session of *route* is over."""
        self.tethers.discard(tether)
        key = (tether.gateway, tether.worker)
        if self._holders.get(key) is route and route.tether is tether:  # and no older one of it
            del self._holders[key]
            if not self.draining:
                for one in list(self._routes.values()):
                    if one is not route:
                        one.wake()
        self._maybe_drained()

    def asked(self, tether: Tether, asked: Asked, request: Any) -> None:
        """A gateway has a client."""
        self._asked(asked, request)

    def make_stream(
        self,
        lease: Lease,
        session: Session,
        asked: Callable[[Asked, Any], None],
        idle: Callable[[Any], None],
        lost: Callable[[Any, GateError], None],
    ) -> Stream:
        """See `tether.Owner`."""
        means = self.means
        return self._make_stream(
            lease,
            session,
            slab=means.slab,
            wheel=means.wheel,
            now=means.now,
            asked=asked,
            idle=idle,
            lost=lost,
        )


class Route:
    """One address by which a gateway is reached, and the session that it leads to.

    Args:
        server: "host:port".
        learnt: another gateway has named it; False: the configuration has.
        worker: the only one of the gateway's that is meant; None: any.

    Attributes:
        way: where it was dialled last.
        tether: the newest session.
    """

    def __init__(
        self, agent: Agent, server: str, *, learnt: bool = False, worker: str | None = None
    ) -> None:
        self.server = server
        self.learnt = learnt
        self.way: Way | None = None
        self.tether: Tether | None = None
        self._wanted = worker
        self._worker = worker
        self._agent = agent
        self._reach = reach(self)
        self._failures = 0
        #: The longest first wait, as the gateway has said; each is a random part of it (R07).
        self._spread = LONGEST_SPREAD_SECONDS
        self._sleeps = False
        self._finding: Deferred[Any] | None = None
        self._dialling: Dialling | None = None
        self._again: IDelayedCall | None = None
        self._met: tuple[GatewayHello, Speaking] | None = None
        #: Sessions that drain once the newest has proved that it works.
        self._older: list[Tether] = []

    @property
    def failed(self) -> bool:
        """Whether it was tried last in vain."""
        return self._failures > 0

    def begin(self) -> None:
        """Look for the gateway."""
        self._reach.begin()

    def wake(self) -> None:
        """Look again, if it sleeps because another route held the gateway."""
        if self._sleeps:
            self._sleeps = False
            self._reach.begin()

    def park(self) -> None:
        """Another route holds the gateway."""
        self._sleeps = True
        self._reach.parked()
        for one in self._all():
            one.drain()

    def move(self, why: str) -> None:
        """Dial anew; the session that is there drains once there is another one."""
        if self.tether is not None and not self.tether.over:
            self._agent.log.info(
                "dialling the gateway {gateway} anew: {why}", gateway=self.tether.gateway, why=why
            )
        self._reach.moved()

    def drain(self) -> None:
        """Look for it no more, and take nobody new from it."""
        self.stop()
        for one in self._all():
            one.drain()

    def stop(self) -> None:
        """Look for it no more; the session is the agent's to end."""
        self._sleeps = False
        self._reach.stop()

    # -- effects of the machine --

    def find(self) -> None:
        """See `reach.Effects`."""
        finding = Deferred.fromCoroutine(self._find())
        self._finding = finding
        finding.addCallbacks(self._found, self._not_found)

    def _later(self, call: Callable[[], None]) -> None:
        """A machine takes no input while it handles one."""
        self._again = self._agent.means.reactor.callLater(0, self._run, call)

    def _run(self, call: Callable[[], None]) -> None:
        self._again = None
        call()

    async def _find(self) -> Way:
        return tunnel_way(await self._agent.find(self.server), self.server)

    def _found(self, way: Way) -> None:
        self._finding = None
        self.way = way
        self._reach.found()

    def _not_found(self, failure: Failure) -> None:
        self._finding = None
        error = failure.value
        if isinstance(error, GateError):
            self._failed(error)
        elif not failure.check(CancelledError):
            self._agent.log.failure("asking for the way", failure=failure)
            self._reach.failed()

    def _failed(self, error: GateError) -> None:
        self._failures += 1
        if self.tether is not None:
            self.tether.cannot_move(str(error))
        if self._failures == _TELL_AFTER:
            self._agent.log.warn(  # noqa: G010 -- Twisted's name
                "no tunnel to {server}: {why}; trying on", server=self.server, why=str(error)
            )
        self._reach.failed()
        self._agent.seek()

    def dial(self) -> None:
        """See `reach.Effects`."""
        assert self.way is not None
        agent = self._agent
        self._dialling = Dialling(
            agent.means,
            agent.badge(),
            self.way,
            self._worker,
            agent.hello("control"),
            self._greeted,
            self._undialled,
        )
        self._later(self._dialling.start)

    def _undialled(self, error: GateError) -> None:
        self._dialling = None
        self._failed(error)

    def _greeted(self, hello: GatewayHello, speaking: Speaking) -> None:
        self._dialling = None
        if self._wanted is not None and hello.worker != self._wanted:
            speaking.close()
            why = f"worker {self._wanted} is meant, and worker {hello.worker} answers"
            self._failed(TunnelBroken(why))
            return
        self._met = (hello, speaking)
        self._reach.greeted()

    def settle(self) -> None:
        """See `reach.Effects`."""
        assert self._met is not None and self.way is not None
        (hello, speaking), self._met = self._met, None
        older = self.tether
        if self._failures >= _TELL_AFTER or older is None:
            self._agent.log.info(
                "there is a tunnel to the gateway {gateway} (worker {worker}) at {way}",
                gateway=hello.gateway,
                worker=hello.worker,
                way=str(self.way),
            )
        self._spread = hello.spread_seconds
        if len(hello.workers) > 1:
            self._worker = hello.worker
        self.tether = Tether(hello, speaking, self, self._agent.means.wheel, self.way)
        if older is not None:
            self._older.append(older)
        self._agent.settled(self, self.tether)
        self._later(self.tether.start)

    def wait(self) -> None:
        """See `reach.Effects`."""
        longest = min(self._spread * 2**self._failures, LONGEST_SPREAD_SECONDS)
        seconds = longest * self._agent.chance()
        self._again = self._agent.means.reactor.callLater(seconds, self._run, self._reach.due)

    def forget(self) -> None:
        """See `reach.Effects`."""
        again, self._again = self._again, None
        if again is not None and again.active():
            again.cancel()
        finding, self._finding = self._finding, None
        if finding is not None:
            finding.cancel()
        dialling, self._dialling = self._dialling, None
        if dialling is not None:
            dialling.cancel()

    # -- what the session says (`tether.Owner`) --

    def dial_stream(
        self,
        tether: Tether,
        met: Callable[[Speaking], None],
        failed: Callable[[GateError], None],
    ) -> Callable[[], None]:
        """See `tether.Owner`; where the control connection went, whatever is told meanwhile."""
        agent = self._agent

        def greeted(hello: GatewayHello, speaking: Speaking) -> None:
            if (hello.gateway, hello.worker) != (tether.gateway, tether.worker):
                speaking.close()
                failed(TunnelBroken(f"another gateway answers, {hello.gateway}"))
            else:
                met(speaking)

        dialling = Dialling(
            agent.means,
            agent.badge(),
            tether.way,
            tether.worker if len(tether.workers) > 1 else None,
            evolve(agent.hello("stream"), session=tether.id),
            greeted,
            failed,
        )
        call = agent.means.reactor.callLater(0, dialling.start)

        def cancel() -> None:
            if call.active():
                call.cancel()
            dialling.cancel()

        return cancel

    def make_stream(self, *args: Any) -> Stream:
        """See `tether.Owner`."""
        return self._agent.make_stream(*args)

    def asked(self, tether: Tether, asked: Asked, request: Any) -> None:
        """See `tether.Owner`."""
        self._agent.asked(tether, asked, request)

    def told(self, tether: Tether) -> None:
        """See `tether.Owner`."""
        if tether is self.tether:
            self._agent.learn(self, tether)

    def moved(self, tether: Tether, why: str) -> None:
        """See `tether.Owner`."""
        if tether is self.tether and not self._agent.draining and not self._sleeps:
            self.move(why)

    def proved(self, tether: Tether) -> None:
        """See `tether.Owner`."""
        if tether is self.tether:
            self._failures = 0
            older, self._older = self._older, []
            for one in older:
                one.drain()

    def _all(self) -> list[Tether]:
        return self._older if self.tether is None else [*self._older, self.tether]

    def ended(self, tether: Tether, why: str) -> None:
        """See `tether.Owner`; where the newest has never worked the older one stays."""
        if tether in self._older:
            self._older.remove(tether)
        elif tether is self.tether and self._older:
            self.tether = self._older.pop()
            self.tether.cannot_move(f"the new tunnel has ended: {why}")
            self._failures += 1
            self._agent.ended(self, tether)
            self._reach.lost()
            return
        self._agent.ended(self, tether)
        if tether is self.tether:
            self.tether = None
            if not self._agent.draining and not self._sleeps:
                self._agent.log.warn(  # noqa: G010 -- Twisted's name
                    "the tunnel to the gateway {gateway} has ended: {why}",
                    gateway=tether.gateway,
                    why=why,
                )
            self._reach.lost()
            self._agent.forget_unnamed()
