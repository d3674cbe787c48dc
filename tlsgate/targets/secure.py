"""Applications that speak HTTPS: TLS to the target, whose certificate is held against its name.

1. The handshake runs on the dialled socket, under a deadline; nothing of the client's is under
   TLS before chain and name are verified.
2. Then the client is accepted, and the relay carries.

Contexts are kept while the file of their authorities is the same: the system's authorities
alone take longer to read than everything else that a connection does here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final

from twisted.logger import Logger

from tlsgate.config.settings import OfferSettings, TargetTls
from tlsgate.core.addresses import host_port
from tlsgate.errors import BadKeyPair, GateError, TargetSilent, TargetUntrusted
from tlsgate.net.ends import SecureEnd
from tlsgate.net.poller import READ, WRITE
from tlsgate.targets.base import Arrived, nothing
from tlsgate.targets.plain import plain
from tlsgate.tls.contexts import target_context
from tlsgate.tls.fast import BLOCKED, Session
from tlsgate.tls.handshake import DONE, Context, Handshake

#: What the gateway speaks to applications.
_ALPN: Final = (b"http/1.1",)

Stamp = tuple[int, int, int]


class Web:
    """The opening of HTTP applications: as they are, or under TLS where their uri is https."""

    log = Logger()

    def __init__(self) -> None:
        self._contexts: dict[TargetTls, tuple[Stamp | None, Context]] = {}

    def __call__(self, arrived: Arrived) -> Callable[[], None]:
        """Begin; see `base.Opening`."""
        tls = arrived.settings.tls
        if tls is None:
            return plain(arrived)
        return _Shaking(arrived, tls, self._context(tls, arrived)).start()

    def _context(self, tls: TargetTls, arrived: Arrived) -> Context:
        """The context for *tls*, of its file as it is now, or as it was last good.

        Raises:
            TargetUntrusted: the file cannot be used, and never could.
        """
        kept = self._contexts.get(tls)
        try:
            stamp = None if tls.ca_file is None else _stamp(tls.ca_file)
            if kept is None or kept[0] != stamp:
                kept = self._contexts[tls] = stamp, make_context(tls)
        except BadKeyPair as error:
            self.log.error(
                "the authorities of {kind} {name} cannot be read: {why}",
                kind=arrived.offer.kind,
                name=arrived.offer.name,
                why=str(error),
            )
            if kept is None:
                where = host_port(arrived.host, arrived.port)
                why = "its agent cannot read the authorities that it should be of"
                raise TargetUntrusted(where, why) from error
        return kept[1]


def make_context(tls: TargetTls) -> Context:
    """Make the context by which *tls* is dialled.

    Raises:
        BadKeyPair: its file of authorities cannot be used.
    """
    return target_context(
        ca_file=tls.ca_file,
        system=tls.ca_file is None or tls.system_roots,
        alpn=_ALPN,
        unsafe_unverified=tls.mode == "insecure",
    )


def check_files(offers: Iterable[OfferSettings]) -> None:
    """Make sure that every file of authorities can be used.

    Raises:
        BadKeyPair: the first that cannot.
    """
    for offer in offers:
        if offer.tls is not None and offer.tls.ca_file is not None:
            target_context(ca_file=offer.tls.ca_file)


class _Shaking:
    """One handshake."""

    def __init__(self, arrived: Arrived, tls: TargetTls, context: Context) -> None:
        self._arrived = arrived
        self._tls = tls
        self._name = tls.server_name or arrived.host
        self._where = host_port(arrived.host, arrived.port)
        self._shaking = Handshake.dial(context, arrived.lease.socket, self._name, self._where)
        self._over = False
        self.slot = 0

    def start(self) -> Callable[[], None]:
        """Begin, and give what stops it."""
        arrived = self._arrived
        arrived.means.wheel.arm(self, arrived.timeouts.dial_seconds)
        arrived.lease.on_ready = self._ready
        self._ready(0)
        return nothing if self._over else self._stop

    def due(self, now: float) -> float | None:
        """The wheel calls this: it takes too long."""
        self._fail(TargetSilent(self._where, self._arrived.timeouts.dial_seconds))
        return None

    def _ready(self, mask: int) -> None:
        """The poller calls this: go on."""
        lease = self._arrived.lease
        if self._over:
            return
        try:
            outcome = self._shaking.step()
            if outcome != DONE:
                lease.want(WRITE if outcome == BLOCKED else READ)
                return
            if self._tls.mode == "verify-full":
                self._shaking.check_server(self._name)
        except GateError as error:
            self._fail(error)
            return
        self._stop()
        self._carry(self._shaking.session())

    def _carry(self, session: Session) -> None:
        arrived = self._arrived
        try:
            client = arrived.accept()
        except GateError as error:
            arrived.refuse(error)
            return
        arrived.carry(client, SecureEnd(arrived.lease, session))

    def _fail(self, error: GateError) -> None:
        self._stop()
        self._arrived.refuse(error)

    def _stop(self) -> None:
        self._over = True
        self._arrived.lease.want(0)
        self._arrived.means.wheel.drop(self)


def _stamp(file: str) -> Stamp:
    """The state of *file* now.

    Raises:
        BadKeyPair: it is not there.
    """
    try:
        found = os.stat(file)
    except OSError as error:
        raise BadKeyPair(file, error.strerror or "cannot be looked at") from error
    return found.st_mtime_ns, found.st_size, found.st_ino
