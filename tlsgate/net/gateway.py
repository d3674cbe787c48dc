"""The gateway: what lives as long as the process, whatever the configuration.

A reload gives it another `Gate` with `take`; connections that are there go on with the
one they began with. Listeners are opened and closed by the service; the gateway makes
their factories.
"""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from tlsgate.core.access import Identity
from tlsgate.core.addresses import host_port
from tlsgate.errors import GateError, Hangup
from tlsgate.interfaces import IAudit, IAuthorizer, ICluster, IKept, ITunnels
from tlsgate.net.closing import Closings
from tlsgate.net.connection import Connection
from tlsgate.net.dial import Target, parse_target
from tlsgate.net.dispatcher import Dispatcher
from tlsgate.net.gate import Gate
from tlsgate.net.limits import Census
from tlsgate.net.noting import ILedger
from tlsgate.net.owner import Owned
from tlsgate.net.passing import Passing
from tlsgate.net.pinging import Pings
from tlsgate.net.poller import Poller
from tlsgate.net.relay import FlowKind
from tlsgate.net.splice import Pipes, SplicedFlow
from tlsgate.net.tally import Tally
from tlsgate.net.transport import ServedTransport
from tlsgate.net.wheel import Wheel
from tlsgate.tls.fast import HAS_BINDING, Slab

Journal = Callable[[Mapping[str, object]], None]

#: How often the end of a drain is looked for.
_LOOK_SECONDS: Final = 0.1
#: Who came so short a time ago, and is no further than that, is still on the way in.
_OPENING_SECONDS: Final = 2.0
_OPENING: Final = frozenset({"arriving", "handshake", "serving", "dialling"})
#: Causes by which somebody is kept from a route.
_DENIALS: Final = frozenset({"denied", "target_denied", "no_certificate", "bad_certificate"})
#: What auditors call a session with a target, by the kind of it; see `auth.events`.
_SESSIONS: Final = {"db": "db.session", "app": "app.session"}


def _open() -> None:
    return None


