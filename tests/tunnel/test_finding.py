"""Tests for `tlsgate.tunnel.finding`; the asking itself is `tests.integration.test_agent`'s."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tlsgate import __version__
from tlsgate.errors import BadBytes, Unreachable
from tlsgate.tls.dialing import Signpost
from tlsgate.tunnel import finding


class FakeResponse:
    """An answer whose body a test delivers."""

    def __init__(self, code: int = 200) -> None:
        self.code = code
        self.transport = StringTransport()

    def deliverBody(self, protocol: Any) -> None:
        """Give the body to *protocol*."""
        self.protocol = protocol
        protocol.makeConnection(self.transport)


class ReadTests(SynchronousTestCase):
    """Tests for `read`."""

    def setUp(self) -> None:
        self.clock = Clock()

    def answer(self, *pieces: bytes, code: int = 200, ends: bool = True) -> Deferred[Any]:
        """Read an answer of these pieces."""
        response: Any = FakeResponse(code)
        self.response = response
        reading = Deferred.fromCoroutine(finding.read(self.clock, "gate:1", response))
        for piece in pieces:
            response.protocol.dataReceived(piece)
        if ends:
            response.protocol.connectionLost()
        return reading

    def refused(self, *pieces: bytes, **more: Any) -> str:
        """Why it is none."""
        return str(self.failureResultOf(self.answer(*pieces, **more), Unreachable).value)

    def test_a_document(self) -> None:
        """In whatever pieces it comes."""
        self.assertEqual(self.successResultOf(self.answer(b'{"proxy"', b": {}}")), {"proxy": {}})

    def test_what_is_none(self) -> None:
        """Another status, no JSON, no object, nothing, and too much."""
        self.assertIn("status 503", self.refused(b"{}", code=503))
        for pieces in ((b"<html>",), (b"[1]",), (), (b"[" * 60000,), (b"x" * 70000,)):
            self.assertIn("no gateway", self.refused(*pieces))

    def test_one_that_never_ends(self) -> None:
        """It is waited for a bounded time."""
        reading = self.answer(b"{", ends=False)
        self.clock.advance(finding.ANSWER_SECONDS)
        self.failureResultOf(reading)


class FakeAgent:
    """Remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes, list[str]]] = []

    def usingEndpointFactory(self, *_: object) -> FakeAgent:
        """It is asked itself."""
        return self

    def request(self, method: bytes, url: bytes, headers: Any) -> Deferred[Any]:
        """Nobody answers."""
        self.asked.append((method, url, headers.getRawHeaders("user-agent")))
        return Deferred()


class FindTests(SynchronousTestCase):
    """Tests for `find`."""

    def test_asked(self) -> None:
        """The gateway is told by what program, so that its ledger knows whom it has seen."""
        agent = FakeAgent()
        self.patch(finding, "Agent", agent)
        reactor: Any = MemoryReactorClock()
        Deferred.fromCoroutine(finding.find(reactor, "gate.test:443", {})).addErrback(lambda _: 0)
        program = [f"tlsgate/{__version__}"]
        self.assertEqual(agent.asked, [(b"GET", b"https://gate.test:443/webapi/find", program)])
        reactor.advance(60)

    def test_nobody_answers(self) -> None:
        """After a while it says so, with the address."""
        reactor: Any = MemoryReactorClock()
        made = Deferred.fromCoroutine(finding.find(reactor, "127.0.0.1:443", {}))
        reactor.advance(60)
        why = str(self.failureResultOf(made, Unreachable).value)
        self.assertIn("127.0.0.1:443", why)

    def test_reasons(self) -> None:
        """The innermost reason is told."""

        class Wrapped(Exception):
            reasons = (type("F", (), {"value": ConnectError(string="no route")})(),)

        self.assertIn("no route", finding._why(Wrapped()))
        self.assertIn("no answer within", finding._why(CancelledError()))
        self.assertIn("bad", finding._why(BadBytes("bad", "x")))
        self.assertEqual(finding._why(ValueError()), "ValueError")

    def test_the_hello(self) -> None:
        """A name stands in it, an address does not."""
        unused: Any = None
        for host in ("gate.example.com", "10.0.0.1", "[::1]"):
            self.assertIsNotNone(Signpost(host).clientConnectionForTLS(unused))
        self.assertTrue(callable(wrapClientTLS))
