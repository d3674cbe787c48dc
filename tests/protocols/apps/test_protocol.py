"""Tests for `tlsgate.protocols.apps.protocol`, and for what one process has of it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.protocols.apps.rig import AppsCase
from tlsgate.core.http.requests import judge
from tlsgate.core.offers import Offer
from tlsgate.errors import AgentBusy, NotServed, TunnelBroken, Unreachable
from tlsgate.interfaces import RelayTo
from tlsgate.protocols.apps import refusals
from tlsgate.protocols.apps.front import Front
from tlsgate.protocols.apps.shared import Shared
from tlsgate.protocols.apps.visit import Visit
from tlsgate.testing import FakeCluster, FakeContext, FakeTunnels, route


class ProtocolTests(AppsCase):
    """What leads here, and what is refused."""

    def test_names(self) -> None:
        """Names below a public one; others while an agent offers them."""
        self.assertEqual(self.protocol.server_names(("gw.test",)), ("*.gw.test",))
        own = Offer(kind="app", name="own", facts={"public_addr": "own.example.test"})
        tunnels = FakeTunnels(self.offer(), own)
        for name, want in (
            ("own.example.test", "*.gw.test"),
            ("wiki.gw.test", None),
            ("other.example.test", None),
        ):
            self.assertEqual(self.protocol.stands_for(name, ("gw.test",), tunnels), want)
        self.assertIsNone(self.protocol.stands_for("own.example.test", (), tunnels))

    def test_build(self) -> None:
        """Without a cluster there is nobody to serve; a static route is relayed."""
        with self.assertRaises(NotServed):
            self.protocol.build(FakeContext())
        built = self.protocol.build(FakeContext(route=route(target="tcp:127.0.0.1:1")))
        self.assertEqual(built, RelayTo(target="tcp:127.0.0.1:1"))
        self.client()
        self.assertIsInstance(self.protocol.build(self.contexts[0]), Front)
        self.assertEqual(self.protocol.advertise(None, {}), {})

    def test_refusal(self) -> None:
        """A connection that is refused whole reads an answer of HTTP/1.1."""
        said = self.protocol.refusal(TunnelBroken("x"))
        self.assertTrue(said.startswith(b"HTTP/1.1 502 Bad Gateway\r\n"))
        self.assertEqual(refusals.status_of(AgentBusy("a", "b")), 503)


class VisitTests(AppsCase):
    """What is known of a connection."""

    def test_names(self) -> None:
        """A request has to be for the connection's name, to the letter (S05)."""
        self.client()
        visit = Visit(Shared(self.cluster, Clock(), ("gw.test",)), self.contexts[0])
        for host, wrong in ((b"WIKI.gw.test:443", False), (b"a.gw.test", True)):
            head = judge(b"GET", b"/", ((b"host", host),), b"1.1")
            self.assertIs(visit.is_misdirected(head), wrong)
        found = visit.find("wiki.gw.test")
        self.assertEqual(found, self.tunnels.known[0])


class _Door:
    """An auth service that makes tokens, or is away."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: tuple[int, Any] | None = (200, {"token": "t.o.k", "expires": 1000.0})

    async def ask(self, method: str, path: str, body: Any = None, **_: object) -> Any:
        self.asked.append((path, body))
        if self.answer is None:
            raise Unreachable("auth", "away")
        return self.answer


class SharedTests(AppsCase):
    """Names and tokens."""

    def setUp(self) -> None:
        super().setUp()
        self.door, self.time, self.clock = _Door(), 0.0, Clock()
        self.cluster = FakeCluster(door=self.door)  # type: ignore[arg-type]
        self.cluster.jwks = {"keys": [{}]}
        self.shared = Shared(self.cluster, self.clock, ("gw.test",), lambda: self.time)
        self.addCleanup(self.shared.stop)

    def token(self) -> bytes:
        """For the application."""
        asking = self.shared.token(b"der", self.offer(), "wiki.gw.test", "192.0.2.7")
        return self.successResultOf(Deferred.fromCoroutine(asking))

    def test_kept(self) -> None:
        """A token is asked for once, until it is near its end."""
        self.assertEqual([self.token(), self.token()], [b"t.o.k"] * 2)
        body = {
            "certificate": "ZGVy",
            "app": "wiki",
            "audience": "https://wiki.gw.test",
            "address": "192.0.2.7",
        }
        self.assertEqual(self.door.asked, [("/v1/gateway/app-token", body)])
        self.time = 980.0
        self.token()
        self.assertEqual(len(self.door.asked), 2)

    def test_none(self) -> None:
        """Without keys nobody asks; without an answer nobody asks again at once."""
        answers: tuple[tuple[int, Any] | None, ...] = (None, (403, {}))
        for answer in answers:
            self.door.answer = answer
            self.assertEqual([self.token(), self.token()], [b""] * 2)
            self.time += 20.0
        self.assertEqual(len(self.door.asked), 2)
        self.cluster.jwks = {"keys": []}
        self.assertEqual((self.token(), len(self.door.asked)), (b"", 2))

    def test_found(self) -> None:
        """What a name means is looked up again after a moment; TCP is not HTTP."""
        tunnels = FakeTunnels(self.offer())
        find = self.shared.find
        self.assertEqual(find(tunnels, "wiki.gw.test", ("gw.test",)), tunnels.known[0])
        tunnels.known = (self.offer(protocol="tcp"),)
        self.assertIsNotNone(find(tunnels, "wiki.gw.test", ("gw.test",)))
        self.clock.advance(1)
        self.assertIsNone(find(tunnels, "wiki.gw.test", ("gw.test",)))

    def test_many(self) -> None:
        """However many names are asked for, few are remembered."""
        for number in range(3000):
            self.shared.find(self.tunnels, f"n{number}.gw.test", ("gw.test",))
        self.assertLessEqual(len(self.shared._found), 1024)