class Gateway:
    """All connections of one process.

    Args:
        reactor: Twisted's.
        journal: called once for each connection that has ended or was refused; a
            connection that sent no byte (a health check) is counted, not told.
        binding: use pyOpenSSL's private binding in the relay.
        cluster: that the gateway is part of; None: it stands alone.
        tunnels: the agents whose tunnels end here; None: there are none.
        closed: why nobody new may reach a target now; None: they may.

    Attributes:
        gate: the configuration for new connections; `take` must come before the first.
        draining: new connections are refused.
        succeeded: another process serves in its place. Nobody waits for this one's end, so a
            drain leaves even sessions that rest their time: what they have at the target
            (prepared statements, temporary tables) would be gone.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        audit: IAudit,
        authorizer: IAuthorizer,
        ledger: ILedger,
        journal: Journal,
        binding: bool = HAS_BINDING,
        cluster: ICluster | None = None,
        tunnels: ITunnels | None = None,
        closed: Callable[[], GateError | None] = _open,
    ) -> None:
        self.reactor = reactor
        self.gate: Gate
        self.audit = audit
        self.authorizer = authorizer
        self.ledger = ledger
        self.journal = journal
        self.binding = binding
        self.cluster = cluster
        self.tunnels = tunnels
        self.closed = closed
        self.tally = Tally()
        self.poller = Poller(reactor)
        self.wheel = Wheel(reactor)
        self.pings = Pings(self.wheel, self._ping_seconds)
        self.slab = Slab()
        self._pipes = Pipes()
        self.spliced: FlowKind = functools.partial(SplicedFlow, pipes=self._pipes)
        self.now: Callable[[], float] = reactor.seconds
        self.draining = False
        self.succeeded = False
        #: Where connections go that are meant for another worker; None: there is no other.
        self.passing: Passing | None = None
        self.census: Census
        self._by_listener: dict[str, Census] = {}
        self._live: dict[int, Connection] = {}
        self._closings = Closings(reactor, self._live.values, self._end)
        self._numbered = 0

    # -- configuration -------------------------------------------------------------------

    def take(self, gate: Gate) -> None:
        """New connections use *gate* from now on."""
        if not hasattr(self, "gate"):
            self.census = Census(gate.settings.limits, self.now)
        else:
            self._closings.follow(self.gate, gate)
        self.gate = gate
        self.census.limits = gate.settings.limits
        for name, census in self._by_listener.items():
            if name in gate.entrances:
                census.limits = gate.entrances[name].listener.limits

    def factory(self, listener: str) -> Factory:
        """The factory to listen with for *listener*."""
        return Entrances(self, listener)

    def receive(self, sock: socket.socket, listener: str, peer: Any, local: Any) -> None:
        """Take a connection that another worker has accepted; see `net.passing`."""
        if listener not in self.gate.entrances:
            sock.close()
            return
        transport = Owned(sock, peer, local)
        connection = Dispatcher(self, listener)
        connection.was_passed = True
        transport.protocol = connection
        connection.makeConnection(transport)

    def census_of(self, listener: str) -> Census:
        """The counts of one listener."""
        census = self._by_listener.get(listener)
        if census is None:
            limits = self.gate.entrances[listener].listener.limits
            census = self._by_listener[listener] = Census(limits, self.now)
        return census

    def target(self, gate: Gate, text: str) -> Target:
        """Parse a target that no route names, for a plug-in's `RelayTo`."""
        return parse_target(text, gate.contexts)

    @property
    def worker(self) -> int:
        """The number of this process among the gateway's workers."""
        return 0 if self.passing is None else self.passing.index

    def _ping_seconds(self) -> float | None:
        return None if self.cluster is None else self.cluster.ping_seconds

    # -- connections ---------------------------------------------------------------------

    def arrived(self, connection: Connection) -> None:
        """A connection has been accepted."""
        self._numbered += 1
        connection.number = self._numbered
        self._live[connection.number] = connection
        tally = self.tally
        tally.accepted[connection.listener] += 1
        tally.active[connection.listener] += 1

    def left(self, connection: Connection) -> None:
        """Its socket is closed: count it, and tell journal and audit."""
        del self._live[connection.number]
        listener, choice = connection.listener, connection.choice
        self.tally.active[listener] -= 1
        to_target, to_client = connection.carried()
        if choice is not None:
            carried = self.tally.carried[choice.route.name, listener]
            carried[0] += to_target
            carried[1] += to_client
        if connection.noted:
            self.ledger.closed(connection)
        if connection.inside:
            return
        error = connection.error
        if isinstance(error, Hangup) and not error.received_bytes:
            return
        fields = self.summary(connection)
        fields["event"] = "connection.refused" if error is not None else "connection.end"
        fields["cause"] = connection.cause
        if error is not None:
            fields["error"] = str(error)
            fields["fault"] = error.fault.value
        self.journal(fields)
        fields["event"] = event = _audited(connection)
        told = {**_told(connection), **fields}
        self.audit.emit(event, told if error is not None and connection.target else fields)
        if connection.target is not None and connection.stage == "relaying":
            self.audit.emit(f"{_session(connection.target)}.end", told)

    def dispatched(self, connection: Connection) -> None:
        """It is let through: the ledger and, where somebody is known, the audit trail hear."""
        identity = connection.identity
        if connection.noted:
            self.ledger.known(connection)
        elif not self._is_auths(connection):
            connection.noted = True
            self.ledger.opened(connection)
        if identity is not None:
            self.audit.emit("route.connect", self.summary(connection))

    def _is_auths(self, connection: Connection) -> bool:
        """Whether its TLS goes on to the auth service, which alone will know who it is."""
        choice = connection.choice
        if choice is None or not choice.route.passthrough:
            return False
        protocol = self.gate.protocols.get(choice.route.protocol)
        return protocol is not None and protocol.at_auth

    def coupled(self, connection: Connection) -> None:
        """Its protocol has reached a target for it."""
        if connection.target is not None:
            event = f"{_session(connection.target)}.start"
            self.audit.emit(event, {**_told(connection), **self.summary(connection)})

    def connections(self) -> list[dict[str, object]]:
        """What is open now, as JSON types."""
        return [
            {"id": one.number, "stage": one.stage, **self.summary(one)}
            for one in self._live.values()
        ]

    def summary(self, one: Connection) -> dict[str, object]:
        """What logs and audit say of *one* now."""
        choice, hello = one.choice, one.hello
        to_target, to_client = one.carried()
        return {
            "time": time.time(),
            "listener": one.listener,
            "peer": spell(one.peer),
            "route": None if choice is None else choice.route.name,
            "target": one.target,
            "identity": None if one.identity is None else one.identity.name,
            "sni": None if hello is None else hello.server_name,
            "alpn": None if one.token is None else one.token.decode("latin-1"),
            "to_target": to_target,
            "to_client": to_client,
            "seconds": round(self.now() - one.began, 6),
            "trace": one.trace,
        }

    def opening(self) -> bool:
        """Whether somebody has just come who is not where he wants to be yet."""
        now = self.now()
        return any(
            now - one.began < _OPENING_SECONDS
            and one.stage in _OPENING
            and not (one.served is not None and one.served.resting())
            for one in self._live.values()
        )

    # -- the end ---------------------------------------------------------------------------

    def drain(self, seconds: float) -> Deferred[int]:
        """Wait until every connection has ended; at the limit, end the rest.

        Gives the number of connections that were cut off. Listeners are the caller's to
        close, before.
        """
        self.draining = True
        self._closings.stop()
        self._end_waiting()
        if not self._live:
            return succeed(0)
        limit = self.now() + seconds
        done: Deferred[int] = Deferred()

        def look() -> None:
            if not self._live:
                done.callback(0)
            elif self.now() >= limit:
                cut = len(self._live)
                self.close_all("drain")
                done.callback(cut)
            else:
                self._end_waiting()
                self.reactor.callLater(_LOOK_SECONDS, look)

        look()
        return done

    def _end_waiting(self) -> None:
        """End what only waits for the client's next wish; nobody loses an answer."""
        for one in list(self._live.values()):
            waits: ServedTransport | IKept | None = one.kept
            if one.stage == "serving":
                waits = one.served
            if waits is not None:
                rests = waits.resting()
            else:
                rests = not self.succeeded and one.rests()
            if one.stage == "arriving" or rests:
                self._end(one, "drain")

    def end_those(self, are_meant: Callable[[Identity], bool], cause: str = "locked") -> None:
        """End every connection of an identity that *are_meant* is true of."""
        for one in list(self._live.values()):
            if one.identity is not None and are_meant(one.identity):
                self._end(one, cause)

    def close_all(self, cause: str = "stopped") -> None:
        """End every connection now; an agent's after those that are carried through it."""
        for one in sorted(self._live.values(), key=lambda one: one.pair is None):
            self._end(one, cause)

    def _end(self, one: Connection, cause: str) -> None:
        try:
            one.end_in_order(cause)
        except Exception:
            # A protocol that fails keeps neither itself nor those behind it (S52, S58).
            self._log.failure("a connection could not be ended in order; this is a bug")
            one.lease.abort()

    def close(self) -> None:
        """End everything and leave the reactor."""
        self.close_all()
        self._closings.stop()
        self.wheel.stop()
        self.poller.close()
        self._pipes.close()


def _audited(connection: Connection) -> str:
    """What auditors call the end of *connection*."""
    if connection.error is None:
        return "connection.end" if connection.choice is None else "route.end"
    if connection.target is not None:
        return f"{_session(connection.target)}.rejected"
    denied = connection.choice is not None and connection.cause in _DENIALS
    return "route.deny" if denied else "connection.refused"


def _told(connection: Connection) -> Mapping[str, object]:
    """What the protocol has said of the session."""
    return {} if connection.relayed is None else connection.relayed.fields


def _session(target: str) -> str:
    """The first words of the events of *target*'s kind."""
    return _SESSIONS.get(target.partition("/")[0], "session")


class Entrances(Factory):
    """Makes a `Dispatcher` for whatever a listener accepts."""

    noisy = False

    def __init__(self, gateway: Gateway, listener: str) -> None:
        self.gateway = gateway
        self.listener = listener

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Twisted calls this: a connection was accepted."""
        return Dispatcher(self.gateway, self.listener)


def spell(address: IAddress) -> str:
    """An address as logs have it: "192.0.2.1:4711", "[2001:db8::1]:4711", "unix"."""
    if isinstance(address, UNIXAddress):
        return "unix"
    return host_port(address.host, address.port)  # type: ignore[attr-defined]
