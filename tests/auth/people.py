"""What the tests of users share: a clock, cheap hashes, a seal, an audit that remembers."""

from __future__ import annotations

import base64
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar, cast

from attrs import define, field
from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tlsgate.auth import otp
from tlsgate.auth.invites import Invites
from tlsgate.auth.lockout import Lockout
from tlsgate.auth.locks import Locks
from tlsgate.auth.opaque import pack
from tlsgate.auth.passwords import Cost, Passwords
from tlsgate.auth.sessions import Sessions
from tlsgate.auth.users import Users
from tlsgate.core.keeping import Put
from tlsgate.errors import BadSeal
from tlsgate.interfaces import IAudit
from tlsgate.store.memory import MemoryStore

T = TypeVar("T")

#: A hash in microseconds; a canary of the tests, never of the daemon.
CHEAP = Cost(memory_kib=8, passes=1, unsafe_cheap=True)

PASSWORD = "correct horse battery"
HOME = "192.0.2.10"


@implementer(IAudit)
@define
class Audit:
    """Remembers what it is told."""

    events: list[tuple[str, Mapping[str, object]]] = field(factory=list)

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        self.events.append((event, dict(fields)))


class XorSeal:
    """Hides a secret from a reader of the store, bound to its place."""

    def close(self, secret: bytes, place: str) -> bytes:
        return place.encode() + b"|" + bytes(byte ^ 0x5A for byte in secret)

    def reveal(self, sealed: bytes, place: str) -> bytes:
        bound, _, hidden = sealed.partition(b"|")
        if bound != place.encode():
            raise BadSeal(place, "it was closed for another place")
        return bytes(byte ^ 0x5A for byte in hidden)


class AuthTestCase(SynchronousTestCase):
    """A cluster of one process: a store, its clock, and everything about people."""

    unsafe_no_second_factor = False

    def setUp(self) -> None:
        #: The middle of a step, so that a test says itself when the step changes.
        self.seconds = 1_800_000_015.0
        self.store = MemoryStore(lambda: self.seconds)
        self.audit = Audit()
        self.seal = XorSeal()
        self.hashes: list[str] = []
        self.passwords = Passwords(self.in_thread, CHEAP)
        self.sessions = Sessions(self.store, self.now)
        self.lockout = Lockout(self.store, self.now)
        self.locks = Locks(self.store, self.now)
        self.invites = Invites(
            self.store,
            self.passwords,
            self.seal,
            self.now,
            issuer="example.com",
            unsafe_no_second_factor=lambda: self.unsafe_no_second_factor,
        )
        self.users = Users(
            self.store,
            self.passwords,
            self.seal,
            self.now,
            self.audit,
            invites=self.invites,
            sessions=self.sessions,
            lockout=self.lockout,
            locks=self.locks,
            unsafe_no_second_factor=lambda: self.unsafe_no_second_factor,
        )
        for role in ("access", "editor"):
            self.run_now(self.store.commit([Put(f"roles/{role}", pack({"kind": "role"}))]))

    def now(self) -> float:
        return self.seconds

    def in_thread(self, call: Any, *args: Any) -> Deferred[Any]:
        """Run *call* at once, and count it."""
        self.hashes.append(args[0].__name__)  # what runs when it is its turn
        return execute(call, *args)

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
        return Deferred.fromCoroutine(coroutine)

    def run_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine*, which waits for nothing, and give what it gives or raises."""
        result: Any = self.successResultOf(self.begin(coroutine).addErrback(lambda f: f.value))
        if isinstance(result, BaseException):
            raise result
        return cast(T, result)

    def fails(self, kind: type[BaseException], coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run *coroutine* and give the error that it has to raise."""
        return self.failureResultOf(self.begin(coroutine), kind).value

    def code(self, secret: bytes | str, steps: int = 0) -> str:
        """The code of an authenticator, some steps from now."""
        raw = base64.b32decode(secret) if isinstance(secret, str) else secret
        return otp.code_at(raw, otp.step_at(self.seconds) + steps)

    def make_user(
        self, name: str = "alice", roles: Sequence[str] = ("access",), password: str = PASSWORD
    ) -> str:
        """Take a user through its invite; give the authenticator's secret in base32.

        The clock has gone on by one step, so the next code is a new one.
        """
        invite = self.run_now(self.users.add(name, roles))
        begun = self.run_now(self.users.begin_invite(invite.token))
        assert begun.secret is not None
        self.run_now(self.users.accept_invite(invite.token, password, self.code(begun.secret)))
        self.seconds += otp.STEP_SECONDS
        self.audit.events.clear()
        self.hashes.clear()
        return begun.secret
