"""A whole cluster in memory behind its API, for tests of the API."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tlsgate.auth import otp
from tlsgate.auth.api import Api, Ask, Parts, Reply
from tlsgate.auth.authorities import Authorities
from tlsgate.auth.invites import Invites
from tlsgate.auth.issue import Issuer
from tlsgate.auth.lockout import Lockout
from tlsgate.auth.locks import Locks
from tlsgate.auth.passwords import Cost, Passwords
from tlsgate.auth.presets import presets
from tlsgate.auth.principal import Principal, gateway, local
from tlsgate.auth.resources import packed
from tlsgate.auth.seal import Seal
from tlsgate.auth.sessions import Sessions
from tlsgate.auth.tokens import Tokens
from tlsgate.auth.users import Users
from tlsgate.core.claims import Claims
from tlsgate.core.keeping import Put
from tlsgate.interfaces import IAudit
from tlsgate.store.memory import MemoryStore

BEGIN = 1_800_000_000.0
NAME = "gate.example.com"
PASSWORD = "correct horse battery"
ADDRESS = "192.0.2.7"

_KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
PEM = _KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
SSH = _KEY.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def new_pem() -> str:
    """Another public key."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@implementer(IAudit)
@define
class HeardAudit:
    """Keeps the events."""

    events: list[tuple[str, dict[str, Any]]] = field(factory=list)

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        self.events.append((event, dict(fields)))

    def take(self) -> list[str]:
        """The names of what came since the last time."""
        names = [event for event, _ in self.events]
        self.events.clear()
        return names


class FakeTrail:
    """A trail that was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def read(self, **asked: Any) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        self.asked.append(asked)
        return [{"event": "user.login"}], None


def now_thread(call: Callable[..., Any], *args: object) -> Deferred[Any]:
    """Stands in for `deferToThread`."""
    return succeed(call(*args))


class Cluster:
    """The parts, made for *case*, with the presets and whoever is added."""

    def __init__(self, case: SynchronousTestCase, **more: Any) -> None:
        self.case = case
        self.clock = Clock()
        self.clock.advance(BEGIN)
        folder = Path(tempfile.mkdtemp())
        case.addCleanup(shutil.rmtree, folder)
        now = self.clock.seconds
        self.store = store = MemoryStore(now, lambda call: self.clock.callLater(0, call))
        self.audit = HeardAudit()
        seal = Seal.open(folder)
        passwords = Passwords(now_thread, Cost(memory_kib=8, passes=1, lanes=1, unsafe_cheap=True))
        sessions = Sessions(store, now)
        locks = Locks(store, now)
        invites = Invites(store, passwords, seal, now, issuer=NAME)
        authorities = Authorities(store, seal, now, NAME)
        self.run(authorities.start())
        self.run(locks.start())
        self.trail = FakeTrail()
        self.breaks: list[str] = []
        self.parts = Parts(
            store=store,
            users=Users(
                store,
                passwords,
                seal,
                now,
                self.audit,
                invites=invites,
                sessions=sessions,
                lockout=Lockout(store, now),
                locks=locks,
            ),
            tokens=Tokens(store, now),
            locks=locks,
            sessions=sessions,
            authorities=authorities,
            issuer=Issuer(authorities, NAME, now),
            audit=self.audit,
            cluster=NAME,
            now=now,
            clock=self.clock,
            version="1.2.3",
            public_addresses=lambda: ("gate.example.com:443",),
            trail=self.trail,
            may_switch=lambda old, new: self.breaks,
        )
        self.parts = evolve(self.parts, **more)
        self.api = Api(self.parts)
        for role in presets():
            self.run(store.commit([Put(f"roles/{role.name}", packed(role))]))
        self.local = local(0)
        self.gateway = gateway(NAME, "gw1")

    def run(self, coroutine: Any) -> Any:
        """What a coroutine gives that waits for nothing."""
        return self.case.successResultOf(Deferred.fromCoroutine(coroutine))

    def turn(self) -> None:
        """Let watchers hear."""
        for _ in range(3):
            self.clock.advance(0)

    def ask(
        self,
        principal: Principal,
        method: str,
        path: str,
        body: Any = None,
        *,
        address: str | None = None,
        **query: str,
    ) -> Reply:
        """Ask the API."""
        asked = Ask(method=method, path=path, query=query, body=body, address=address)
        reply: Reply = self.run(self.api.call(principal, asked))
        self.turn()
        return reply

    def offer(
        self,
        kind: str,
        name: str,
        agent: str = "offerer",
        facts: Mapping[str, str] | None = None,
        **labels: str,
    ) -> None:
        """Let an agent say that it offers this alone."""
        claims = Claims(cluster=NAME, kind="host", name=agent, system_roles=(kind,))
        who = Principal(kind="host", name=agent, claims=claims, serial=9)
        offer = {"kind": kind, "name": name, "labels": labels, "facts": dict(facts or {})}
        body = {"version": "1", "offers": [offer]}
        assert self.ask(who, "POST", "/v1/agent/heartbeat", body).status == 200

    def user(self, name: str, *roles: str, **more: Any) -> Principal:
        """Add a user with a password and a second factor; give who it is by certificate."""
        traits = more.pop("traits", {})
        made = self.ask(
            self.local, "POST", "/v1/users", {"name": name, "roles": list(roles), "traits": traits}
        )
        assert made.status == 200, made.body
        token = made.body["invite"]["token"]
        begun = self.run(self.parts.users.begin_invite(token))
        self.secrets = {**getattr(self, "secrets", {}), name: begun.secret}
        self.run(self.parts.users.accept_invite(token, PASSWORD, self.code(name)))
        self.clock.advance(60)
        return self.holder(name, *roles, traits={k: tuple(v) for k, v in traits.items()}, **more)

    def code(self, name: str) -> str:
        """The code that the user's authenticator shows now."""
        import base64

        secret = base64.b32decode(self.secrets[name] + "=" * (-len(self.secrets[name]) % 8))
        return otp.code_at(secret, otp.step_at(self.clock.seconds()))

    def holder(self, name: str, *roles: str, **more: Any) -> Principal:
        """Who shows a certificate that says this."""
        claims = Claims(cluster=NAME, kind="user", name=name, roles=roles, **more)
        return Principal(
            kind="user",
            name=name,
            claims=claims,
            address=ADDRESS,
            serial=0xA1,
            not_after=self.clock.seconds() + 3600,
        )
