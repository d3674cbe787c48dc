"""Tests for `tgsh.localweb`."""

from __future__ import annotations

from tests.cli.tgsh.test_localhttp import NAMES, OWN
from tests.cli.tgsh.wires import Wire, WireCase, lose
from tlsgate.cli.faults import NotLoggedIn
from tlsgate.cli.tgsh.localends import SecureSide
from tlsgate.cli.tgsh.localweb import Web

HOST = b"Host: " + OWN + b"\r\n"
GET = b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class WebCase(WireCase):
    """A program that speaks HTTP."""

    def setUp(self) -> None:
        super().setUp()
        self.web = Web(
            self.program,
            self.gateway,
            self.clock,
            self.said.append,
            self.refused.append,
            NAMES,
        )

    def sent(self, wire: Wire) -> bytes:
        """What went to the gateway, without TLS."""
        return wire.take().replace(b"<", b"").replace(b">", b"")

    def first(self) -> tuple[SecureSide, Wire]:
        """A request that was answered, with both sides kept."""
        side, wire, _ = self.prepare()
        self.program.dataReceived(GET)
        self.sent(wire)
        side.dataReceived(OK)
        self.local.take()
        return side, wire


class PassedTests(WebCase):
    """Requests and answers that go through."""

    def test_one_after_another(self) -> None:
        """Heads are changed, and both connections are kept for the next request."""
        side, wire, _ = self.prepare()
        self.program.dataReceived(GET)
        head = self.sent(wire)
        self.assertTrue(head.startswith(b"GET /a HTTP/1.1\r\n"))
        self.assertIn(b"host: wiki.gate.test:3080\r\n", head.lower())
        side.dataReceived(OK)
        self.assertTrue(self.local.take().endswith(b"\r\n\r\nhi"))
        self.program.dataReceived(GET)
        self.assertTrue(self.sent(wire).startswith(b"GET /a"))
        self.assertEqual(self.gateway.asked, 1)

    def test_pipelined(self) -> None:
        """Requests that were sent at once are answered in turn."""
        side, wire, _ = self.prepare()
        self.program.dataReceived(GET + GET.replace(b"/a", b"/b"))
        self.assertEqual(self.sent(wire).count(b"GET"), 1)
        side.dataReceived(OK)
        self.assertIn(b"GET /b", self.sent(wire))

    def test_bodies(self) -> None:
        """Bodies follow as they come, of a length or in chunks."""
        side, wire, _ = self.prepare()
        self.program.dataReceived(
            b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
        )
        self.assertTrue(self.sent(wire).endswith(b"2\r\nab\r\n"))
        self.program.dataReceived(b"0\r\n\r\n")
        self.assertEqual(self.sent(wire), b"0\r\n\r\n")
        side.dataReceived(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        self.assertTrue(self.local.take().endswith(b"3\r\nabc\r\n"))
        side.dataReceived(b"0\r\n\r\n")
        self.assertEqual((self.local.take(), self.local.fate), (b"0\r\n\r\n", ""))

    def test_the_gateway_closes(self) -> None:
        """After an answer that ends with the connection the next request has another."""
        side, _, _ = self.prepare()
        _, other, _ = self.prepare()
        self.program.dataReceived(GET)
        side.dataReceived(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))
        self.assertNotIn(b"close", self.local.take())
        self.program.dataReceived(GET)
        self.assertIn(b"GET /a", self.sent(other))

    def test_until_the_end(self) -> None:
        """An answer without a length goes to its end."""
        side, _, _ = self.prepare()
        self.program.dataReceived(GET)
        side.dataReceived(b"HTTP/1.1 200 OK\r\n\r\nab")
        side.dataReceived(b"c$")
        self.assertIn(b"abc", self.local.take().replace(b"\r\n1\r\n", b""))

    def test_websocket(self) -> None:
        """After 101 bytes go both ways, those that came along too."""
        side, wire, _ = self.prepare()
        self.program.dataReceived(
            b"GET /ws HTTP/1.1\r\n"
            + HOST
            + b"Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://127.0.0.1:8080\r\n\r\n"
        )
        head = self.sent(wire).lower()
        self.assertIn(b"upgrade: websocket\r\n", head)
        self.assertIn(b"origin: https://wiki.gate.test:3080\r\n", head)
        side.dataReceived(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\nframe"
        )
        self.assertTrue(self.local.take().endswith(b"\r\n\r\nframe"))
        self.program.dataReceived(b"back")
        self.assertEqual(self.sent(wire), b"back")
        side.dataReceived(b"$")
        self.assertEqual(self.local.fate, "half")

    def test_refused_upgrade(self) -> None:
        """An application without WebSockets answers as to any request."""
        side, wire, _ = self.prepare()
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        self.program.dataReceived(b"GET /ws HTTP/1.1\r\n" + HOST + upgrade)
        side.dataReceived(OK.replace(b"200 OK", b"404 No"))
        self.assertIn(b"404", self.local.take())
        self.sent(wire)
        self.program.dataReceived(GET)
        self.assertIn(b"GET /a", self.sent(wire))

    def test_closed_meanwhile(self) -> None:
        """A kept connection that ends between or under requests costs nothing but a new one."""
        for under in (False, True):
            self.setUp()
            side, _ = self.first()
            _, other, _ = self.prepare()
            if not under:
                lose(side)
            self.program.dataReceived(GET)
            if under:
                lose(side)
            found = self.sent(other)
            self.assertIn(b"GET /a", found)
            self.assertEqual(self.local.fate, "")


