"""ALPN tokens: the table of what each one leads to, and the choice between two lists.

docs/alpn.md and `tgctl export` are made from `TOKENS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from attrs import frozen

#: Behind a long-lived token's name: the same protocol inside our ping frames.
PING_SUFFIX = b"-ping"


@frozen(kw_only=True)
class Token:
    """One row of the table: what a client that offers a token gets, and must show.

    "by name" stands where the server name decides (console, auth API, applications).
    """

    value: bytes
    aliases: tuple[bytes, ...] = ()  #: other tokens for the very same
    inside: str  #: what is spoken under TLS
    client_cert: Literal["none", "required", "by name"]
    holders: tuple[Literal["host", "user"], ...] = ()  #: whose certificate is taken
    presents: Literal["web", "cluster", "challenge", "by name"]  #: the gateway's certificate
    ping: bool = False  #: long-lived: our clients offer the ping variant before it

    @property
    def values(self) -> tuple[bytes, ...]:
        """Every token that leads here, the ping variant first as clients offer it."""
        pings = (self.value + PING_SUFFIX,) if self.ping else ()
        return (*pings, self.value, *self.aliases)


def _target(value: bytes, inside: str) -> Token:
    """A row for a protocol that people use to reach a target."""
    return Token(
        value=value,
        inside=inside,
        client_cert="required",
        holders=("user",),
        presents="cluster",
        ping=True,
    )


#: Every token that the gate knows by itself; static routes and drop-ins add theirs.
#: Agents offer "tlsgate-reversetunnel/WORKER" before the plain token, for one worker.
TOKENS: tuple[Token, ...] = (
    Token(
        value=b"http/1.1",
        aliases=(b"h2",),
        inside="HTTP: the console, the web API, applications",
        client_cert="by name",
        holders=("user",),
        presents="by name",
    ),
    Token(
        value=b"tlsgate-auth",
        inside="the auth API (HTTP/1.1, JSON)",
        client_cert="required",
        holders=("host", "user"),
        presents="cluster",
    ),
    Token(
        value=b"tlsgate-join",
        inside="joining with a token; login with a CA pin",
        client_cert="none",
        presents="cluster",
    ),
    Token(
        value=b"tlsgate-webcert",
        inside="which web certificates are the gateway's (HTTP/1.1, JSON)",
        client_cert="none",
        presents="cluster",
    ),
    Token(
        value=b"tlsgate-reversetunnel",
        inside="agents' control and stream connections",
        client_cert="required",
        holders=("host",),
        presents="cluster",
    ),
    _target(b"tlsgate-ssh", "SSH, after one CONNECT that names the target"),
    _target(b"tlsgate-postgres", "PostgreSQL"),
    # The IANA name: libpq 17 and later with sslnegotiation=direct, which knows no ping and
    # checks the name of the public address.
    Token(
        value=b"postgresql",
        inside="PostgreSQL",
        client_cert="required",
        holders=("user",),
        presents="web",
    ),
    _target(b"tlsgate-mysql", "MySQL and MariaDB"),
    _target(b"tlsgate-mongodb", "MongoDB"),
    _target(b"tlsgate-redis", "Redis"),
    _target(b"tlsgate-tcp", "any protocol over TCP"),
    _target(b"tlsgate-kube", "Kubernetes"),
    Token(
        value=b"acme-tls/1",
        inside="the answer to ACME's TLS-ALPN-01 challenge, then closed",
        client_cert="none",
        presents="challenge",
    ),
)


#: Each ping variant, to the token that it is of.
PINGED: Mapping[bytes, bytes] = MappingProxyType(
    {row.value + PING_SUFFIX: row.value for row in TOKENS if row.ping}
)


def with_pings(tokens: Sequence[bytes]) -> tuple[bytes, ...]:
    """Put before each of *tokens* that is long-lived its ping variant."""
    ours = [
        one
        for token in tokens
        for one in (token + PING_SUFFIX, token)
        if one is token or one in PINGED
    ]
    return tuple(dict.fromkeys(ours))


def best_common(ours: Sequence[bytes], offered: Sequence[bytes]) -> bytes | None:
    """Our first token that the client offered too; the order of *ours* wins."""
    return next((token for token in ours if token in offered), None)
