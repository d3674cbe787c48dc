"""An auth service that issues for databases, and a PostgreSQL server, both in a test's hands."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from struct import pack
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from twisted.internet.defer import Deferred

from tests.support.certs import pki
from tests.targets.rig import OpeningCase
from tlsgate.core.wire.pgmessages import SSL_REQUEST, Message
from tlsgate.tls.authority import Authority

SETTLED = Message(b"R", bytes(4)).bytes()
SERVER_KEY = Message(b"K", pack(">L", 77) + b"hush").bytes()
READY = Message(b"Z", b"I").bytes()


def issued(name: str, public_pem: str, begins: float, ends: float, ca: Authority) -> str:
    """A client certificate for somebody's key."""
    key: Any = serialization.load_pem_public_key(public_pem.encode())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(ca.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime.fromtimestamp(begins, datetime.UTC))
        .not_valid_after(datetime.datetime.fromtimestamp(ends, datetime.UTC))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
    )
    assert isinstance(ca.key, ec.EllipticCurvePrivateKey)
    made = builder.sign(ca.key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


class FakeDoor:
    """An `IAuthDoor` that issues at once, or when it is told to.

    Attributes:
        asked: the bodies of requests.
        answer: what it says to each; None: an issued certificate.
        held: with a list, requests wait in it.
        begins, ends: of what is issued.
        ca: who issues.
    """

    def __init__(self, begins: float, ends: float) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.answer: tuple[int, Any] | Exception | None = None
        self.held: list[Deferred[None]] | None = None
        self.begins = begins
        self.ends = ends
        self.ca = pki().ca

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **more: Any
    ) -> tuple[int, Any]:
        """See `IAuthDoor`."""
        assert body is not None and (method, path) == ("POST", "/v1/agent/db-certificates")
        self.asked.append(body)
        if self.held is not None:
            waiting: Deferred[None] = Deferred()
            self.held.append(waiting)
            await waiting
        answer = self.answer
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        pem = issued(body["db_user"], body["public_key"], self.begins, self.ends, self.ca)
        return 200, {"certificate": pem, "cas": [pki().file("ca.pem").read_text()]}


def server_context(pair: str = "target") -> SSL.Context:
    """A server's that shows *pair* and demands a certificate of the test CA."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(str(pki().file(f"{pair}.pem")))
    context.use_privatekey_file(str(pki().file(f"{pair}-key.pem")))
    context.load_verify_locations(str(pki().file("ca.pem")))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


class DatabaseCase(OpeningCase):
    """One opening of a database; `self.target` is the server's socket."""

    def setUp(self) -> None:
        super().setUp()
        now = datetime.datetime.now(datetime.UTC).timestamp()
        self.reactor.advance(int(now))  # certificates of the test CA are valid then
        self.door = FakeDoor(now - 60, now + 3600)
        self.target.setblocking(False)
        self.client.setblocking(False)

    def heard(self, sock: Any, size: int = 65536) -> bytes:
        """What has come at the other end of a socket by now."""
        self.turn()
        try:
            return bytes(sock.recv(size))
        except BlockingIOError:
            return b""

    def asked_for_tls(self, answer: bytes = b"S") -> None:
        """Be a server that is asked for TLS."""
        self.assertEqual(self.heard(self.target), SSL_REQUEST)
        self.target.send(answer)
        self.turn()

    def secured(self, pair: str = "target") -> SSL.Connection:
        """Be a server with TLS; the handshake is done as far as it goes."""
        self.asked_for_tls()
        server = SSL.Connection(server_context(pair), self.target)
        server.set_accept_state()
        for _ in range(20):
            self.turn()
            try:
                server.do_handshake()
            except SSL.WantReadError:
                continue
            except SSL.Error:
                break
            break
        self.turn()
        return server

    def read(self, server: SSL.Connection) -> bytes:
        """What the server has got."""
        self.turn()
        try:
            return bytes(server.recv(65536))
        except SSL.WantReadError:
            return b""
