"""Tests for `tlsgate.protocols.apps.exchange` and what it stands on, in HTTP/1.1."""

from __future__ import annotations

import json
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from tests.protocols.apps.rig import GET, OK, PUT, AppsCase
from tlsgate.core.access import Decision
from tlsgate.errors import AgentRefused, Draining, NoAgent
from tlsgate.protocols.apps.visit import Visit
from tlsgate.testing import FakeContext

SWITCH = (
    b"GET /ws HTTP/1.1\r\nHost: wiki.gw.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Took\r\n\r\n"


class DecidingTests(AppsCase):
    """Who gets through."""

    def test_asked_for(self) -> None:
        """The agent is asked in the user's name, with the certificate."""
        self.client().send(GET)
        (reach,) = self.tunnels.reaches
        asked = reach.asked
        found = (asked.kind, asked.name, asked.user, asked.certificate, asked.client)
        self.assertEqual(found, ("app", "wiki", "ann", b"certificate of ann", "192.0.2.7:40000"))
        (_, target, address) = self.cluster.asked[0]
        self.assertEqual((target.kind, target.name, address), ("app", "wiki", "192.0.2.7"))

    def test_s19_balancer(self) -> None:
        """What a trusted balancer says of each request is who has sent it; nobody else's is."""
        network = ip_network("192.0.2.0/24")
        shared: Any = None
        for told, address in (
            (b"203.0.113.9, 198.51.100.1", "198.51.100.1"),
            (b"203.0.113.9, 192.0.2.8", "203.0.113.9"),
        ):
            asked: Any = SimpleNamespace(fields=((b"x-forwarded-for", told),))
            for trusted, found in (
                ((network,), (address, f"{address}:0")),
                ((), ("192.0.2.7", "192.0.2.7:40000")),
            ):
                made = FakeContext(settings=evolve(self.settings(), forwarders=trusted))
                self.assertEqual(Visit(shared, made).client_of(asked), found)

    def test_s19_certificate(self) -> None:
        """Who shows a certificate came through no balancer that could tell: it is theirs."""
        trusted = evolve(self.settings(), forwarders=(ip_network("192.0.2.0/24"),))
        client = self.client(settings=trusted)
        client.send(GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n"))
        target = self.reach()
        self.assertEqual(self.tunnels.reaches[-1].asked.client, "192.0.2.7:40000")
        self.assertEqual(self.cluster.asked[-1][2], "192.0.2.7")
        lines = [one for one in target.take().split(b"\r\n") if b"forwarded-for" in one]
        self.assertEqual(lines, [b"x-forwarded-for: 192.0.2.7"])

    def test_denied(self) -> None:
        """Who may not is told so, and no agent is asked; each request is judged."""
        client = self.client()
        client.send(GET)
        self.reach().says(OK)
        self.cluster.decision = Decision(False, "no role")
        client.take()
        client.send(GET)
        self.assertIn(b"403 Forbidden", client.received)
        self.assertIn(b"ann may not reach app wiki: no role", client.received)
        self.assertEqual(len(self.tunnels.reaches), 1)

    def test_missed(self) -> None:
        """What the agent says becomes a status and a sentence."""
        for error, status in (
            (NoAgent("app", "wiki"), b"404"),
            (AgentRefused("wiki", "denied", "not for you"), b"403"),
            (AgentRefused("wiki", "target_refused", "nobody listens"), b"502"),
        ):
            client = self.client()
            client.send(GET)
            self.tunnels.reaches[-1].missed(error)
            self.assertEqual(client.received[9:12], status)

    def test_too_late(self) -> None:
        """A way that takes too long is given up."""
        client = self.client()
        client.send(GET)
        self.contexts[0].clock.advance(60)
        self.assertEqual(client.received[9:12], b"504")
        self.assertTrue(self.tunnels.reaches[0].cancelled)

    def test_closed(self) -> None:
        """Where nobody may reach a target now, nobody does."""
        client = self.client(shut=Draining())
        client.send(GET)
        self.assertEqual((client.received[9:12], self.tunnels.reaches), (b"503", []))

    def test_unknown(self) -> None:
        """A name that no application has; programs get JSON, people a page."""
        client = self.client(server_name="other.gw.test")
        client.send(GET.replace(b"wiki", b"other"))
        head, _, body = client.take().partition(b"\r\n\r\n")
        self.assertIn(b"404 Not Found", head)
        self.assertEqual(json.loads(body)["error"]["reason"], "no_agent")
        client.send(GET.replace(b"wiki", b"other")[:-2] + b"Accept: text/html\r\n\r\n")
        self.assertIn(b"<h1>404 Not Found</h1>", client.received)

    def test_program(self) -> None:
        """The ledger hears by what program a connection's first request has come."""
        client = self.client()
        client.send(GET[:-2] + b"User-Agent: curl/8.5.0 (x)\r\n\r\n")
        self.reach().says(OK)
        client.send(GET[:-2] + b"User-Agent: other/1\r\n\r\n")
        self.assertEqual(self.contexts[0].program, "curl/8.5.0")

    def test_nobody(self) -> None:
        """Without a certificate and a cookie the session answers."""
        client = self.client(None)
        client.send(GET)
        self.assertEqual(client.received[9:12], b"401")
        self.assertEqual(self.tunnels.reaches, [])

    def test_decided_later(self) -> None:
        """What a decision waits for, several times, may come, or fail."""
        for found, status in ((None, b"200"), (Draining(), b"503")):
            client = self.client()
            waits: list[Deferred[None]] = [Deferred(), Deferred()]
            shared = client.protocol._visit.shared

            async def admit(shown: object, waits: list[Deferred[None]] = waits) -> None:
                for one in waits:
                    await one

            self.patch(shared, "admit", admit)
            client.send(GET)
            self.assertEqual((client.received, len(self.tunnels.reaches)), (b"", 0))
            waits[0].callback(None)
            if found is None:
                waits[1].callback(None)
                self.reach().says(OK)
            else:
                waits[1].errback(found)
            self.assertEqual(client.received[9:12], status)
            self.protocol.stop()
            self.tunnels.reaches.clear()

    def test_audit(self) -> None:
        """A session begins with the first request, and ends with the connection; it is counted."""
        client = self.client()
        for _ in range(2):
            client.send(GET)
        target = self.reach()
        self.contexts[0].clock.advance(2)
        target.says(OK)
        target.says(OK)
        got = len(target.take())
        client.hang_up()
        who = {"app": "wiki", "target": "app/wiki", "user": "ann", "identity": "ann"}
        told = {"requests": 2, "refused": 0, "to_target": got, "to_client": 2 * len(OK)}
        self.assertEqual(
            self.contexts[0].emitted,
            [
                ("app.session.start", who),
                ("app.session.end", {**who, **told, "seconds": 2.0}),
            ],
        )
        self.assertFalse(self.contexts[0].is_busy)

    def test_audit_refused(self) -> None:
        """A refusal is told once for a connection, and counted in its session."""
        client = self.client()
        for _ in range(2):
            client.send(GET)
            self.tunnels.reaches.pop().missed(NoAgent("app", "wiki"))
        client.hang_up()
        emitted = self.contexts[0].emitted
        self.assertEqual(
            [event.rpartition(".")[2] for event, _ in emitted][1:], ["rejected", "end"]
        )
        self.assertEqual((emitted[1][1]["user"], emitted[1][1]["reason"]), ("ann", "no_agent"))
        self.assertEqual([emitted[2][1][one] for one in ("requests", "refused")], [2, 2])


class CarryingTests(AppsCase):
    """Requests and answers."""

    def test_kept(self) -> None:
        """A connection serves one request after another, of the same person only (S26)."""
        ann, bob = self.client("ann"), self.client("bob")
        ann.send(GET)
        target = self.reach()
        target.says(OK)
        self.assertTrue(ann.take().endswith(b"\r\n\r\nhi"))
        ann.send(GET)
        target.says(OK)
        bob.send(GET)
        self.assertEqual([one.asked.user for one in self.tunnels.reaches], ["ann", "bob"])
        self.assertEqual(target.take().count(b"GET /p HTTP/1.1\r\n"), 2)

    def test_asked_again(self) -> None:
        """A kept connection that is just closing costs nobody an answer."""
        client = self.client()
        client.send(GET)
        first = self.reach()
        first.says(OK)
        client.take()
        client.send(GET)
        first.ends()
        second = self.reach()
        self.assertIn(b"GET /p", second.got)
        second.ends()
        self.assertEqual(client.received[9:12], b"502")

    def test_body(self) -> None:
        """A body goes on as the target takes it."""
        client = self.client()
        client.send(PUT + b"abc")
        target = self.reach()
        self.assertTrue(target.take().endswith(b"content-length: 6\r\n\r\nabc"))
        client.send(b"def")
        self.assertEqual(target.take(), b"def")
        target.says(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.assertEqual(
            client.received, b"HTTP/1.1 204 No Content\r\ncache-control: private\r\n\r\n"
        )

    def test_chunks(self) -> None:
        """Chunks are taken apart and made anew, in both directions."""
        client = self.client()
        head = PUT.replace(b"Content-Length: 6", b"Transfer-Encoding: chunked")
        client.send(head + b"3;x=y\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n", pieces=1)
        target = self.reach()
        self.assertTrue(target.take().endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
        start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for piece in (start, b"2;q\r\nh", b"i\r\n", b"0\r\n\r\n"):
            target.says(piece)
        self.assertTrue(client.received.endswith(b"\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"))

    def test_trailers(self) -> None:
        """Fields behind a body pass where the head has named them, or the client takes them."""
        client = self.client()
        client.send(
            PUT.replace(
                b"Content-Length: 6", b"Transfer-Encoding: chunked\r\nTE: trailers"
            ).replace(b"\r\n\r\n", b"\r\nConnection: te\r\nTrailer: X-Sum, Host\r\n\r\n")
            + b"1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nX-Tlsgate-User: evil\r\nZ: 1\r\n\r\n"
        )
        target = self.reach()
        got = target.take()
        self.assertIn(b"trailer: x-sum\r\nconnection: te\r\nte: trailers\r\n", got)
        self.assertTrue(got.endswith(b"1\r\na\r\n0\r\nx-sum: 1\r\n\r\n"), got)
        said = CHUNKED + b"2\r\nhi\r\n0\r\nX-Took: 3\r\nSet-Cookie: a=b\r\n\r\n"
        target.says(said)
        self.assertIn(b"\r\ntrailer: x-took\r\n", client.received)
        self.assertTrue(client.received.endswith(b"hi\r\n0\r\nx-took: 3\r\n\r\n"))
        client.take()
        client.send(GET)
        target.says(said)
        self.assertTrue(client.received.endswith(b"hi\r\n0\r\n\r\n"))

    def test_chunks_refused(self) -> None:
        """S25: chunks that two could read as two bodies end the connection they came on."""
        for bad in (b"2\r\nhi\n\r\n", b"0\r\nX: a\n\r\n\r\n", b"1;a\rb\r\n", b"0\r\n\r\nHTTP/1.1"):
            client = self.client()
            client.send(GET)
            target = self.reach()
            target.says(CHUNKED + bad)
            self.assertTrue(target.fake.closed, bad)
            self.assertNotIn(b"\r\n0\r\n", client.received)

    def test_interim(self) -> None:
        """Early hints pass; what would stay with the client, or is of one hop, does not."""
        hints = b"HTTP/1.1 103 Early\r\nLink: </a>\r\nSet-Cookie: a=b\r\nConnection: x\r\n\r\n"
        for version, told in (
            (b"1.1", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
            (b"1.0", b""),
        ):
            client = self.client()
            client.send(GET.replace(b"1.1", version))
            target = self.reach()
            target.says(b"HTTP/1.1 100 Continue\r\n\r\n" + hints)
            self.assertEqual(client.received, told)
            target.says(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            self.assertEqual(client.received.count(b" 200 OK"), 1)

    def test_slow_target(self) -> None:
        """A target that takes nothing stops the client's body."""
        client = self.client()
        body = bytes(300_000)
        client.send(PUT.replace(b"6", b"300000"))
        target = self.reach()
        target.room = 0
        client.send(body, pieces=50_000)
        self.assertEqual(client._transport.producerState, "paused")
        target.takes(None)
        self.assertEqual(target.take().count(b"\x00"), 300_000)
        self.assertEqual(client._transport.producerState, "producing")

    def test_slow_client(self) -> None:
        """A client that takes nothing stops the target."""
        client = self.client()
        client.send(GET)
        target = self.reach()
        client.protocol.pauseProducing()
        self.assertEqual(target.fake.mask, 0)
        client.protocol.resumeProducing()
        target.says(OK)
        self.assertIn(b"200 OK", client.received)

    def test_cut(self) -> None:
        """An answer that breaks off is no whole one; a client that goes takes its target along."""
        client = self.client()
        client.send(GET)
        target = self.reach()
        target.says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi")
        target.breaks()
        self.assertTrue(client.aborted)
        client = self.client()
        client.send(GET)
        target = self.reach()
        client.hang_up()
        self.assertTrue(target.fake.closed)

    def test_until_close(self) -> None:
        """An answer of no length ends with its connection."""
        client = self.client()
        client.send(GET)
        target = self.reach()
        target.says(b"HTTP/1.0 200 OK\r\n\r\nall")
        target.ends()
        self.assertTrue(client.received.endswith(b"\r\n\r\n3\r\nall\r\n0\r\n\r\n"))

    def test_breaks_the_rules(self) -> None:
        """What leaves open where an answer ends is none, and its connection is over."""
        for said in (
            b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi",
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" * 40,
        ):
            client = self.client()
            client.send(GET)
            target = self.reach()
            target.says(said)
            self.assertEqual((client.received[9:12], target.fake.closed), (b"502", True), said)

    def test_more_than_asked(self) -> None:
        """An answer that nobody has asked for ends the connection, and reaches nobody."""
        client = self.client()
        client.send(GET)
        target = self.reach()
        target.says(OK + OK)
        self.assertTrue(target.fake.closed)
        self.assertEqual(client.received.count(b"200 OK"), 1)

    def test_s27_unconfirmed(self) -> None:
        """S27: whatever but a 101 that fits is an answer; what came behind reaches nobody."""
        wrong = b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n"
        for line, more, told in (
            (b"200 OK", b"Content-Length: 0\r\n", b"200"),
            (b"400 Bad Request", b"Content-Length: 0\r\n", b"400"),
            (b"401 Unauthorized", b"Content-Length: 0\r\n", b"401"),
            (b"101 Switching Protocols", wrong, b"502"),
            (b"101 Switching Protocols", b"", b"502"),
        ):
            client = self.client()
            client.send(SWITCH + b"early")
            target = self.reach()
            target.says(b"HTTP/1.1 " + line + b"\r\n" + more + b"\r\n")
            client.send(b"GET /late HTTP/1.1\r\nHost: wiki.gw.test\r\n\r\n")
            self.assertEqual(client.received[9:12], told)
            self.assertTrue(client._transport.disconnecting)
            self.assertNotIn(b"early", target.got)
            self.assertNotIn(b"late", target.got)
            self.protocol.stop()

    def test_switch_refused(self) -> None:
        """A change of protocol that nobody has asked for is none (S27)."""
        client = self.client()
        client.send(SWITCH + b"early")
        target = self.reach()
        target.says(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: else\r\n\r\n")
        self.assertEqual((client.received[9:12], target.fake.closed), (b"502", True))
        self.assertNotIn(b"early", target.got)
