"""An auth service that knows web sessions at applications, and is only dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, evolve, field
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from twisted.internet.defer import Deferred
from zope.interface import implementer

from tests.support.certs import pki
from tlsgate.core.access import Identity
from tlsgate.errors import BadCertificate, Unreachable
from tlsgate.interfaces import IAuthDoor, IWatch
from tlsgate.testing import FakeCluster, member

NOW = 1_700_000_000.0
HOUR = 3600.0
#: What a certificate is; whose it is says `AppAuth.identify`.
PEM = pki().alice.cert_pem
DER = x509.load_pem_x509_certificate(PEM).public_bytes(Encoding.DER)
COOKIE = "c" * 59
CODE = "k" * 43


@implementer(IAuthDoor)
@define
class AppAuth:
    """Answers as the auth service does.

    Attributes:
        sessions: cookie to (sid, user, app).
        codes: one-shot code to (state, app).
        status: of every answer instead; 0: as it is. 503: it is away.
        life_seconds: of each certificate.
        slow: each answer waits until its entry of `waiting` is fired.
        routes: of each certificate; None: as asked.
    """

    sessions: dict[str, tuple[str, str, str]] = field(
        factory=lambda: {COOKIE: ("sid-1", "alice", "grafana")}
    )
    codes: dict[str, tuple[str, str]] = field(factory=dict)
    asked: list[tuple[str, Mapping[str, Any], str | None]] = field(factory=list)
    status: int = 0
    now: float = NOW
    life_seconds: float = HOUR
    slow: bool = False
    waiting: list[Deferred[None]] = field(factory=list)
    routes: Mapping[str, str] | None = None
    pem: str = PEM.decode()
    _made: list[Identity] = field(factory=list)

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        address: str | None = None,
        as_anyone: bool = False,
    ) -> tuple[int, Any]:
        assert method == "POST" and body is not None and not as_anyone
        verb = path.removeprefix("/v1/gateway/")
        self.asked.append((verb, body, address))
        if self.slow:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        if self.status == 503:
            raise Unreachable("the auth service", "nobody is there")
        if self.status:
            return self.status, {"error": {"reason": "x", "fault": "client", "message": "no"}}
        found: tuple[int, Any] = getattr(self, "_" + verb.replace("-", "_"))(body)
        return found

    def watch(self, heard: Callable[[Mapping[str, Any]], None]) -> IWatch:
        raise NotImplementedError

    def verbs(self) -> list[str]:
        """What was asked for."""
        return [verb for verb, _, _ in self.asked]

    def identify(self, certificate: bytes) -> Identity:
        """Whose the last certificate is."""
        if certificate != DER or not self._made:
            raise BadCertificate("it is of nobody here")
        return self._made[-1]

    def _session(self, body: Mapping[str, Any]) -> tuple[str, str, str] | None:
        found = self.sessions.get(body["cookie"])
        return found if found is not None and found[2] == body["app"] else None

    def _app_session(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        if self.codes.pop(body["code"], None) != (body["state"], body["app"]):
            return 401, {}
        self.sessions[COOKIE] = ("sid-1", "alice", body["app"])
        return 200, {"cookie": COOKIE, "sid": "sid-1", "user": "alice", "expires": self.now + HOUR}

    def _app_certificate(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        load_pem_public_key(body["public_key"].encode())
        found = self._session(body)
        if found is None:
            return 401, {}
        sid, user, app = found
        routes = {"app": app} if self.routes is None else self.routes
        who = member(user, "access", routes=routes)
        self._made.append(evolve(who, not_after=self.now + self.life_seconds))
        end = self.now + self.life_seconds
        return 200, {"certificate": self.pem, "sid": sid, "user": user, "expires": end}

    def _app_check(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        found = self._session(body)
        return (401, {}) if found is None else (200, {"sid": found[0], "user": found[1]})

    def _app_logout(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        found = self.sessions.pop(body["cookie"], None)
        return (401, {}) if found is None else (200, {"user": found[1], "ended": 1})


class AppCluster(FakeCluster):
    """A cluster that tells of the ends of sessions."""

    def __init__(self, auth: AppAuth) -> None:
        super().__init__(door=auth)
        self.listeners: list[Callable[[str], None]] = []

    def on_session_end(self, listener: Callable[[str], None]) -> None:
        """Tell *listener*."""
        self.listeners.append(listener)

    def session_ended(self, sid: str) -> None:
        """Say that a session has."""
        for listener in self.listeners:
            listener(sid)
