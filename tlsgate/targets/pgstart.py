"""The start-up of one PostgreSQL session: the effects of `core.pgsession` on real sockets.

1. A certificate for the database user is there, or is fetched (`dbcerts`).
2. The machine decides what is said to whom; this writes and reads it, and makes TLS.
3. Where it is not believed, or the server is not, with a certificate of before, it begins once
   more with a new one: the authorities may be changing just then.
4. The relay begins at the server's ReadyForQuery; where a role wants it, `core.pgaudit` reads
   the queries beside it.

All of it has one deadline (S46). More than 400 lines: each method is a step of one start-up, and
half of them are what the machine asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.config.settings import TargetTls
from tlsgate.core import pgsession
from tlsgate.core.addresses import host_port
from tlsgate.core.pgaudit import Audit, Query
from tlsgate.core.wire.pgmessages import Key
from tlsgate.errors import (
    GateError,
    TargetBroken,
    TargetDenied,
    TargetRefused,
    TargetSilent,
    TargetUntrusted,
    TunnelBroken,
)
from tlsgate.net.ends import End, PlainEnd, SecureEnd
from tlsgate.net.lease import Lease
from tlsgate.net.poller import READ, WRITE
from tlsgate.targets.base import Arrived
from tlsgate.targets.dbcerts import Passport, Passports
from tlsgate.targets.pgkeys import Held, Keys
from tlsgate.tls.fast import AGAIN, BLOCKED, BROKEN, RECORD, Session
from tlsgate.tls.handshake import DONE, Handshake

#: libpq's own token; a server that knows none takes it as well.
_ALPN: Final = (b"postgresql",)
#: A key's bytes: a number and 32 bytes of a secret.
_KEY: Final = 36
_QUERY: Final = "db.session.query"


class Start:
    """One session from the dialled server to the relay: the effects of `pgsession`."""

    log = Logger()

    def __init__(self, arrived: Arrived, passports: Passports, keys: Keys) -> None:
        details = arrived.asked.details
        self.arrived = arrived
        self.keys = keys
        self.passports = passports
        self.user = details.get("db_user", "")
        self.database = details.get("db_name", "")
        self.key = key_of(details.get("key", ""))
        self.where = host_port(arrived.host, arrived.port)
        self.lease = arrived.lease
        self.machine = self._machine()
        self.tls = arrived.settings.tls or TargetTls()
        self.over = False
        self.slot = 0
        self._passport: Passport | None = None
        self._shaking: Handshake | None = None
        self._session: Session | None = None
        self._target: End = PlainEnd(arrived.lease)
        self._client: End | None = None
        #: What the client has said, until the server has said anything under TLS.
        self._said: bytes | None = b""
        #: Whether a certificate of before is used, and so another one may do.
        self._older = False
        self._unbelieved = False  #: the server has ended TLS, as who believes nothing of ours
        self._hears = False  #: the client
        self._out = b""
        self._held: Held | None = None
        self._last: tuple[Query | None, Mapping[str, object]] = (None, {})
        #: The handshake, or what is read, waits until the socket takes bytes.
        self._blocked = False

    def _machine(self) -> pgsession.Beginning:
        return pgsession.beginning(self, self.user, self.database, self.where, self.key)

    @property
    def _whose(self) -> tuple[str, str]:
        return self.arrived.asked.name, self.user

    def start(self) -> None:
        """Fetch the certificate, then speak to the server."""
        arrived = self.arrived
        if why := self.unfit():
            self.end()
            arrived.refuse(TargetDenied(arrived.asked.user, f"db {arrived.asked.name}", why))
            return
        arrived.means.wheel.arm(self, arrived.timeouts.opening_seconds)
        self._older = self.passports.knows(self._whose)
        self._get()

    def _get(self) -> None:
        arrived = self.arrived
        getting = Deferred.fromCoroutine(self.passports.get(arrived, self.user))
        getting.addCallback(self._got).addErrback(self._missed)

    def unfit(self) -> str:
        """Why the request cannot be served; "" where it can."""
        return "" if self.user and self.database else "it names no database user"

    def stop(self) -> None:
        """The client has gone, or is cut; whoever says so closes both sides."""
        self.end()
        self._forget()
        self.machine.stopped()

    def end(self) -> None:
        """Wait for nothing any more."""
        self.over = True
        self.arrived.means.wheel.drop(self)

    def due(self, now: float) -> float | None:
        """The wheel calls this: it takes too long."""
        self.machine.failed(TargetSilent(self.where, self.arrived.timeouts.opening_seconds))
        return None

    # -- the certificate --

    def _got(self, passport: Passport) -> None:
        if self.over:
            return
        self._passport = passport
        self.lease.on_ready = self._ready
        self.machine.begun()
        self._attend()

    def _missed(self, failure: Failure) -> None:
        if self.over:
            return
        error = failure.value
        if not isinstance(error, GateError):
            self.log.failure("a session could not begin; this is a bug", failure=failure)
            error = TargetRefused(self.where, "the agent has failed; see its log")
        self.machine.failed(error)

    # -- the server --

    def _ready(self, mask: int) -> None:
        """The poller calls this: the server's socket is ready."""
        try:
            if self._shaking is not None:
                self._shake()
            else:
                self._flush()
                if not self.over:
                    self._read_server()
        except GateError as error:
            self._fail(error)
        self._attend()

    def _fail(self, error: GateError) -> None:
        """Begin anew where another certificate may do, or end it."""
        if not self._older or self._said is None or self._trusted(error):
            self.machine.failed(error)
            return
        # The authorities may be changing: the server has another one than this certificate is
        # of. Nothing of the server's was believed or told, and it has heard no query.
        self._older = False
        self.machine.stopped()
        self.machine = self._machine()
        self._shaking = self._session = self._passport = None
        self._out, self._blocked = b"", False
        self._hear(False)
        self.lease.abort()
        self.arrived.redial(self._redialled, self.machine.failed)

    def _trusted(self, error: GateError) -> bool:
        """Whether *error* is about something else than who believes whom."""
        return not (self._unbelieved or isinstance(error, TargetUntrusted))

    def _redialled(self, lease: Lease) -> None:
        self.lease, self._target = lease, PlainEnd(lease)
        self._get()

    def _hear(self, is_on: bool) -> None:
        """Read the client, or later."""
        self._hears = is_on
        if self._client is not None:
            self._client.lease.want(READ if is_on else 0)

    def _read_server(self) -> None:
        target, slab = self._target, self.arrived.means.slab
        while not self.over and self._shaking is None:
            count = target.fill(slab, RECORD)
            if count > 0:
                if self._session is not None:
                    self._said = None
                self.machine.server_said(bytes(slab.view[:count]))
                if not target.pending():
                    return
            elif count in (AGAIN, BLOCKED):
                self._blocked = count == BLOCKED
                return
            else:
                raise self._left(count)

    def _left(self, outcome: int) -> GateError:
        """What it means that the server has ended the connection."""
        if self._session is None:
            return TargetBroken(self.where, "it ends the connection when it is asked for TLS")
        if outcome == BROKEN:
            self.passports.forget(self._whose)
            why = "it breaks off TLS; does its ssl_ca_file have the cluster's database authority?"
            self._unbelieved = True
            return TargetRefused(self.where, why)
        return TargetRefused(self.where, "it has ended the connection")

    def _shake(self) -> None:
        """Go on with the handshake.

        Raises:
            GateError: it failed, or the server is somebody else.
        """
        shaking = self._shaking
        assert shaking is not None
        try:
            outcome = shaking.step()
            self._blocked = outcome == BLOCKED
            if outcome != DONE:
                return
            if self.tls.mode == "verify-full":
                shaking.check_server(self._name)
        except TargetUntrusted:
            # Another authority may be in force by now.
            self.passports.forget(self._whose)
            raise
        self._shaking = None
        self._session = shaking.session()
        self._target = SecureEnd(self.lease, self._session)
        self.machine.secured()

    @property
    def _name(self) -> str:
        return self.tls.server_name or self.arrived.host

    def _flush(self) -> None:
        """Write what the server has not taken yet.

        Raises:
            GateError: it is gone.
        """
        while self._out:
            if self._session is None:
                try:
                    count = self.lease.socket.send(self._out)
                except BlockingIOError:
                    return
                except OSError:
                    count = BROKEN
            else:
                count = self._session.say(self._out)
            if count in (AGAIN, BLOCKED):
                return
            if count < 0:
                raise self._left(count)
            self._out = self._out[count:]

    def _attend(self) -> None:
        """Be woken for what is waited for at the server's socket."""
        if self.over or self._passport is None:
            return
        if self._blocked and not self._out:
            self.lease.want(WRITE)
        else:
            self.lease.want(READ | WRITE if self._out else READ)

    # -- the client --

    def _client_ready(self, mask: int) -> None:
        """The poller calls this: the client's stream is ready."""
        client, slab = self._client, self.arrived.means.slab
        assert client is not None
        count = client.fill(slab, RECORD)
        if count > 0:
            some = bytes(slab.view[:count])
            if self._said is not None:
                self._said += some
            self.machine.client_said(some)
            self._attend()
        elif count == BLOCKED:
            client.lease.want(WRITE)
            return
        elif count != AGAIN:
            self.machine.failed(TunnelBroken("the client has gone"))
        if not self.over and self._hears:
            client.lease.want(READ)

    # -- effects of the machine --

    def to_server(self, some: bytes) -> None:
        """See `pgsession.Effects`."""
        self._out += some
        try:
            self._flush()
        except GateError as error:
            self._fail(error)

    def secure(self) -> None:
        """See `pgsession.Effects`."""
        assert self._passport is not None
        try:
            context = self._passport.context(self.tls, _ALPN)
            self._shaking = Handshake.dial(context, self.lease.socket, self._name, self.where)
            self._shake()
        except GateError as error:
            self._fail(error)

    def accept(self) -> None:
        """See `pgsession.Effects`."""
        if self._client is not None:
            self._hear(True)
            if self._said:
                self.machine.client_said(self._said)
            return
        try:
            client = self._client = self.arrived.accept()
        except TunnelBroken as error:
            self.machine.stopped()
            self.end()
            self.arrived.refuse(error)
            return
        client.lease.on_ready = self._client_ready
        self._hear(True)

    def refuse(self, error: GateError) -> None:
        """See `pgsession.Effects`; who was accepted before a second dial reads why."""
        if self._client is not None:
            self.give_up(pgsession.last_words(error), error)
            return
        self.end()
        self.arrived.refuse(error)

    def give_up(self, words: bytes, error: GateError) -> None:
        """See `pgsession.Effects`."""
        self.end()
        self._forget()
        self.arrived.give_up(words, error)

    def keyed(self, key: Key) -> None:
        """See `pgsession.Effects`."""
        if not self.key or self._held is not None:
            return
        asked, sock = self.arrived.asked, self.lease.socket
        self._held = Held(asked.user, asked.name, self.user, sock.getpeername(), key)
        self.keys.put(self.key.hex(), self._held)

    def carry(self, to_client: bytes) -> None:
        """See `pgsession.Effects`."""
        self.end()
        client, arrived = self._client, self.arrived
        assert client is not None
        target = SecureEnd(self.lease, self.secured)
        read = Audit(self._query).to_target if arrived.decision.audit_queries else None
        arrived.carry(client, target, to_client=to_client, watch=_Watch(self._forget, read))

    @property
    def secured(self) -> Session:
        """TLS with the server, which is there."""
        assert self._session is not None
        return self._session

    def _forget(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self.keys.drop(self.key.hex(), held)

    def _query(self, query: Query) -> None:
        if query is not self._last[0]:  # a prepared one comes again and again
            fields = {
                "db_service": self.arrived.asked.name,
                "db_protocol": "postgres",
                "db_user": self.user,
                "db_name": self.database,
                "db_query": query.text,
                "db_query_cut": query.cut,
                "db_query_kind": query.kind,
                "db_query_statement": query.statement,
                "db_query_parameters_count": query.parameters,
            }
            self._last = query, fields
        self.arrived.emit(_QUERY, self._last[1])


class _Watch:
    """Hears when the relay has ended, and reads the queries where they are audited."""

    to_client = None  #: nobody looks at rows

    def __init__(
        self, over: Callable[[], None], to_target: Callable[[memoryview], None] | None
    ) -> None:
        self.over = over
        self.to_target = to_target


def key_of(digits: str) -> bytes:
    """A key as requests have it; b"" where it is none."""
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        return b""
    return key if len(key) == _KEY else b""
