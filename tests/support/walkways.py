"""The ways that a cluster advertises, and one short connection by each of them.

What a client would do with a `/webapi/find` document is decided by the same code that decides in
tgsh and in agents (`core.sshway`, `core.tunnelway`). Every connection goes on until its protocol
has answered: an open port that refuses does not count.
"""

from __future__ import annotations

import itertools
import json
import socket
import ssl
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from tests.support.certs import pki
from tests.support.cluster import Holder
from tests.support.harness import receive
from tlsgate.core.frames import Frame, FrameKind, Frames, message, read_message
from tlsgate.core.greetings import AgentHello, GatewayHello
from tlsgate.core.sshway import SEPARATE, ssh_way
from tlsgate.core.tunnelway import tunnel_way

#: Of one connection: long, since the machine is busy, and nobody may hang for ever.
DIAL_SECONDS = 20.0
SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
#: Of SSH's packets (RFC 4253 section 12).
_KEXINIT = 20
#: What a client of the walk calls itself, and its binary packets begin after.
_VERSION = b"SSH-2.0-OpenSSH_9.2 walk\r\n"
#: More than this before an answer is no answer.
_ENOUGH = 65536
_TURNS = itertools.count()

Document = Mapping[str, Any]


class NotServed(AssertionError):
    """The way was open, and its protocol did not answer as it should."""


@frozen(kw_only=True)
class Means:
    """With what the walk's clients come.

    Attributes:
        host, port: the web address, as everybody knows it.
        user: a certificate for everything but databases.
        database: one for the database.
        members: agents' certificates, by turns: a gateway admits each only so often.
        node: what SSH goes to, as "name:port"; `app` the host of an application.
    """

    host: str
    port: int
    user: Holder
    database: Holder
    members: Sequence[Holder]
    node: str
    app: str


@frozen
class Way:
    """One way to dial.

    Attributes:
        kind: web, api, app, ssh, postgres, direct or tunnel.
        port: of the gateway.
        own: it is a port of this protocol's own, and no ALPN token is asked for.
    """

    kind: str
    port: int
    own: bool = False

    def __str__(self) -> str:
        return f"{self.kind} at {self.port}{' (its own port)' if self.own else ''}"


def advertised(document: Document, means: Means) -> tuple[Way, ...]:
    """The ways that clients who have just read *document* would go."""
    web = means.port
    how, _, ssh = ssh_way(document, means.host, web)
    tunnel = tunnel_way(document, f"{means.host}:{web}")
    return (
        *(Way(kind, web) for kind in ("web", "api", "app", "direct")),
        Way("ssh", ssh, how == SEPARATE),
        Way("tunnel", tunnel.port, not tunnel.alpn),
        Way("postgres", postgres_port(document, web)),
    )


def postgres_port(document: Document, web: int) -> int:
    """Where a client dials that begins with PostgreSQL's SSLRequest."""
    if document["proxy"]["tls_routing_enabled"]:
        return web
    said = document["proxy"].get("db", {})
    written = said.get("postgres_public_addr") or said.get("postgres_listen_addr")
    return int(written.rpartition(":")[2]) if written else web


def try_way(way: Way, means: Means) -> None:
    """Dial, and have the protocol answer.

    Raises:
        OSError, AssertionError, ValueError: it does not.
    """
    with socket.create_connection(("127.0.0.1", way.port), DIAL_SECONDS) as raw:
        _TRIED[way.kind](raw, way, means)


def fetch(means: Means) -> Document:
    """The document that is served now.

    Raises:
        OSError, AssertionError, ValueError: there is none.
    """
    raw = socket.create_connection(("127.0.0.1", means.port), DIAL_SECONDS)
    with raw, _web(raw, "http/1.1") as secured:
        found = json.loads(_get(secured, "/webapi/find", means.host))
    assert isinstance(found, dict)
    return found


# -- each kind -------------------------------------------------------------------------


def _try_web(raw: socket.socket, way: Way, means: Means) -> None:
    with _web(raw, "http/1.1") as secured:
        _get(secured, "/webapi/ping", means.host)


def _try_api(raw: socket.socket, way: Way, means: Means) -> None:
    context = means.user.context("tlsgate-auth")
    with context.wrap_socket(raw, server_hostname="gw.test") as secured:
        said = json.loads(_get(secured, "/v1/me", "gw.test"))
    _must(said.get("name") == means.user.name, said)


def _try_app(raw: socket.socket, way: Way, means: Means) -> None:
    with _web(raw, "http/1.1", who=means.user, name=means.app) as secured:
        said = json.loads(_get(secured, "/walk", means.app))
    _must(said["target"] == "/walk", said)