class RefusedTests(WebCase):
    """Requests that do not."""

    def answer(self) -> tuple[int, bytes]:
        """Status and body of our own answer."""
        head, _, body = self.local.take().partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def test_names(self) -> None:
        """Another host's request is none of ours, and nobody is dialled for it."""
        self.program.dataReceived(b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n")
        status, body = self.answer()
        self.assertEqual((status, self.gateway.asked, self.local.fate), (403, 0, "closed"))
        self.assertIn(b"127.0.0.1:8080", body)

    def test_head(self) -> None:
        """HEAD has no body, also where it is refused."""
        self.program.dataReceived(b"HEAD / HTTP/1.1\r\nHost: evil.test\r\n\r\n")
        self.assertEqual(self.answer(), (403, b""))

    def test_nonsense(self) -> None:
        """What is no HTTP is told so."""
        self.program.dataReceived(b"nonsense\r\n\r\n")
        self.assertEqual(self.answer()[0], 400)
        self.assertEqual(self.local.fate, "closed")

    def test_no_gateway(self) -> None:
        """The sentence of a refusal is the page."""
        over = NotLoggedIn("the login has ended", "tgsh login")
        self.gateway.sides.append(over)
        self.program.dataReceived(GET)
        status, body = self.answer()
        self.assertEqual((status, self.refused), (502, [over]))
        self.assertIn(b"tgsh login", body)

    def test_refused_after_the_handshake(self) -> None:
        """So is one that comes as an alert after the handshake."""
        side, _, _ = self.prepare()
        self.program.dataReceived(GET)
        side.dataReceived(b"!")
        lose(side)
        self.assertEqual(self.answer()[0], 502)
        self.assertEqual(len(self.refused), 1)

    def test_not_sent_twice(self) -> None:
        """What may have been done is not asked for again."""
        side, _ = self.first()
        self.program.dataReceived(b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n")
        lose(side)
        self.assertEqual((self.answer()[0], self.gateway.asked), (502, 1))

    def test_cut_in_an_answer(self) -> None:
        """An answer that breaks off breaks off here as well."""
        side, _, _ = self.prepare()
        self.program.dataReceived(GET)
        side.dataReceived(OK[:-1])
        lose(side)
        self.assertEqual(self.local.fate, "cut")

    def test_no_answer_of_http(self) -> None:
        """A gateway that speaks something else is said to."""
        side, _, _ = self.prepare()
        self.program.dataReceived(GET)
        side.dataReceived(b"nonsense\r\n\r\n")
        self.assertEqual(self.answer()[0], 502)

    def test_the_program_leaves(self) -> None:
        """With it goes the gateway's side; an end between requests closes both."""
        side, wire = self.first()
        self.program.readConnectionLost()
        self.assertEqual((self.local.fate, wire.fate), ("closed", "closed"))
        self.setUp()
        side, wire = self.first()
        lose(self.program)
        self.assertEqual(wire.fate, "cut")
        self.assertIsNotNone(side)
