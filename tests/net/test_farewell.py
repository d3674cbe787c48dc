"""Tests for `tlsgate.net.farewell`, alone and behind a closed port."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Rig
from tests.net.test_dispatcher import ROUTES
from tlsgate.config.settings import Closing
from tlsgate.core.pingframes import frame
from tlsgate.core.wire import postgres
from tlsgate.net.farewell import HEAD_LIMIT_BYTES, Farewell, is_http, openings_of
from tlsgate.net.gate import Gate
from tlsgate.protocols.kubernetes import Kubernetes
from tlsgate.protocols.postgres import Postgres
from tlsgate.protocols.ssh import Ssh
from tlsgate.protocols.tunnel import Tunnel

CANCEL = bytes.fromhex("00000010 04d2162e 00000001 00000002")
STARTUP = bytes.fromhex("00000009 00030000 00")


class Inner(Protocol):
    """Who hears of a session."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended = False

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this."""
        self.heard += data

    def connectionLost(self, reason: object = None) -> None:
        """Twisted calls this."""
        self.ended = True


class FarewellTests(SynchronousTestCase):
    """Tests for `Farewell`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.said = 0
        self.inner: Inner | None = Inner()

    def begin(self, *, http: bool = False) -> Farewell:
        """Somebody is there."""
        openings = () if http else openings_of(Postgres())
        made = Farewell(openings, self.clock, 5.0, self.say, self.build)
        made.makeConnection(StringTransport())
        return made

    def say(self) -> None:
        """The refusal goes out."""
        self.said += 1

    def build(self) -> IProtocol | None:
        """Make the protocol."""
        return self.inner

    def test_a_request(self) -> None:
        """The refusal comes after the head of the request, however it is cut, and once."""
        made = self.begin(http=True)
        for byte in b"GET / HTTP/1.1\r\nhost: x\r\n\r":
            made.dataReceived(bytes([byte]))
        self.assertEqual(self.said, 0)
        made.dataReceived(b"\n")
        made.dataReceived(b"more\r\n\r\n")
        self.assertEqual((self.said, self.clock.getDelayedCalls()), (1, []))

    def test_bounds(self) -> None:
        """Neither a silent client nor one without an end is waited for."""
        self.begin(http=True)
        self.clock.advance(5)
        self.assertEqual(self.said, 1)
        made = self.begin(http=True)
        for _ in range(HEAD_LIMIT_BYTES // 1024):
            made.dataReceived(b"x" * 1024)
        self.assertEqual((self.said, made._head), (2, b""))

    def test_cancel(self) -> None:
        """A cancel request reaches its protocol whole, and what follows too."""
        made = self.begin()
        made.dataReceived(CANCEL[:5])
        made.dataReceived(CANCEL[5:])
        made.dataReceived(b"x")
        assert self.inner is not None
        self.assertEqual((self.inner.heard, self.said), (CANCEL + b"x", 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        made.connectionLost()
        self.assertTrue(self.inner.ended)

    def test_anything_else(self) -> None:
        """A new session is refused, and so is a cancel request that nobody takes."""
        self.begin().dataReceived(STARTUP)
        self.assertEqual(self.said, 1)
        self.inner = None
        self.begin().dataReceived(CANCEL)
        self.assertEqual(self.said, 2)

    def test_gone(self) -> None:
        """Nothing is said to who is gone."""
        self.begin().connectionLost()
        self.clock.advance(9)
        self.assertEqual((self.said, self.clock.getDelayedCalls()), (0, []))

    def test_who_waits(self) -> None:
        """Clients of HTTP, and those with something to say of a session that is there."""
        self.assertTrue(is_http(Kubernetes(), None))
        self.assertTrue(is_http(Tunnel(), b"http/1.1"))
        self.assertFalse(is_http(Tunnel(), None))
        self.assertFalse(is_http(Ssh(), None))
        self.assertEqual(len(openings_of(Postgres())), 1)
        self.assertEqual(openings_of(Kubernetes()), ())
        self.assertTrue(postgres.is_cancel_request(CANCEL))


class ClosedPortTests(SynchronousTestCase):
    """What somebody reads under TLS on a closed port."""

    def closed(self, protocol: str) -> Rig:
        """A rig whose only port is closed, and was that of *protocol*."""
        rig = Rig(ROUTES)
        self.addCleanup(rig.close)
        gate = rig.gateway.gate
        web = evolve(gate.settings.listeners[0], protocol=protocol)
        gone = Closing(listener=web, since=0.0, until=1.0)
        rig.gateway.take(
            Gate.build(evolve(gate.settings, listeners=(), closing=(gone,)), gate.protocols)
        )
        return rig

    def test_http(self) -> None:
        """A client of HTTP is answered, not spoken to; the journal says why."""
        rig = self.closed("kubernetes")
        client = rig.secure(alpn=(b"http/1.1",), cert=None).shake()
        client.write(b"GET /api HTTP/1.1\r\nhost: x\r\n")
        rig.settle()
        self.assertEqual(rig.journal, [])
        client.write(b"\r\n")
        self.assertTrue(client.read_end().startswith(b"HTTP/1.1 426 "))
        rig.advance(2.5)
        self.assertEqual(rig.journal[-1]["cause"], "listener_closed")

    def test_silent(self) -> None:
        """Who asks nothing is told all the same, and holds nothing for longer."""
        rig = self.closed("kubernetes")
        client = rig.secure(alpn=(b"http/1.1",), cert=None).shake()
        rig.advance(5.5)
        self.assertIn(b"this port is closed", client.read_end())
        rig.advance(2.5)
        self.assertEqual(rig.journal[-1]["cause"], "listener_closed")

    def test_no_request(self) -> None:
        """Where the client expects the server's word, it comes at once."""
        rig = self.closed("tunnel")
        client = rig.secure(alpn=(b"tlsgate-reversetunnel",), cert=None).shake()
        self.assertIn(b"this port is closed", client.read_end())

    def test_postgres(self) -> None:
        """A session is refused in its words, and a cancel request where nobody could take it."""
        rig = self.closed("postgres")
        for packet in (STARTUP, CANCEL):
            client = rig.secure(alpn=(b"postgresql",), cert=None).shake()
            client.write(packet)
            self.assertIn(b"this port is closed", client.read_end())
            rig.advance(2.5)
            self.assertEqual(rig.journal[-1]["cause"], "listener_closed")

    def test_pings(self) -> None:
        """In a connection with pings the request is read out of its frames, and so is the word."""
        rig = self.closed("postgres")
        client = rig.secure(alpn=(b"tlsgate-postgres-ping",), cert=None).shake()
        client.write(frame(STARTUP))
        said = client.read_end()
        self.assertIn(b"this port is closed", said)
        self.assertTrue(said.startswith(frame(said[4:])[:4]), said[:8])

    def test_cancel(self) -> None:
        """A cancel request goes on to its protocol, under TLS too."""
        rig = self.closed("postgres")
        inner = Inner()
        postgres_here = rig.gateway.gate.protocols["postgres"]
        self.patch(postgres_here, "build", lambda context: Factory.forProtocol(lambda: inner))
        client = rig.secure(alpn=(b"postgresql",), cert=None).shake()
        client.write(CANCEL)
        rig.until(lambda: inner.heard == CANCEL)