def _try_ssh(raw: socket.socket, way: Way, means: Means) -> None:
    if way.own:
        _must(_line(raw).startswith(b"SSH-2.0-tlsgate"), "no banner")
        raw.sendall(_VERSION)
        head = receive(raw, 6)
        _must(len(head) == 6 and head[5] == _KEXINIT, head)
        return
    context = means.user.context("tlsgate-ssh")
    with context.wrap_socket(raw, server_hostname="gw.test") as secured:
        where = means.node
        secured.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
        head = _head(secured)
        _must(head.split()[1:2] == [b"200"], head)
        _must(_line(secured).startswith(b"SSH-2.0-OpenSSH"), "no sshd")


def _try_postgres(raw: socket.socket, way: Way, means: Means) -> None:
    raw.sendall(SSL_REQUEST)
    _must((said := receive(raw, 1)) == b"S", said)
    with _web(raw, who=means.database) as secured:
        _query(secured)


def _try_direct(raw: socket.socket, way: Way, means: Means) -> None:
    with _web(raw, "postgresql", who=means.database) as secured:
        _query(secured)


def _query(secured: ssl.SSLSocket) -> None:
    words = b"user\0alice\0database\0app\0\0"
    start = struct.pack(">II", 8 + len(words), 196608) + words
    secured.sendall(start)
    kind, body = _packet(secured)
    _must(kind == b"R", (kind, body))
    while kind != b"Z":
        kind, body = _packet(secured)
        _must(kind != b"E", body)
    secured.sendall(b"X\0\0\0\x04")


def _packet(secured: ssl.SSLSocket) -> tuple[bytes, bytes]:
    head = receive(secured, 5)
    _must(len(head) == 5, head)
    size = struct.unpack(">I", head[1:])[0]
    _must(4 <= size <= _ENOUGH, head)
    return head[:1], receive(secured, size - 4)


def _try_tunnel(raw: socket.socket, way: Way, means: Means) -> None:
    tokens = () if way.own else ("tlsgate-reversetunnel",)
    member = means.members[next(_TURNS) % len(means.members)]
    context = member.context(*tokens)
    with context.wrap_socket(raw, server_hostname="gw.test") as secured:
        if tokens:
            _must(secured.selected_alpn_protocol() == tokens[0], "another token")
        hello = AgentHello(
            kind="control", agent=member.name, cluster="gw.test", version="1", roles=("node",)
        )
        secured.sendall(message(FrameKind.HELLO, hello.told()))
        frames = Frames()
        found: list[Frame] = []
        while not found:
            data = secured.recv(_ENOUGH)
            _must(bool(data), "the gateway hung up")
            found = frames.feed(data)
        _must(found[0].kind is FrameKind.HELLO, found[0])
        said = GatewayHello.read(read_message(found[0]))
        _must(not said.error, said.error)


_TRIED: Mapping[str, Callable[[socket.socket, Way, Means], None]] = {
    "web": _try_web,
    "api": _try_api,
    "app": _try_app,
    "ssh": _try_ssh,
    "postgres": _try_postgres,
    "direct": _try_direct,
    "tunnel": _try_tunnel,
}

# -- what they share -------------------------------------------------------------------


def _web(
    raw: socket.socket, *alpn: str, who: Holder | None = None, name: str = "localhost"
) -> ssl.SSLSocket:
    """TLS to what shows the web certificate."""
    context = ssl.create_default_context(cafile=str(pki().file("ca.pem")))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if who is not None:
        context.load_cert_chain(who.cert, who.key)
    return context.wrap_socket(raw, server_hostname=name)


def _get(secured: ssl.SSLSocket, path: str, host: str) -> bytes:
    secured.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    whole = b"".join(iter(lambda: secured.recv(_ENOUGH), b""))
    head, _, body = whole.partition(b"\r\n\r\n")
    _must(head.split()[1:2] == [b"200"], whole[:500])
    if b"transfer-encoding: chunked" in head.lower():
        size, _, rest = body.partition(b"\r\n")
        body = rest[: int(size, 16)]
    return body


def _head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        more = connection.recv(1)
        _must(bool(more) and len(head) < _ENOUGH, head)
        head += more
    return head


def _line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        more = connection.recv(1)
        _must(bool(more) and len(line) < 256, line)
        line += more
    return line


def _must(right: bool, said: object) -> None:
    if not right:
        raise NotServed(f"{said!r:.500}")
