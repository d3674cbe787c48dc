"""One client connection, from accept to its log line: its facts, and its ways out.

`net.dispatcher` derives the steps from this; what is here holds at every step. Every way
out is `_refuse` (in the client's own terms), `_drop` (nothing can be said), or the end of
what has the socket; all of them come through `connectionLost`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from tlsgate.core.access import Decision, Identity
from tlsgate.core.hello import Hello
from tlsgate.core.ledger import version_of
from tlsgate.core.pingframes import frame
from tlsgate.core.relayed import Relayed, Rest
from tlsgate.core.routing import TLS, Choice
from tlsgate.core.tokens import PINGED
from tlsgate.errors import Fault, GateError, Hangup, TooLate
from tlsgate.interfaces import IKept, IKeptToEnd, IReach
from tlsgate.net.arrival import Arrival
from tlsgate.net.dial import Dial
from tlsgate.net.ends import End, PlainEnd
from tlsgate.net.handover import Handover
from tlsgate.net.lease import Lease
from tlsgate.net.limits import Census
from tlsgate.net.pinging import PingEnd
from tlsgate.net.refuse import Refusal
from tlsgate.net.relay import Pair, Waits, watched
from tlsgate.net.transport import REST_SECONDS, ServedTransport
from tlsgate.tls import reasons
from tlsgate.tls.handshake import Handshake

if TYPE_CHECKING:
    from tlsgate.net.gateway import Gateway

#: The alert for what is not the client's fault (RFC 8446 section 6.2).
_INTERNAL_ERROR: Final = 80
#: Causes by which nothing more is heard of a client, and nobody has words for it.
_AT_ONCE: Final = frozenset({"locked"})


class Connection(Protocol):
    """One client connection.

    Twisted's transport keeps it as its protocol, so that it hears the end; while bytes
    are carried it is not asked.
    """

    transport: Any = None
    lease: Lease
    arrival: Arrival
    peer: Any  #: an `IAddress`; after a PROXY header the client that it names
    #: What the client dialled, where a PROXY header says it.
    told_local: Any = None

    # Defaults stand on the class: a connection sets what it comes to, and no more.
    number: int = 0
    slot: int = 0
    inside: bool = False  #: another process of ours tells of it
    was_passed: bool = False  #: by another worker, which has read a PROXY header already
    opening: str = TLS
    hello: Hello | None = None
    choice: Choice | None = None
    token: bytes | None = None  #: what the ALPN callback confirms
    identity: Identity | None = None
    allowed: Decision | None = None  #: set where it limits the connection
    stage: str = "arriving"
    pair: Pair | None = None
    served: ServedTransport | None = None
    kept: IKept | None = None
    dial: Dial | None = None
    tls: Handshake | None = None
    cause: str = ""
    error: GateError | None = None
    relayed: Relayed | None = None  #: what the protocol says of its session
    target: str | None = None  #: as the protocol calls it that has read who is meant
    trace: str | None = None
    noted: bool = False  #: the ledger knows it
    client_version: str = ""  #: what the client has said of its program
    pinged: PingEnd | None = None  #: where the token asks for pings
    endings: tuple[Callable[[], None], ...] = ()  #: who wants to hear the end
    _rested: tuple[int, float] = (-1, 0.0)  #: bytes carried, and since when so many
    _source: str | None = None  #: counted in `by_source` under this name
    _anonymous: bool = False
    _admitted: tuple[Census, ...] = ()

    def __init__(self, gateway: Gateway, listener: str) -> None:
        self.gateway = gateway
        self.gate = gate = gateway.gate
        self.listener = listener
        self.entrance = gate.entrances[listener]
        self.began = self.handshake_began = gateway.now()

    @property
    def local(self) -> Any:
        """The address that was dialled."""
        return self.told_local or self.transport.getHost()

    @property
    def transport_kind(self) -> str:
        """How the client came, in the ledger's words."""
        if self.hello is None:
            # On a port that others share, only SSH is served without TLS: it finds out by
            # itself who its clients are.
            route = None if self.choice is None else self.choice.route
            if route is None or route.protocol == self.entrance.listener.protocol:
                return "raw"
            return "plain-ssh" if route.own_login else "raw"
        return "tls-alpn" if self.token is not None else "tls"

    def _known(self) -> None:
        """Authenticated or on its way out: the address is counted no more."""
        if self._anonymous:
            self._anonymous = False
            for census in self._admitted:
                census.known(None if census is self.gateway.census else self._source)

    # -- ways out --

    def due(self, now: float) -> float | None:
        """The wheel calls this: the prelude took too long."""
        if self.entrance.closed is not None and self.stage == "arriving":
            # Some clients wait for the server's first word.
            self._refuse_closed()
            return None
        timeouts = self.entrance.listener.timeouts
        error = TooLate("prelude_seconds", timeouts.prelude_seconds)
        self._drop(error)
        return None

    def end_in_order(self, cause: str) -> None:
        """The gateway's own wish to end it, such as the limit of a drain."""
        if self.pair is not None:
            rest = None if cause in _AT_ONCE else self._rest()
            if rest is not None:
                self.pair.end_with(*rest.last_words(), cause)
            elif self.pair.open:
                self.pair.abort(cause)
            else:  # its last words are said, and it is only waited for
                self.lease.abort()
        elif self.kept is not None:
            self.kept.end_in_order(cause)
        elif self.served is not None:
            self.served.end_in_order(cause)
        else:
            self.cause = cause
            self.lease.abort()

    def rests(self) -> bool:
        """Whether its session could end, and has been so for a moment."""
        if self._rest() is None:
            return False
        moved, now = sum(self.carried()), self.gateway.now()
        if moved != self._rested[0]:
            self._rested = (moved, now)
            return False
        return now - self._rested[1] >= REST_SECONDS

    def _rest(self) -> Rest | None:
        """Who gives the last words of a session that may end now."""
        rest = None if self.relayed is None else self.relayed.rest
        pair = self.pair
        if rest is None or pair is None or not pair.empty or not rest.resting():
            return None
        return rest

    def _hung_up(self, received: int) -> None:
        self._drop(Hangup(received))

    def _refuse_plain(self, protocol: str, error: GateError) -> None:
        """Refuse outside TLS, in the words of *protocol*."""
        self._refuse(error, self.gate.refusal(protocol, error))

    def _refuse_closed(self) -> None:
        """Say that the port is closed, in its own protocol."""
        error = self.entrance.closed
        assert error is not None
        self._refuse_plain(error.protocol, error)

    def _refuse_built(self, error: GateError) -> None:
        assert self.choice is not None
        if self.tls is not None:
            self._refuse_secure(error)
        elif self.choice.route.passthrough:
            self._refuse(error, reasons.alert_record(_INTERNAL_ERROR))
        else:
            self._refuse_plain(self.choice.route.protocol, error)

    def _refuse_secure(self, error: GateError) -> None:
        """Refuse under TLS: the protocol's words, close_notify, then as any refusal."""
        assert self.choice is not None and self.tls is not None
        words = self.gate.refusal(self.choice.route.protocol, error)
        self.tls.say(frame(words) if self.token in PINGED else words)
        self._refuse(error, b"")

    def _refuse(self, error: GateError, words: bytes) -> None:
        """Write *words*, half-close, drain, close; see `net.refuse`."""
        self._note(error)
        lease = self.arrival.take()
        lease.want(0)
        Refusal(lease, words, self.gateway.wheel)

    def _drop(self, error: GateError) -> None:
        """Close at once: there is nobody to tell, or no room to tell it."""
        self._note(error)
        if self.dial is not None:
            self.dial.cancel()
        self.lease.abort()

    def _note(self, error: GateError) -> None:
        self.gateway.wheel.drop(self)
        self.error = error
        self.cause = error.reason
        self.gateway.tally.refused[self.listener, error.reason] += 1
        self._known()

    # -- what a served protocol asks for, by its context --

    def traced(self) -> str:
        """Give the word by which logs here and at an agent find each other."""
        if self.trace is None:
            self.trace = secrets.token_hex(8)
        return self.trace

    def identify(self, identity: Identity) -> None:
        """See `IRouteContext.identify`."""
        self._known()
        self.identity = identity
        self.gateway.dispatched(self)

    def came_by(self, program: str) -> None:
        """See `IRouteContext.came_by`."""
        if not self.client_version and (said := version_of(program)):
            self.client_version = said
            if self.noted:
                self.gateway.ledger.known(self)

    def keep(self, kept: IKept) -> None:
        """See `IRouteContext.keep`."""
        self.kept, self.served = kept, None
        self.stage = "tunnel"

    def refuse_served(self, error: GateError, words: bytes, target: str = "") -> None:
        """See `IRouteContext.refuse`."""
        served = self.served
        if served is None or not served.connected:
            return
        self.target = target or self.target
        self._note(error)
        served.write(words)
        served.loseConnection()

    def hand_over(
        self,
        reach: IReach,
        answer: Callable[[GateError | None], bytes],
        unread: bytes,
        target: str,
        limits: Decision | None,
    ) -> None:
        """See `IRouteContext.relay`."""
        served, gateway = self.served, self.gateway
        if served is None:
            return
        self.target = target or None
        if (why := gateway.closed()) is not None:
            self.refuse_served(why, answer(why))
            return
        self.stage = "dialling"
        Handover(
            served,
            reach,
            unread,
            target=target,
            seconds=self.entrance.listener.timeouts.dial_seconds,
            wheel=gateway.wheel,
            reached=lambda end, said: self._couple(end, said, answer(None), limits),
            missed=lambda error: self.refuse_served(error, answer(error)),
        ).start()

    def _couple(self, target: End, said: bytes, answered: bytes, limits: Decision | None) -> None:
        """The target of a served client is there: relay."""
        served = self.served
        assert served is not None
        client, self.served = served.release(), None
        self.stage = "relaying"
        self.pair = pair = self.paired(client, target, limits)
        if self.relayed is not None and (rest := self.relayed.rest) is not None:
            pair.to_target.fill = watched(client, rest.to_target)
            pair.to_client.fill = watched(target, rest.to_client)
        self.gateway.coupled(self)
        self.pair.start(said, served.unsent + answered)

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        """See `IRouteContext.emit`."""
        gateway = self.gateway
        gateway.audit.emit(event, {**gateway.summary(self), **fields})

    def busy(self, is_busy: bool) -> None:
        """See `IRouteContext.busy`."""
        self.stage = "channels" if is_busy else "serving"

    def paired(self, client: End, target: End, limits: Decision | None = None) -> Pair:
        """See `IRouteContext.couple`."""
        gateway = self.gateway
        plain = isinstance(client, PlainEnd) and isinstance(target, PlainEnd)
        return Pair(
            client,
            target,
            gateway.slab,
            self._waits(limits),
            gateway.wheel,
            gateway.now,
            gateway.spliced if plain else None,
        )

    def _waits(self, limits: Decision | None = None) -> Waits:
        """The listener's waits, and whatever is shorter."""
        assert self.choice is not None
        route, waits = self.choice.route, self.entrance.waits
        if route.idle_seconds is None and self.allowed is None and limits is None:
            return waits
        idle, lifetime = route.idle_seconds or waits.idle_seconds, waits.lifetime_seconds
        for allowed in (self.allowed, limits):
            if allowed is not None:
                idle = _least(idle, allowed.idle_seconds)
                if allowed.until is not None:
                    # Counted from here: a clock that is set back revives no certificate (R16).
                    lifetime = _least(lifetime, max(0.0, allowed.until - time.time()))
        return evolve(waits, idle_seconds=idle, lifetime_seconds=lifetime)

    # -- 8: the end --

    def connectionLost(self, reason: Failure = Failure(Exception("closed"))) -> None:  # noqa: B008
        """Twisted calls this: the socket is closed."""
        gateway = self.gateway
        gateway.wheel.drop(self)
        self._known()
        for census in self._admitted:
            census.leave()
        if self.dial is not None:
            self.dial.cancel()
        if self.pinged is not None:
            gateway.pings.close(self.pinged)
        if not self.cause:
            over: Any = self.pair or self.served or self.kept
            self.cause = ("" if over is None else over.cause) or "closed"
        gateway.left(self)
        if IKeptToEnd.providedBy(self.kept):
            self.kept.lost()
        endings, self.endings = self.endings, ()
        for listener in endings:
            listener()
        # The cycles with the TLS object and the relay would wait for the collector (S57).
        self.tls = self.pair = self.served = self.kept = self.dial = self.pinged = None
        self.arrival.forget()

    def carried(self) -> tuple[int, int]:
        """Bytes to the target and to the client, so far."""
        if self.pair is not None:
            return self.pair.to_target.moved, self.pair.to_client.moved
        if self.served is not None:
            return self.served.received, self.served.sent
        return (0, 0) if self.kept is None else self.kept.carried()

    @property
    def fault(self) -> Fault | None:
        """Whose fault the end was; None for an end in order."""
        return None if self.error is None else self.error.fault


def _least(one: float | None, other: float | None) -> float | None:
    """The shorter of two waits, of which each may be off."""
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)
