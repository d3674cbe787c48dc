"""PostgreSQL: TLS by SSLRequest or at once, databases of agents, and errors that psql prints.

1. The gateway answers the requests before TLS itself.
2. A static route's target gets the client's StartupMessage, in the clear of the inner side.
3. In a cluster one first packet is read (`First`). A StartupMessage leads to a database of an
   agent's (`protocols.databases`), with a key of our own that the agent puts in place of the
   server's; nothing that the server says is read here.
4. A CancelRequest, under TLS or in the clear, shows such a key (`core.cancelkeys`): its
   session's agent hears of it. Another worker's key is carried to that one.

It is one file, though a long one, since it is the example of a protocol with everything: a copy
of it under another name is a plug-in.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import evolve
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tlsgate.core.addresses import host_port, split
from tlsgate.core.cancelkeys import LOT_BYTES, CancelKeys, Held, worker_of
from tlsgate.core.certroutes import DB_NAME, DB_USER
from tlsgate.core.ledger import application_of
from tlsgate.core.outcome import More
from tlsgate.core.pgrest import PgRest
from tlsgate.core.wire import postgres
from tlsgate.core.wire.pgmessages import first_packet, read_cancel, read_startup
from tlsgate.errors import (
    AgentBusy,
    AgentRefused,
    BadBytes,
    Denied,
    Draining,
    Fault,
    GateError,
    ListenerClosed,
    Locked,
    NoAgent,
    NoCertificate,
    NoDatabase,
    NoLogin,
    NoRoute,
    NotServed,
    StartupRefused,
    TargetDenied,
    TooLate,
    TooMany,
    UnknownKey,
)
from tlsgate.interfaces import IRouteContext, ListenerSpec, Opening, RelayTo, Then
from tlsgate.protocols.addresses import first, listen_addr, present
from tlsgate.protocols.base import GateProtocol, relay
from tlsgate.protocols.databases import ZONE, ask_database, find_database, inside, told_of
from tlsgate.protocols.words import told

#: What agents' files call it, whatever name a copy of this has.
SPOKEN: Final = "postgres"
#: Protocol 3.2: the first one whose keys are longer than 4 bytes.
_LONG_KEYS: Final = 2


class Postgres(GateProtocol):
    """PostgreSQL to agents' databases by role, and behind static routes.

    Args:
        name: what routes call it; a copy under another name is another protocol.
        alpn: its tokens.
        listener: its separate port.
    """

    holders = ("user",)
    shows_cluster = True
    own_login = True
    advice = (
        "databases by name are for users of a cluster, and this gateway is in none; "
        'use a static route of the TLS port: psql "host=GATEWAY port=443 sslmode=verify-full '
        'sslcert=CERT sslkey=KEY"'
    )

    def __init__(
        self,
        name: str = "postgres",
        alpn: tuple[bytes, ...] = (b"tlsgate-postgres", b"postgresql"),
        listener: ListenerSpec | None = None,
    ) -> None:
        self.name = name
        self.alpn = self.name_alpn = alpn
        self.web_alpn = tuple(one for one in alpn if not one.startswith(b"tlsgate-"))
        #: The sessions of this process that can be cancelled, once there is one.
        self._keys: CancelKeys | None = None
        self.listener = listener or ListenerSpec(
            key="postgres_listen_addr", port=5432, public_key="postgres_public_addr"
        )
        self.openings = (
            Opening(
                name=f"{name}-sslrequest",
                protocol=name,
                match=postgres.is_ssl_request,
                then=Then.TLS,
                consumes=postgres.REQUEST_SIZE,
                answer=postgres.ACCEPT,
            ),
            Opening(
                name=f"{name}-gssencrequest",
                protocol=name,
                match=postgres.is_gssenc_request,
                then=Then.AGAIN,
                consumes=postgres.REQUEST_SIZE,
                answer=postgres.DECLINE,
            ),
            # Taken only where a route is open without TLS; else refused in clear words.
            Opening(
                name=f"{name}-startup", protocol=name, match=postgres.is_startup, then=Then.TAKE
            ),
            # libpq before 17 asks in the clear, whatever its session does.
            Opening(
                name=f"{name}-cancel",
                protocol=name,
                match=postgres.is_cancel_request,
                then=Then.TAKE,
                when_closed=True,
            ),
        )

    def server_names(self, public: Sequence[str]) -> Sequence[str]:
        """`<database>.db.` before each of ours that has a dot: no authority signs another."""
        return tuple(f"*.{ZONE}.{name}" for name in public if "." in name)

    def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """Where PostgreSQL clients dial.

        The public address falls back to the public host, with the port of the separate
        listener where there is one.
        """
        own = open_listeners.get("postgres")
        public = first(settings.public.postgres)
        web = first(settings.public.web)
        if public is None and own is not None and web is not None:
            public = host_port(split(web)[0], split(own)[1] or 5432)
        return {
            "db": present(
                postgres_listen_addr=listen_addr(settings, open_listeners, "postgres"),
                postgres_public_addr=public,
            )
        }

    def refusal(self, error: GateError) -> bytes:
        """Make a FATAL ErrorResponse; a client shows it once it has sent its StartupMessage."""
        if isinstance(error, ListenerClosed):
            text = f"{told(error)}: run `tgsh db config` again, or `tgsh db connect`"
            return postgres.error_response(_NOT_NOW, text)
        if isinstance(error, NoRoute):
            # Under TLS there would have been an alert: this one came in the clear.
            text = "this gateway takes PostgreSQL under TLS only; use sslmode=verify-full"
            return postgres.error_response("28000", text)
        default = "08006" if error.fault is Fault.TARGET else "XX000"
        state = _SQLSTATES.get(type(error), default)
        if isinstance(error, AgentRefused):
            state = _SAID.get(error.said, default)
        return postgres.error_response(state, told(error))

    def build(self, context: IRouteContext) -> IProtocolFactory | RelayTo:
        """Relay to a static route's target, or read who is meant."""
        if context.route.target is not None:
            return relay(self, context)
        if context.cluster is None or context.tunnels is None:
            raise NotServed(self.name, self.advice)
        keys = self._keys
        if keys is None:
            keys = self._keys = CancelKeys(context.worker)
        return _OneOff(self, context, keys)


