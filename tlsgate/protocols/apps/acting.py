"""Who acts in a web session at an application, as one gateway knows it for a while.

1. The first request of a session asks the auth service for a certificate of the user, good for
   that application alone and as long as the session; requests beside it wait for that answer.
2. Later ones find it here. After two thirds of its life it is asked for anew, beside them.
3. The auth service tells the end of a session to all who watch it (`ICluster`); then everything
   of the session is forgotten at once, and whoever holds something open for it is called (S31).
   A cookie that is not known costs its address one of the few that it may show (`strangers`).
4. A session that is used is said to be used once a minute, and so is one that has a WebSocket
   open. That answer also finds an end that the watch has not told of.

The certificate's key is made here, proves nothing to anybody (the agent verifies the certificate
alone, over the tunnel), and is dropped at once: what is not kept cannot be stolen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from attrs import define, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.core.access import Identity
from tlsgate.core.certroutes import APP, CLUSTER
from tlsgate.errors import BadCertificate, GateError
from tlsgate.interfaces import ICluster
from tlsgate.protocols.apps.strangers import Strangers
from tlsgate.tls.holder import Users

#: A certificate that ends sooner is none any more.
_MARGIN_SECONDS: Final = 5.0
#: Of a certificate's life, after which there should be another one.
_RENEW: Final = 2 / 3
#: Between two questions whether a session that is used goes on.
_CHECK_SECONDS: Final = 60.0
#: A session that nobody uses is forgotten here; the auth service still has it.
_FORGET_SECONDS: Final = 600.0
#: A session that nobody can confirm any more ends here.
_SILENT_SECONDS: Final = 300.0
#: Between two looks at all of them.
_SWEEP_SECONDS: Final = 15.0
#: Sessions that are known at once, and questions that are open at once.
_KNOWN: Final = 10_000
_ASKING: Final = 256


@frozen
class Key:
    """What a session's requests have in common; all of it is told to the auth service.

    Attributes:
        cookie: of the session.
        address: of the client; None where it has none.
        certificate: SHA-256 of the client's own certificate, in hex; None without one.
    """

    cookie: str = field(repr=False)
    app: str
    address: str | None
    certificate: str | None

    def told(self) -> dict[str, Any]:
        """This as the auth service takes it."""
        return {
            "cookie": self.cookie,
            "app": self.app,
            "address": self.address,
            "certificate": self.certificate,
        }


@frozen(kw_only=True, eq=False)
class Acting:
    """The user of a session, as targets are asked for.

    Attributes:
        sid: names the session; lets nobody in.
        identity: of the user, limited to the application.
        certificate: the same for the agent, DER.
        expires: of the certificate, seconds since the epoch.
    """

    sid: str
    user: str
    identity: Identity
    certificate: bytes = field(repr=False)
    expires: float
    _watch: Callable[[Callable[[], object]], Callable[[], object]] = field(repr=False)

    def on_end(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Call *callback* once when the session ends; give what calls that off.

        At once where it has ended already. While anybody waits for that, the session is used.
        """
        return self._watch(callback)


@define(eq=False)
class _Known:
    """One session at one application, from one address."""

    key: Key
    acting: Acting
    renew_at: float
    check_at: float
    used_at: float
    heard_at: float
    watchers: dict[object, Callable[[], object]]
    busy: bool = False


