"""The gateway's side of reverse tunnels: agents come in, clients go out to them.

1. `door` takes an agent's connection; `tunnel.door` reads its HELLO.
2. A control connection becomes a session, which serves in place of an older one of the same
   agent once it has answered to a ping; a stream goes to the pool of its session.
3. `reach` is a client's way to what an agent offers.
4. `moves` and `drain` ask agents to dial anew; `refresh` tells them what has changed.

Nothing here decides who may reach what: the protocol has, before it asks, and the agent will.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from attrs import frozen
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Protocol
from zope.interface import implementer

import tlsgate
from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.core.greetings import AgentHello, Changed, GatewayHello, spread_seconds
from tlsgate.core.offers import Asked, Offer
from tlsgate.errors import AgentBusy, Denied, GateError
from tlsgate.interfaces import IReach, IRouteContext, ITunnels
from tlsgate.net.ends import End, SecureEnd
from tlsgate.net.gateway import spell
from tlsgate.net.wheel import Wheel
from tlsgate.tunnel.agents import Agents
from tlsgate.tunnel.budget import Budget
from tlsgate.tunnel.door import Door
from tlsgate.tunnel.held import HeldStream, MakeStream
from tlsgate.tunnel.moves import Moves
from tlsgate.tunnel.passage import Passage
from tlsgate.tunnel.rights import ROUTE, check_offers
from tlsgate.tunnel.session import Origin, Session
from tlsgate.tunnel.words import first_words, refusal

#: The periods of pings after which the kernel gives a control connection up. Pings have found
#: out by then, after four at most, and ended busy streams, too; the kernel would not.
_GIVE_UP_PINGS: Final = 6


@frozen(kw_only=True)
class Facts:
    """What agents are told of this gateway.

    Attributes:
        gateway: its name; `worker` the number of this process among its `workers`.
        ping_seconds: between two pings of a control connection.
        gateways: "host:port" of the cluster's other gateways, which agents ask for the way.
        spares: idle streams of each agent in quiet times.
        most: streams of each agent.
    """

    gateway: str
    worker: str = "0"
    workers: tuple[str, ...] = ("0",)
    ping_seconds: float = 15.0
    gateways: tuple[str, ...] = ()
    spares: int = 1
    most: int = 1000

    def changed(self) -> Changed:
        """As a word on control connections."""
        return Changed(
            ping_seconds=self.ping_seconds,
            spares=self.spares,
            workers=self.workers,
            gateways=self.gateways,
        )


def _nobody() -> None:
    return None


@implementer(ITunnels)
class Tunnels:
    """See the module.

    Args:
        facts: what agents are told; asked anew each time.
        clock: for moving agents in turns.
        wheel, now: for waits; `wall`: seconds since the epoch.
        make_stream: makes a `tunnel.stream.GatewayStream`.
        name_session: gives a session's identifier, which nobody can guess.

    Attributes:
        changed: called when somebody has come or gone, or offers something else.
        moved: called when somebody is further on the way to another listener, or cannot go.
    """

    def __init__(
        self,
        facts: Callable[[], Facts],
        make_stream: MakeStream,
        *,
        clock: Any,
        wheel: Wheel,
        now: Callable[[], float],
        wall: Callable[[], float] = time.time,
        name_session: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self.changed: Callable[[], None] = _nobody
        self.moved: Callable[[], None] = _nobody
        self.agents = Agents(now)
        self.budget = Budget()
        self.wheel = wheel
        self.now = now
        self._wall = wall
        self._facts = facts
        self._told = facts()
        self._make_stream = make_stream
        self._name_session = name_session
        self.moves = Moves(self.agents, clock, self._moved)

    # -- `ITunnels` --

    def offers(self, kind: str) -> Sequence[Offer]:
        """See `ITunnels`."""
        return self.agents.offers(kind)

    def offer(self, kind: str, name: str) -> Offer | None:
        """See `ITunnels`."""
        return self.agents.offer(kind, name)

    def reach(self, asked: Asked, beside: IReach | None = None) -> IReach:
        """See `ITunnels`."""
        agent = getattr(beside, "agent", None)
        return Passage(self.agents, asked, self.wheel, agent)

    def door(self, context: IRouteContext) -> IProtocolFactory:
        """See `ITunnels`."""
        identity = self._checked(context)
        seconds = context.settings.waits(context.listener).opening_seconds
        return cast(IProtocolFactory, _Once(Door(self, context, identity, seconds)))

    # -- what doors ask --

    def refusal(self, error: GateError) -> bytes:
        """A HELLO that says why there is no session."""
        return refusal(error, self._told.gateway)

    def welcome(self, session: str) -> bytes:
        """The HELLO of a connection of this session."""
        facts = self._told
        return first_words(
            GatewayHello(
                gateway=facts.gateway,
                worker=facts.worker,
                workers=facts.workers,
                version=tlsgate.__version__,
                session=session,
                ping_seconds=facts.ping_seconds,
                spares=facts.spares,
                gateways=facts.gateways,
                spread_seconds=spread_seconds(len(self.agents)),
            )
        )

    def admit(
        self, hello: AgentHello, context: IRouteContext, wire: Any, identity: Identity
    ) -> Session:
        """Let an agent serve by the control connection *wire* from now on."""
        facts, claims = self._told, identity.claims
        assert claims is not None
        session = Session(
            self._name_session(),
            hello,
            claims,
            Origin(
                listener=context.listener,
                transport="tls" if context.choice.token is None else "tls-alpn",
                address=spell(context.peer),
                since=self._wall(),
                until=identity.not_after,
            ),
            self,
            wire,
            wheel=self.wheel,
            now=self.now,
            wall=self._wall,
            pace=lambda: self._told.ping_seconds,
            spares=facts.spares,
            most=facts.most,
        )
        wire.write(self.welcome(session.id))
        self._give_up_after(wire)
        self.moves.came(session)
        for older in self.agents.hold(session):
            older.drain()
        session.start()
        self._look()
        return session

    def session_of(self, hello: AgentHello, claims: Claims) -> Session:
        """The session that a stream of the holder of *claims* belongs to.

        Raises:
            Denied: it is another agent's.
            AgentBusy: there is none any more, or it has streams enough.
        """
        session = self.agents.find(hello.session)
        if session is None:
            raise AgentBusy(hello.agent, "its session is over; begin another")
        if session.agent != hello.agent or not set(session.roles) <= set(claims.system_roles):
            raise Denied(ROUTE, hello.agent, "the session is another agent's")
        if session.draining:
            raise AgentBusy(hello.agent, "its session drains")
        if session.pool.full:
            raise AgentBusy(hello.agent, "it has as many streams as it may have")
        return session

    def take_stream(
        self,
        session: Session,
        end: End,
        keep: Callable[[Any], None],
        until: float,
        unsent: bytes,
    ) -> None:
        """Let a stream serve, whose HELLO is answered.

        Args:
            end: of its socket, which is the stream's from here on.
            keep: `IRouteContext.keep`.
            until: when the certificate ends by which it came.
            unsent: what of our HELLO the socket did not take; a socket that is so full at its
                beginning is of no use.
        """
        if unsent or not isinstance(end, SecureEnd):
            end.lease.abort()
            return
        stream = HeldStream(session, end, self._make_stream, until, now=self.now, wall=self._wall)
        keep(stream)
        session.pool.added(stream)

    # -- `session.Owner` --

    def offered(self, session: Session, offers: tuple[Offer, ...]) -> None:
        """See `session.Owner`."""
        check_offers(session.claims, session.roles, offers)
        self.agents.offered(session, offers)
        self.changed()

    def rests(self, session: Session) -> None:
        """See `session.Owner`."""
        for older in self.agents.rest(session):
            older.drain()
        self._look()

    def proved(self, session: Session) -> None:
        """See `session.Owner`."""
        if self.agents.held(session):
            for older in self.agents.add(session):
                older.drain()
            self._look()

    def unmoved(self, session: Session) -> None:
        """See `session.Owner`."""
        self.moves.look()

    def gone(self, session: Session) -> None:
        """See `session.Owner`."""
        for older in self.agents.remove(session):
            older.drain()
        self._look()

    # -- the gateway's own wishes --

    def refresh(self) -> None:
        """Tell every agent what has changed of the facts, and ping by them."""
        before, self._told = self._told, self._facts()
        if before.changed() == self._told.changed():
            return
        for session in self.agents:
            session.tell(self._told.changed())
            if before.ping_seconds != self._told.ping_seconds:
                session.paced()

    def drain(self, why: str, onward: Callable[[Asked], IReach] | None = None) -> None:
        """Tell every agent at once that this process stops.

        Args:
            onward: the way to a target through the process that takes its place; None: none does.
        """
        self.stop()
        if onward is not None:
            self.agents.succeeded(onward)
        for session in self.agents:
            session.move(why)

    def stop(self) -> None:
        """Ask nobody to move any more."""
        self.moves.stop()

    def sessions(self) -> list[dict[str, Any]]:
        """Who has a control connection, as JSON types; see POST /v1/gateway/agents."""
        return [
            {
                "name": one.agent,
                "roles": list(one.roles),
                "version": one.version,
                "hostname": one.hostname,
                "listener": one.origin.listener,
                "transport": one.origin.transport,
                "address": one.origin.address,
                "worker": self._told.worker,
                "since": one.origin.since,
                "streams": one.pool.idle + len(one.pool.busy),
                **self.moves.told(one),
            }
            for one in self.agents
        ]

    # -- inside --

    def _moved(self) -> None:
        self.changed()
        self.moved()

    def _look(self) -> None:
        self.moves.look()
        self.changed()

    def _checked(self, context: IRouteContext) -> Identity:
        identity, cluster = context.identity, context.cluster
        name = "anyone" if identity is None else identity.name
        if identity is None or identity.claims is None or cluster is None:
            raise Denied(ROUTE, name, "no certificate of the cluster")
        claims = identity.claims
        if not cluster.is_ours(identity) or claims.cluster != cluster.name:
            raise Denied(ROUTE, claims.name, "the certificate is not of this cluster")
        if claims.kind != "host":
            raise Denied(ROUTE, claims.name, "the certificate is of a user, not of an agent")
        if (lock := cluster.lock_on(identity)) is not None:
            raise Denied(ROUTE, claims.name, str(lock))
        return identity

    def _give_up_after(self, wire: Any) -> None:
        """Have the kernel end a control connection that takes nothing, as pings would."""
        give_up = getattr(wire, "give_up_after", None)
        if give_up is not None:
            give_up(_GIVE_UP_PINGS * self._told.ping_seconds)


class _Once:
    """A factory for the one connection that it is made for."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Twisted calls this."""
        return self._protocol

    def doStart(self) -> None:
        """Nothing to start."""

    def doStop(self) -> None:
        """Nothing to stop."""
