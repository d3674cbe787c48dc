"""Tests for `tlsgate.tls.dialing`: nothing is said to who is not the cluster's auth service."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support.authorities import Cluster, p256, spki
from tlsgate.errors import BadAsk, Unreachable, Untrusted
from tlsgate.tls.dialing import HANDSHAKE_SECONDS, ClusterTls, Expected, check_auth, why
from tlsgate.tls.peer import load_cas
from tlsgate.tls.pins import pin_of

SECRET = b"POST /v1/join the token"
JOIN = b"tlsgate-join"


class Server:
    """The other end, in memory: a certificate, a token, and what it has heard."""

    def __init__(self, pem: str, key: ec.EllipticCurvePrivateKey, token: bytes = JOIN) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        leaf, *others = x509.load_pem_x509_certificates(pem.encode())
        context.use_certificate(leaf)
        for other in others:
            context.add_extra_chain_cert(other)
        context.use_privatekey(key)
        context.set_alpn_select_callback(lambda _, offered: token)
        self.connection = SSL.Connection(context, None)
        self.connection.set_accept_state()
        self.heard = b""

    def take(self, data: bytes) -> bytes:
        """Hear *data*; what is answered."""
        if data:
            self.connection.bio_write(data)
        try:
            if not self.heard:
                self.connection.do_handshake()
            while True:
                self.heard += self.connection.recv(65536)
        except SSL.Error:
            pass
        try:
            return self.connection.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""


class Client(Protocol):
    """Says its secret at once, as Twisted's web client does, and keeps why it ended."""

    ended: Failure | None = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(SECRET)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.ended = reason


class DialingCase(SynchronousTestCase):
    """A cluster, and a client that dials its auth service."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.clock = Clock()
        self.cas = load_cas(self.cluster.authorities.cas()["host"])
        self.key = p256()

    def shows(self, *roles: str, name: str | None = None, cluster: Cluster | None = None) -> str:
        """A certificate of these roles for the auth service's name, or another one."""
        of = cluster or self.cluster
        issued = of.issuer.gateway_certificate(
            [name or f"auth.{of.name}"], spki(self.key), system_roles=roles or ("gateway", "auth")
        )
        return issued.tls_pem

    def talk(self, server: Server, expected: Expected) -> Client:
        """Dial, and let both talk until nobody has anything to say."""
        client, wire, transport = self.dial(expected)
        for _ in range(10):
            self.clock.advance(0)
            said = transport.value()
            transport.clear()
            answer = server.take(said)
            if transport.disconnecting:
                wire.connectionLost(Failure(ConnectionDone()))
                break
            if answer:
                wire.dataReceived(answer)
        return client

    def dial(self, expected: Expected) -> tuple[Client, Any, StringTransport]:
        """A connection that begins."""
        client = Client()
        tls = ClusterTls(
            JOIN, lambda: expected, lambda: None, "gw.test", self.clock, self.cluster.clock
        )
        factory: Any = TLSMemoryBIOFactory(
            tls, True, Factory.forProtocol(lambda: client), clock=self.clock
        )
        wire: Any = factory.buildProtocol(None)
        transport = StringTransport()
        wire.makeConnection(transport)
        return client, wire, transport


class TalkTests(DialingCase):
    """Whole handshakes."""

    def test_the_auth_service(self) -> None:
        """By a pin, by a known authority, or unseen, the auth service hears the question."""
        for expected in (
            Expected(cluster=None, pins=(pin_of(self.cas[0]),)),
            Expected(cluster=self.cluster.name, cas=self.cas),
            Expected(cluster=None, anyone=True),
        ):
            server = Server(self.shows(), self.key)
            client = self.talk(server, expected)
            self.assertEqual((server.heard, client.ended), (SECRET, None))
        self.clock.advance(HANDSHAKE_SECONDS)

    def test_nobody_else(self) -> None:
        """Whoever is anybody else, or speaks anything else, hears not a byte, and why is told."""
        other = Cluster(name="leaf.test")
        liar = Cluster(name=self.cluster.name)
        ours = Expected(cluster=self.cluster.name, cas=self.cas)
        pinned = Expected(cluster=None, pins=(pin_of(self.cas[0]),))
        zone = self.cluster.name
        for pem, token, expected, said in (
            (self.shows("gateway"), JOIN, ours, "that of a gateway, not of a auth"),
            (self.shows(name=f"a.{zone}"), JOIN, ours, f"not for auth.{zone}"),
            (self.shows(cluster=other), JOIN, ours, "of the cluster leaf.test"),
            (self.shows(cluster=liar), JOIN, ours, "from no authority"),
            (self.shows(cluster=liar), JOIN, pinned, "no authority with the pin"),
            (self.shows(), b"h2", ours, "does not speak tlsgate-join"),
        ):
            server = Server(pem, self.key, token)
            client = self.talk(server, expected)
            self.assertEqual(server.heard, b"", said)
            assert client.ended is not None, said
            error = client.ended.value
            if token == JOIN:
                self.assertIsInstance(error, Untrusted)
                self.assertIn(said, str(error))
        self.clock.advance(HANDSHAKE_SECONDS)

    def test_the_authority_after_the_pinned_one(self) -> None:
        """To show the pinned authority beside a certificate of another one is of no use."""
        liar = Cluster(name=self.cluster.name)
        pem = self.shows(cluster=liar) + "".join(self.cluster.authorities.cas()["host"])
        server = Server(pem, self.key)
        client = self.talk(server, Expected(cluster=None, pins=(pin_of(self.cas[0]),)))
        assert client.ended is not None
        self.assertIn("from no authority", str(client.ended.value))
        self.assertEqual(server.heard, b"")

    def test_a_look_that_fails(self) -> None:
        """Whatever goes wrong in the look, nothing is said."""
        server = Server(self.shows(), self.key)
        client = self.talk(server, Expected(cluster=None, pins=("no pin",)))
        assert client.ended is not None
        self.assertIsInstance(client.ended.value, BadAsk)
        self.assertEqual(server.heard, b"")

    def test_a_silent_server(self) -> None:
        """A handshake has a deadline."""
        client, wire, transport = self.dial(Expected(cluster=None, cas=self.cas))
        self.assertFalse(transport.disconnecting)
        self.clock.advance(HANDSHAKE_SECONDS)
        self.assertTrue(transport.disconnecting)
        wire.connectionLost(Failure(ConnectionDone()))
        assert client.ended is not None
        self.assertIsInstance(client.ended.value, Unreachable)


class CheckTests(DialingCase):
    """Tests for `check_auth` and `why`."""

    def test_an_expired_one(self) -> None:
        """A certificate that has ended is nobody's."""
        chain = x509.load_pem_x509_certificates(self.shows().encode())
        ours = Expected(cluster=None, cas=self.cas)
        self.assertEqual(check_auth(chain, ours, self.cluster.now).cluster, self.cluster.name)
        late = self.cluster.now + 400 * 86400
        self.assertRaises(Untrusted, check_auth, chain, ours, late)

    def test_why(self) -> None:
        """OpenSSL's errors are told in its words; others are somebody else's to tell."""
        said = why(SSL.Error([("SSL routines", "", "sslv3 alert certificate expired")]))
        self.assertEqual(said, "TLS: sslv3 alert certificate expired")
        self.assertIsNone(why(ValueError("x")))
