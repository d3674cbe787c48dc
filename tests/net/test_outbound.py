"""Tests for `tlsgate.net.outbound`, with a proxy in the test's hands."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.outbound import HttpProxy
from tlsgate.net.outbound import Proxied, way_out


class FakeInner:
    """A proxy that a test answers for."""

    def __init__(self) -> None:
        self.transport = StringTransport()
        self.dialled: Deferred[Any] = Deferred()

    def connect(self, factory: Any) -> Deferred[Any]:
        """Remember who connects."""
        self.factory = factory
        return self.dialled

    def accept(self) -> Any:
        """The connection is there."""
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.dialled.callback(self.protocol)


class Heard(Protocol):
    """The server's bytes."""

    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        """Keep them."""
        self.heard += data


class ProxiedTests(SynchronousTestCase):
    """Tests for `Proxied`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.inner = FakeInner()
        proxy = HttpProxy("proxy", 3128)
        endpoint = Proxied(self.clock, proxy, "gate", 443, 5.0, inner=self.inner)  # type: ignore[arg-type]
        self.made = endpoint.connect(Factory.forProtocol(Heard))

    def failure(self) -> str:
        """Why there is no connection; nothing waits any more."""
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return str(self.failureResultOf(self.made, ConnectError).value)

    def test_it_steps_aside(self) -> None:
        """After a 2xx, in whatever pieces, the connection is the server's alone."""
        self.inner.accept()
        self.assertEqual(
            self.inner.transport.value(), b"CONNECT gate:443 HTTP/1.1\r\nHost: gate:443\r\n\r\n"
        )
        for piece in (b"HTTP/1.1 200 Connec", b"tion established\r\nVia: x\r\n", b"\r\n"):
            self.assertNoResult(self.made)
            self.inner.protocol.dataReceived(piece)
        server = self.successResultOf(self.made)
        self.assertIs(self.inner.transport.protocol, server)  # type: ignore[attr-defined]
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refusals(self) -> None:
        """What a proxy says instead is told, and the connection ends."""
        for answer, said in (
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication"),
            (b"HTTP/1.0 502\r\n\r\n", "refuses: 502"),
            (b"SSH-2.0-x\r\n\r\n", "no HTTP proxy"),
            (b"HTTP/1.1 200 OK\r\n\r\nmore", "says more"),
            (b"x" * 17000, "too long"),
        ):
            self.setUp()
            self.inner.accept()
            self.inner.protocol.dataReceived(answer)
            self.assertIn(said, self.failure())
            self.assertTrue(self.inner.transport.disconnected)

    def test_silence_and_ends(self) -> None:
        """No answer in time, a hang-up, no proxy, and a caller who has gone."""
        self.inner.accept()
        self.clock.advance(5)
        self.assertIn("no answer within 5 s", self.failure())
        self.setUp()
        self.inner.accept()
        self.inner.protocol.connectionLost()
        self.assertIn("hung up", self.failure())
        self.setUp()
        self.inner.dialled.errback(ConnectError(string="refused"))
        self.assertIn("cannot be reached", self.failure())
        self.setUp()
        self.inner.accept()
        self.made.cancel()
        self.assertIn("not waited for", self.failure())


class WayOutTests(SynchronousTestCase):
    """Tests for `way_out`."""

    def test_which(self) -> None:
        """The environment decides; a proxy that is none fails with a sentence."""
        clock = Clock()
        straight = way_out(clock, "a.example", 1, 2.0, environ={})
        self.assertIsInstance(straight, HostnameEndpoint)
        proxied = way_out(clock, "a.example", 1, 2.0, environ={"HTTPS_PROXY": "p:1"})
        self.assertIsInstance(proxied, Proxied)
        odd = way_out(clock, "a.example", 1, 2.0, environ={"HTTPS_PROXY": "ftp://x"})
        failed = odd.connect(Factory.forProtocol(Heard))
        self.assertIn("HTTPS_PROXY", str(self.failureResultOf(failed, ConnectError).value))
