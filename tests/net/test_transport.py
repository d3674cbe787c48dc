"""Tests for `tlsgate.net.transport`: protocols that parse, on a lent socket."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.net.rig import CLIENT, GATE, Client, Rig
from tlsgate import registry
from tlsgate.core.routing import CertRule
from tlsgate.interfaces import IRouteContext
from tlsgate.net.ends import CHUNK, STRIDE
from tlsgate.protocols.base import GateProtocol
from tlsgate.tls.fast import Slab


class Recorder(Protocol):
    """Remembers what happens to it."""

    def __init__(self) -> None:
        self.got = b""
        self.lost: Failure | None = None
        self.made = 0

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        self.made += 1

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self.got += data

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        """See `IProtocol`."""
        assert self.lost is None, "told twice"
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Recorder):
    """Goes on writing after the client has ended."""

    ended = False

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""
        self.ended = True

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`."""


class Recording(GateProtocol):
    """A gate protocol of which the test holds the connections."""

    name = "recording"
    alpn = (b"record",)
    client_cert = CertRule.REQUIRED

    def __init__(self, kind: type[Recorder]) -> None:
        self.kind = kind
        self.built: list[Any] = []

    def build(self, context: IRouteContext) -> Any:
        """See `IGateProtocol`."""
        outer = self

        class Made(Factory):
            """Makes one recorder."""

            def buildProtocol(self, addr: Any) -> Any:
                """See `IProtocolFactory`."""
                made = outer.kind()
                outer.built.append(made)
                return made

        return Made()


class ServedCase(SynchronousTestCase):
    """A connection to a recorder."""

    kind: type[Recorder] = Recorder

    def setUp(self) -> None:
        """Connect."""
        recording = Recording(self.kind)
        known = {**registry.load(None).protocols, "recording": recording}
        self.rig = Rig(
            protocols=known, extra="  timeouts: {idle_seconds: 60, write_stall_seconds: 50}"
        )
        self.addCleanup(self.rig.close)
        self.client: Client = self.rig.secure(alpn=(b"record",)).shake()
        self.rig.until(lambda: recording.built)
        self.served = recording.built[0]
        self.transport = self.served.transport