class Sessions:
    """The sessions that this gateway has seen lately.

    Args:
        clock: for looking after them.
        now: seconds since the epoch.
        identify: gives the user whose certificate it is given, in DER; raises a `GateError`.
            None: by the cluster's authorities as they are known.
    """

    log = Logger()

    def __init__(
        self,
        cluster: ICluster,
        clock: IReactorTime,
        now: Callable[[], float],
        identify: Callable[[bytes], Identity] | None = None,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._now = now
        self._identify = identify or partial(_identify, cluster, Users(), now)
        self._known: dict[Key, _Known] = {}
        self._waiting: dict[Key, list[Deferred[Acting | int]]] = {}
        #: Sessions that have just ended, and when: their answers may still be on the way.
        self._ended: dict[str, float] = {}
        self._strangers = Strangers(clock)
        self._sweeping: IDelayedCall | None = None
        listen = getattr(cluster, "on_session_end", None)
        if listen is not None:
            listen(self.ended)

    def stop(self) -> None:
        """Look after nothing any more."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        self._known.clear()

    async def find(self, key: Key) -> Acting | int:
        """Give who acts, or a status.

        401: no such session, 403: locked, 429: too many cookies of nobody from that address,
        503: nobody knows.
        """
        known, now = self._known.get(key), self._now()
        if known is not None and self._is_good(known, now):
            known.used_at = now
            if now >= min(known.renew_at, known.check_at):
                self._refresh(known)
            return known.acting
        if self._strangers.is_bad(key):
            return 401
        answer: Deferred[Acting | int] = Deferred()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(answer)
        elif len(self._waiting) >= _ASKING:
            return 503
        elif not self._strangers.may_ask(key.address):
            return 429
        else:
            self._waiting[key] = [answer]
            # Not in the first request's own name: that one may go, and the others still wait.
            asking = Deferred.fromCoroutine(self._certificate(key))
            asking.addErrback(self._failed)
            asking.addCallback(self._answered, key)
        return await answer

    def ended(self, sid: str) -> None:
        """Forget a session that has ended; "": any may have, and nobody has told."""
        if sid:
            self._ended[sid] = self._now()
            self._look_later()
        for known in list(self._known.values()):
            if known.acting.sid == sid:
                self._drop(known)
            elif not sid and not known.watchers:
                del self._known[known.key]
            elif not sid:
                known.check_at = 0.0
                self._refresh(known)

    def left(self, cookie: str) -> None:
        """Forget the session of *cookie*, which its own user has just ended."""
        for known in [one for one in self._known.values() if one.key.cookie == cookie]:
            self.ended(known.acting.sid)

    def _answered(self, found: Acting | int, key: Key) -> None:
        if not isinstance(found, int):
            self._strangers.was_good(key.address)
        elif found == 401:
            self._strangers.was_bad(key)
        if found in (401, 403) and (known := self._known.get(key)) is not None:
            self._drop(known)
        for one in self._waiting.pop(key):
            one.callback(found)

    def _failed(self, failure: Failure) -> int:
        self.log.failure("a web session at an application", failure=failure)
        return 503

    async def _certificate(self, key: Key) -> Acting | int:
        """Ask for a certificate, and know the session from now on."""
        public = ec.generate_private_key(ec.SECP256R1()).public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        began = self._now()
        status, said = await self._ask("app-certificate", key, {"public_key": pem})
        if status != 200:
            return status
        sid, user = str(said["sid"]), str(said["user"])
        try:
            der = x509.load_pem_x509_certificate(said["certificate"].encode()).public_bytes(
                Encoding.DER
            )
            identity = self._identify(der)
        except (ValueError, GateError) as error:
            self.log.error("a certificate for application {app}: {why}", app=key.app, why=error)
            return 503
        claims = identity.claims
        routes = {} if claims is None else {**claims.routes}
        routes.pop(CLUSTER, None)
        if claims is None or claims.name != user or routes != {APP: key.app}:
            self.log.error("a certificate for application {app} is for else", app=key.app)
            return 503
        if sid in self._ended:
            return 401
        before = self._known.get(key)
        if before is not None and before.acting.sid != sid:
            self._drop(before)
            before = None
        watchers = {} if before is None else before.watchers
        acting = Acting(
            sid=sid,
            user=user,
            identity=identity,
            certificate=der,
            expires=identity.not_after,
            watch=partial(self._watch, key, sid),
        )
        self._known[key] = _Known(
            key=key,
            acting=acting,
            renew_at=began + (identity.not_after - began) * _RENEW,
            check_at=began + _CHECK_SECONDS,
            used_at=began if before is None else before.used_at,
            heard_at=began,
            watchers=watchers,
        )
        self._bound()
        self._look_later()
        return acting

    def _watch(self, key: Key, sid: str, callback: Callable[[], object]) -> Callable[[], object]:
        known = self._known.get(key)
        if known is None or known.acting.sid != sid:
            callback()  # it has ended, or was forgotten: nobody would tell of its end later
            return lambda: None
        mine = object()
        known.watchers[mine] = callback
        watchers = known.watchers
        return lambda: watchers.pop(mine, None)

    def _refresh(self, known: _Known) -> None:
        """Ask beside the requests whether the session goes on; for a new certificate in time."""
        if known.busy:
            return
        known.busy = True
        renewing = self._now() >= known.renew_at
        asking = Deferred.fromCoroutine(
            self._certificate(known.key) if renewing else self._check(known)
        )
        asking.addErrback(self._failed)
        asking.addCallback(self._refreshed, known)

    async def _check(self, known: _Known) -> Acting | int:
        status, _ = await self._ask("app-check", known.key, {})
        return known.acting if status == 200 else status

    def _refreshed(self, found: Acting | int, known: _Known) -> None:
        known.busy = False
        now = self._now()
        if not isinstance(found, int):
            known.heard_at, known.check_at = now, now + _CHECK_SECONDS
        elif found != 503 or now - known.heard_at > _SILENT_SECONDS:
            self._drop(known)
        else:
            known.check_at = now + _SWEEP_SECONDS
            known.renew_at = max(known.renew_at, known.check_at)

    async def _ask(self, verb: str, key: Key, more: dict[str, Any]) -> tuple[int, Any]:
        try:
            status, said = await self._cluster.door.ask(
                "POST", f"/v1/gateway/{verb}", {**key.told(), **more}, address=key.address
            )
        except GateError:
            return 503, {}
        if status == 200 and isinstance(said, dict):
            return 200, said
        return (status if status in (401, 403) else 503), {}

    def _is_good(self, known: _Known, now: float) -> bool:
        acting = known.acting
        return acting.expires - now > _MARGIN_SECONDS and self._cluster.is_ours(acting.identity)

    def _sweep(self) -> None:
        self._sweeping = None
        now = self._now()
        for known in list(self._known.values()):
            if known.acting.expires <= now:
                self._drop(known)
            elif known.watchers:
                if not self._cluster.is_ours(known.acting.identity):
                    known.renew_at = now  # its authority is none any more; the session goes on
                if now >= min(known.check_at, known.renew_at):
                    self._refresh(known)
            elif now - known.used_at > _FORGET_SECONDS:
                del self._known[known.key]
        for sid in [one for one, at in self._ended.items() if now - at > _FORGET_SECONDS]:
            del self._ended[sid]
        self._look_later()

    def _look_later(self) -> None:
        if self._sweeping is None and (self._known or self._ended):
            self._sweeping = self._clock.callLater(_SWEEP_SECONDS, self._sweep)

    def _bound(self) -> None:
        """Forget who came first where there are too many."""
        while len(self._known) > _KNOWN:
            self._drop(next(iter(self._known.values())))

    def _drop(self, known: _Known) -> None:
        """Forget a session, and tell everybody who holds something open for it."""
        current = self._known.get(known.key)
        if current is not None and current.acting.sid == known.acting.sid:
            del self._known[known.key]
        watchers = list(known.watchers.values())
        known.watchers.clear()
        for callback in watchers:
            try:
                callback()
            except Exception:
                self.log.failure("the end of a web session was not followed; this is a bug")


def fingerprint(certificate: bytes) -> str | None:
    """How the auth service calls a client's certificate, given in DER; b"" is none."""
    return hashlib.sha256(certificate).hexdigest() if certificate else None


def _identify(
    cluster: ICluster, users: Users, now: Callable[[], float], certificate: bytes
) -> Identity:
    state: Any = getattr(cluster, "state", None)
    if state is None:
        raise BadCertificate("the auth service has not been heard yet")
    return users.user(certificate, state.authorities["user"], now())