class _OneOff(Factory):
    """Makes the one protocol of a connection."""

    noisy = False

    def __init__(self, spoken: Postgres, context: IRouteContext, keys: CancelKeys) -> None:
        self._made = First(spoken, context, keys)

    def buildProtocol(self, addr: object) -> First:
        """Twisted's name: the protocol of the connection."""
        return self._made


class First(Protocol):
    """Reads one first packet, and hands over or refuses."""

    def __init__(self, spoken: Postgres, context: IRouteContext, keys: CancelKeys) -> None:
        self._spoken = spoken
        self._context = context
        self._keys = keys
        self._head = b""
        self._late: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Twisted calls this; the packet has to come in time (S46)."""
        context = self._context
        waits = context.settings.waits(context.listener)
        limit = "prelude_seconds" if context.identity is None else "opening_seconds"
        error = TooLate(limit, getattr(waits, limit))
        self._late = context.clock.callLater(error.seconds, self._refuse, error)

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this."""
        if self._late is None:
            return
        self._head += data
        try:
            size = first_packet(self._head)
            if isinstance(size, More):
                return
            self._over()
            packet, rest, self._head = self._head[:size], self._head[size:], b""
            if postgres.is_cancel_request(packet):
                self._cancel(packet)
            else:
                self._start(packet, rest)
        except GateError as error:
            self._refuse(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted calls this; the client is gone."""
        self._over()

    # -- inside --

    def _start(self, packet: bytes, rest: bytes) -> None:
        """Reach the database that a StartupMessage is for.

        Raises:
            GateError: it is refused.
        """
        context, keys = self._context, self._keys
        if context.route.own_login:
            raise NoRoute(context.listener, None, ())
        identity = context.identity
        if identity is None:
            raise NoLogin(self._spoken.name)
        startup = read_startup(packet)
        context.came_by(application_of(startup.application))
        offer = find_database(context, identity, SPOKEN)
        try:
            database = startup.database if startup.named else None
            context.about(told_of(offer, startup.user, database or startup.user))
            user, database = inside(identity, startup.user, database)
            context.about(told_of(offer, user, database, PgRest))
            while (key := keys.draw(secrets.token_bytes(LOT_BYTES))) is None:
                pass  # as good as never twice: a worker has two million numbers
            details = {"key": key.hex()}
            found = ask_database(context, identity, offer, user, database, details)
        except GateError as error:
            self._refuse(error, f"db/{offer.name}")
            return
        held = Held(key, found.asked, startup.minor >= _LONG_KEYS, found.reach)
        keys.remember(held)
        context.on_end(lambda: keys.forget(held))
        context.relay(
            found.reach, self._say, packet + rest, target=found.target, limits=found.limits
        )

    def _cancel(self, packet: bytes) -> None:
        """Have the agent cancel what the session does whose key is shown.

        The client hears nothing but the end, whatever becomes of it, as servers do.

        Raises:
            GateError: it is refused.
        """
        context = self._context
        key = read_cancel(packet).bytes()
        worker = worker_of(key)
        if worker != context.worker and worker < context.settings.workers:
            context.relay(context.elsewhere(worker), _nothing, packet)
            return
        held = self._keys.find(key)
        identity = context.identity
        if held is None or not (identity is None or _same(identity.claims, held)):
            raise UnknownKey(self._spoken.name)
        assert context.tunnels is not None
        details = {name: value for name, value in held.asked.details.items() if name != "key"}
        asked = evolve(held.asked, trace=context.trace, details={**details, "cancel": held.spelt})
        target = f"db/{asked.name}"

        def answer(error: GateError | None) -> bytes:
            # The client may have come without a certificate: the key says whose session it is.
            told = {"target": target, "user": asked.user, "success": error is None}
            told |= {name: details[name] for name in (DB_USER, DB_NAME)}
            context.emit(
                "db.session.cancel",
                {
                    **told,
                    "db_service": asked.name,
                    "db_protocol": SPOKEN,
                    "session_trace": held.asked.trace,
                    **({} if error is None else {"error": str(error)}),
                },
            )
            return b""

        context.relay(context.tunnels.reach(asked, held.way), answer)

    def _say(self, error: GateError | None) -> bytes:
        return b"" if error is None else self._spoken.refusal(error)

    def _refuse(self, error: GateError, target: str = "") -> None:
        self._over()
        self._head = b""
        words = b"" if isinstance(error, UnknownKey) else self._spoken.refusal(error)
        self._context.refuse(error, words, target=target)

    def _over(self) -> None:
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()


def _nothing(error: GateError | None) -> bytes:
    return b""


def _same(claims: Any, held: Held) -> bool:
    """Whether who shows the key is who was given it."""
    return claims is not None and claims.name == held.asked.user


#: https://www.postgresql.org/docs/current/errcodes-appendix.html
_DENIED: Final = "28000"  # invalid_authorization_specification
_NOT_NOW: Final = "57P03"  # cannot_connect_now: libpq tries the next host
_SQLSTATES: Final[Mapping[type[GateError], str]] = {
    Denied: _DENIED,
    Locked: _DENIED,
    NoCertificate: _DENIED,
    NoLogin: _DENIED,
    StartupRefused: _DENIED,
    TargetDenied: _DENIED,
    NoDatabase: "3D000",  # invalid_catalog_name
    BadBytes: "08P01",  # protocol_violation
    NotServed: "0A000",  # feature_not_supported
    TooMany: "53300",  # too_many_connections
    AgentBusy: _NOT_NOW,
    Draining: _NOT_NOW,
    NoAgent: _NOT_NOW,
}
#: By the reason that an agent gives.
_SAID: Final[Mapping[str, str]] = {
    one.reason: _DENIED for one in (Denied, Locked, StartupRefused, TargetDenied)
} | {BadBytes.reason: "08P01"}