class ServedTransportTests(ServedCase):
    """Tests for `ServedTransport`."""

    def test_facts(self) -> None:
        """Addresses, token and certificate are the connection's."""
        self.assertTrue(ISSLTransport.providedBy(self.transport))
        self.assertEqual(self.transport.negotiatedProtocol, b"record")
        self.assertEqual(self.transport.getPeer(), CLIENT)
        self.assertEqual(self.transport.getHost(), GATE)
        self.assertEqual(self.transport.getPeerCertificate().get_subject().CN, "alice")
        self.assertEqual(self.served.made, 1)

    def test_give_up(self) -> None:
        """Whose packets nobody acknowledges is ended by the kernel; a UNIX socket needs it not."""
        self.transport.give_up_after(45.0)
        self.client.write(b"still here")
        self.rig.until(lambda: self.served.got == b"still here")

        class End:
            """On TCP."""

            def __init__(self, sock: socket.socket) -> None:
                self.lease = self
                self.socket = sock

        transport, kept = self.transport, self.transport._end
        with socket.socket() as sock:
            transport._end = End(sock)
            transport.give_up_after(45.0)
            transport._end = kept
            option = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        self.assertEqual(option, 45_000)

    def test_both_ways(self) -> None:
        """What is written arrives, in order, also when it is much."""
        self.client.write(b"hello")
        self.rig.until(lambda: self.served.got == b"hello")
        self.transport.writeSequence([b"a", b"b" * 300_000, b"c"])
        self.assertEqual(self.client.read(300_002), b"a" + b"b" * 300_000 + b"c")

    def test_lose_connection(self) -> None:
        """What was written before leaves first, then close_notify, then the protocol is told."""
        self.transport.write(b"x" * 100_000)
        self.transport.loseConnection()
        self.transport.write(b"never")
        self.assertEqual(self.client.read_end(), b"x" * 100_000)
        self.assertIsNotNone(self.served.lost)

    def test_client_ends(self) -> None:
        """The client's end is the protocol's, once what it has written is out."""
        self.transport.write(b"late")
        self.client.tls.shutdown()
        self.rig.until(lambda: self.served.lost)
        self.assertEqual(self.client.read_end(), b"late")
        self.assertEqual(self.rig.journal[-1]["cause"], "client_ended")

    def test_abort(self) -> None:
        """An abort is at once, and told once."""
        self.transport.abortConnection()
        self.transport.abortConnection()
        self.assertIsNotNone(self.served.lost)
        self.rig.settle()
        self.assertEqual(self.rig.gateway.connections(), [])

    def test_pause_reading(self) -> None:
        """A protocol that has paused gets nothing until it resumes, and then all."""
        self.transport.pauseProducing()
        sent = 0
        with contextlib.suppress(SSL.WantWriteError):
            for _ in range(64):
                sent += self.client.tls.send(b"z" * 16_384)
        self.rig.settle()
        self.assertEqual(self.served.got, b"")
        self.transport.resumeProducing()
        self.rig.until(lambda: len(self.served.got) == sent)

    def test_streaming_producer(self) -> None:
        """A producer is paused while the client reads nothing, and resumed afterwards."""
        events: list[str] = []

        class Producer:
            """Remembers what it is told."""

            def pauseProducing(self) -> None:
                """See `IPushProducer`."""
                events.append("pause")

            def resumeProducing(self) -> None:
                """See `IPushProducer`."""
                events.append("resume")

            def stopProducing(self) -> None:
                """See `IPushProducer`."""
                events.append("stop")

        self.transport.registerProducer(Producer(), True)
        self.transport.write(bytes(4 << 20))
        self.rig.settle()
        self.assertEqual(events, ["pause"])
        self.client.read(4 << 20)
        self.rig.settle()
        self.assertEqual(events, ["pause", "resume"])
        self.client.sock.close()
        self.rig.until(lambda: self.served.lost)
        self.assertEqual(events, ["pause", "resume", "stop"])

    def test_pour(self) -> None:
        """What stands in the slab leaves at once, behind what was written, and in order."""
        transport, slab = self.transport, self.transport._slab
        slab.view[:5] = b"first"
        self.assertGreaterEqual(transport.pour(slab, 5), CHUNK)
        transport.write(b"second")
        slab.view[:5] = b"third"
        transport.pour(slab, 5)
        self.assertEqual((transport.sent, self.client.read(16)), (16, b"firstsecondthird"))
        for size in (CHUNK, STRIDE):
            sent = transport.sent
            while not transport._output:  # until the client's socket is full
                slab.view[:size] = bytes(size)
                transport.pour(slab, size)
            transport.write(b"more")
            slab.view[:4] = b"last"
            transport.pour(slab, 4)
            total = transport.sent - sent + len(transport._output)
            found = self.client.read(total)
            self.assertEqual((found.count(b"\0"), found[-8:]), (total - 8, b"morelast"))
        self.client.sock.close()
        self.rig.until(lambda: self.served.lost)
        self.assertEqual(transport.pour(slab, 4), CHUNK)

    def test_pour_to_nobody(self) -> None:
        """A client that has gone is found out by who writes."""
        transport, slab = self.transport, self.transport._slab
        self.client.sock.close()
        transport.pour(slab, CHUNK)
        self.assertIsNotNone(self.served.lost)

    def test_divert(self) -> None:
        """So many bytes go to another one, in the slab, and the next ones to the protocol."""
        taken = []

        def take(slab: Slab, count: int) -> int:
            taken.append(bytes(slab.view[:count]))
            return 2

        self.transport.divert(7, take)
        self.client.write(b"divertedagain")
        self.rig.until(lambda: self.served.got == b"dagain")
        self.assertEqual((taken[0], b"".join(taken)), (b"diverte", b"diverte"))
        self.transport.divert(6, take)
        self.client.write(b"abcd")
        self.rig.until(lambda: len(taken) > 1)
        self.client.write(b"efgh")
        self.rig.until(lambda: self.served.got == b"dagaingh")
        self.assertEqual(b"".join(taken), b"diverteabcdef")

    def test_pull_producer(self) -> None:
        """A pull producer is asked each time the output is empty."""
        transport = self.transport

        class Producer:
            """Gives three pieces."""

            left = 3

            def resumeProducing(self) -> None:
                """See `IPullProducer`."""
                self.left -= 1
                transport.write(b"piece")
                if not self.left:
                    transport.unregisterProducer()

            def stopProducing(self) -> None:
                """See `IPullProducer`."""

        transport.registerProducer(Producer(), False)
        self.assertEqual(self.client.read(15), b"piece" * 3)

    def test_write_stall_though_the_client_talks(self) -> None:
        """A client that only sends and never reads is cut off like a silent one (S49)."""
        self.transport.write(bytes(8 << 20))
        self.rig.settle()
        for _ in range(14):
            self.rig.advance(10)
            with contextlib.suppress(SSL.Error):
                self.client.tls.send(b"ping")
        self.assertIsNotNone(self.served.lost)
        self.rig.advance(3)
        self.assertEqual(self.rig.journal[-1]["cause"], "write_stall")

    def test_idle(self) -> None:
        """idle_seconds holds for served protocols too."""
        self.rig.settle()
        self.rig.advance(80)
        self.assertIsNotNone(self.served.lost)
        self.assertEqual(self.client.read_end(), b"")
        self.rig.advance(3)
        self.assertEqual(self.rig.journal[-1]["cause"], "idle")


