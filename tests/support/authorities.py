"""A cluster's authorities on a store in memory, with a clock that stands still."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tlsgate.auth.authorities import Authorities
from tlsgate.auth.issue import Issuer
from tlsgate.auth.seal import Seal
from tlsgate.core.claims import Claims
from tlsgate.store.memory import MemoryStore
from tlsgate.tls.publickeys import PublicKey

_T = TypeVar("_T")

#: Names of the cluster that tests talk of.
CLUSTER = "gate.example.com"


def now_of(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of *coroutine*, which waits for nothing that is not there already."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    assert results, "it still waits"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    found: _T = results[0]
    return found


class Cluster:
    """Authorities that have been started, and what issues from them.

    Attributes:
        now: seconds since the epoch; a test moves it.
    """

    def __init__(self, now: float = 1_800_000_000.0, name: str = CLUSTER) -> None:
        self.now = now
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix="tlsgate-cluster-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.store = MemoryStore(now=self.clock)
        self.seal = Seal.open(self.folder)
        self.authorities = self.another()
        self.issuer = Issuer(self.authorities, name, self.clock)

    def clock(self) -> float:
        """The time."""
        return self.now

    def another(self) -> Authorities:
        """The same authorities as another process has them, started."""
        found = Authorities(self.store, self.seal, self.clock, self.name)
        now_of(found.start())
        return found

    def rotate(self, kind: str, phase: str, grace_seconds: float | None = None) -> dict[str, Any]:
        """Take a step."""
        return now_of(self.authorities.rotate(kind, phase, grace_seconds))

    def user(self, name: str = "alice", **more: Any) -> Claims:
        """What a user's certificate says."""
        return Claims(**{"cluster": self.name, "kind": "user", "name": name, **more})

    def host(self, name: str = "gw1", *roles: str, **more: Any) -> Claims:
        """What a host's certificate says; a gateway's where no role is given."""
        said = {"cluster": self.name, "kind": "host", "system_roles": roles or ("gateway",)}
        return Claims(**{"name": name, **said, **more})


def p256() -> ec.EllipticCurvePrivateKey:
    """A new key."""
    return ec.generate_private_key(ec.SECP256R1())


Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def spki(key: Private | PublicKey) -> str:
    """The public half of *key* in PEM."""
    public = key.public_key() if isinstance(key, Private) else key
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def ssh_line(key: Private | PublicKey) -> str:
    """The same as a line of OpenSSH."""
    public = key.public_key() if isinstance(key, Private) else key
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