class Failing(Recorder):
    """Cannot take what comes."""

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        raise ValueError("too much for it")


class FailingTests(ServedCase):
    """A protocol with a bug."""

    kind = Failing

    def test_s58_it_hears_the_end(self) -> None:
        """It is told why, the client is cut off, and no deadline is left that looks again."""
        wheel = self.rig.gateway.wheel
        self.client.write(b"x")
        self.rig.until(lambda: self.served.lost is not None)
        self.assertIsNotNone(self.served.lost.check(ValueError))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(wheel.waiting(), 0)
        self.assertFalse(self.transport.connected)


class HalfCloseTests(ServedCase):
    """Half-close, which Twisted's own TLS does not have."""

    kind = HalfCloseable

    def test_answer_after_the_clients_end(self) -> None:
        """A protocol that knows half-close may answer after the client's close_notify."""
        self.client.write(b"question")
        self.client.tls.shutdown()
        self.rig.until(lambda: self.served.ended)
        self.transport.write(b"answer" * 50_000)
        self.transport.loseConnection()
        self.assertEqual(self.client.read_end(), b"answer" * 50_000)

    def test_lose_write_connection(self) -> None:
        """The gateway's side may end first."""
        self.transport.write(b"all")
        self.transport.loseWriteConnection()
        self.assertEqual(self.client.read_end(), b"all")
        self.client.write(b"more")
        self.rig.until(lambda: self.served.got == b"more")


class WebTests(SynchronousTestCase):
    """The console is served on it, in both versions of HTTP."""

    def test_http11(self) -> None:
        """Two requests on one connection, the second after the first's answer."""
        rig = Rig()
        self.addCleanup(rig.close)
        client = rig.secure(alpn=(b"http/1.1",), cert=None).shake()
        for _ in range(2):
            client.write(b"GET /webapi/ping HTTP/1.1\r\nHost: gw.test\r\n\r\n")
            answer = b""
            while b'"server_version"' not in answer:
                answer += rig.until(lambda: _read(client))
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)

    def test_slow_socket_pair(self) -> None:
        """A client that ends its TCP side before asking costs nothing."""
        rig = Rig()
        self.addCleanup(rig.close)
        client = rig.secure(alpn=(b"http/1.1",), cert=None).shake()
        client.sock.shutdown(socket.SHUT_WR)
        rig.settle()
        rig.advance(3)
        self.assertEqual(rig.gateway.connections(), [])


def _read(client: Client) -> bytes:
    try:
        return client.tls.recv(65_536)
    except SSL.WantReadError:
        return b""
