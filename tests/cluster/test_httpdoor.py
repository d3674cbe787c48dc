"""Tests for `tlsgate.cluster.httpdoor`: questions and lines, over connections in memory."""

from __future__ import annotations

import json
import random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tlsgate.cluster import httpdoor
from tlsgate.cluster.httpdoor import HttpDoor
from tlsgate.errors import BadAsk, Unreachable, Untrusted
from tlsgate.interfaces import IAuthDoor


class Line(StringTransport):
    """A client's end of one connection."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.protocol: Any = None

    def loseConnection(self) -> None:
        self.closed = True

    def abortConnection(self) -> None:
        self.closed = True

    def request(self) -> tuple[str, dict[str, str], bytes]:
        """What was asked: the first line, headers in lower case, the body."""
        head, _, body = self.value().partition(b"\r\n\r\n")
        self.clear()
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return first, headers, body

    def answer(self, status: int, body: Any) -> None:
        """Answer with JSON, or with bytes as they are."""
        wire = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(wire)}\r\n\r\n"
        self.protocol.dataReceived(head.encode() + wire)

    def begin(self, status: int = 200) -> None:
        """Begin an answer without an end."""
        head = f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.protocol.dataReceived(head.encode())

    def chunk(self, data: bytes) -> None:
        """A piece of it."""
        self.protocol.dataReceived(b"%x\r\n%s\r\n" % (len(data), data))

    def lost(self) -> None:
        """The connection is gone."""
        self.protocol.connectionLost(Failure(ConnectionLost()))


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Connects in memory."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.error: Exception | None = None

    def connect(self, factory: Any) -> Any:
        """See `IStreamClientEndpoint`."""
        if self.error is not None:
            return fail(self.error)
        line = Line()
        line.protocol = factory.buildProtocol(None)
        line.protocol.makeConnection(line)
        self.lines.append(line)
        return succeed(line.protocol)


class DoorCase(SynchronousTestCase):
    """A door to an auth service whose bytes the test writes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = Endpoint()
        self.door = HttpDoor(self.clock, self.endpoint, "the auth service")
        self.patch(random, "random", lambda: 1.0)

    def ask(self, *args: Any, **more: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.door.ask(*args, **more))

    def why(self, asked: Deferred[Any]) -> str:
        """Why a question has no answer."""
        return str(self.failureResultOf(asked, Unreachable).value)


class AskTests(DoorCase):
    """Tests for `ask` and `raw`."""

    def test_interface(self) -> None:
        """It is a door like any other."""
        verifyObject(IAuthDoor, self.door)

    def test_on_whose_behalf(self) -> None:
        """The header says for whom it is asked; a body is JSON."""
        for more, who in (
            ({}, "gateway"),
            ({"address": "192.0.2.1"}, "gateway 192.0.2.1"),
            ({"as_anyone": True}, "anyone"),
            ({"as_anyone": True, "address": "2001:db8::1"}, "anyone 2001:db8::1"),
        ):
            asked = self.ask("POST", "/v1/login", {"user": "a"}, **more)
            (line,) = self.endpoint.lines
            first, headers, body = line.request()
            self.assertEqual(first, "POST /v1/login HTTP/1.1")
            self.assertEqual(headers["tlsgate-as"], who)
            self.assertEqual(headers["content-type"], "application/json")
            self.assertEqual(json.loads(body), {"user": "a"})
            line.answer(401, {"error": {}})
            self.assertEqual(self.successResultOf(asked), (401, {"error": {}}))

    def test_without_a_body(self) -> None:
        """A question without a body has none; nor does an answer need the API's shape in `raw`."""
        asked = Deferred.fromCoroutine(self.door.raw("GET", "/v1/x?a=b", None, "local 7"))
        (line,) = self.endpoint.lines
        first, headers, body = line.request()
        self.assertEqual((first, body), ("GET /v1/x?a=b HTTP/1.1", b""))
        self.assertEqual(headers["tlsgate-as"], "local 7")
        self.assertNotIn("content-type", headers)
        line.answer(404, b"nothing")
        self.assertEqual(self.successResultOf(asked), (404, b"nothing"))

    def test_lost(self) -> None:
        """Nobody waits long for one far away who is not heard; refusals of ours stay ours."""
        for far, seconds in ((True, 1.8), (False, 30.0)):
            self.door = HttpDoor(self.clock, self.endpoint, "the auth service", far=far)
            self.door.lost = True
            asked = self.ask("GET", "/v1/me")
            self.clock.pump([1.0, seconds - 1.1])
            self.assertNoResult(asked)
            self.clock.advance(0.2)
            self.why(asked)
        self.endpoint.error = Untrusted("the server", "it is somebody else")
        asked = self.ask("GET", "/v1/me")
        self.assertIn("somebody else", str(self.failureResultOf(asked, Untrusted).value))

    def test_r14_nobody_there(self) -> None:
        """An answer that takes long is waited for, as long as somebody is there at all."""
        self.door = HttpDoor(self.clock, self.endpoint, "the auth service", far=True)
        asked = self.ask("POST", "/v1/login", {"user": "a"})
        other = self.ask("POST", "/v1/login", {"user": "b"})
        first, second = self.endpoint.lines
        self.clock.advance(1.0)
        probe = self.endpoint.lines[-1]
        self.assertEqual(len(self.endpoint.lines), 3)  # one look for both
        self.assertTrue(probe.request()[0].startswith("GET /v1/me "))
        probe.answer(200, {})
        self.clock.advance(5.0)
        first.answer(200, {"user": "a"})
        self.assertEqual(self.successResultOf(asked), (200, {"user": "a"}))
        second.answer(200, {})
        self.successResultOf(other)
        asked = self.ask("POST", "/v1/login", {"user": "a"})
        self.clock.advance(1.0)
        self.assertNoResult(asked)
        self.clock.advance(0.8)
        self.assertIn("no answer within 1.8 s", self.why(asked))

    def test_no_answer(self) -> None:
        """Whatever keeps an answer from coming is one error that says where."""
        self.endpoint.error = ConnectError(string="nobody listens")
        text = self.why(self.ask("GET", "/v1/me"))
        self.assertIn("the auth service cannot be reached", text)
        self.assertIn("nobody listens", text)
        self.endpoint.error = None

        asked = self.ask("POST", "/v1/me", {})
        self.endpoint.lines.pop().lost()
        self.why(asked)

        asked = self.ask("GET", "/v1/me")
        self.clock.advance(30)
        self.assertIn("no answer within 30 s", self.why(asked))
        self.endpoint.lines.clear()

        asked = self.ask("GET", "/v1/me")
        line = self.endpoint.lines.pop()
        line.begin()
        line.chunk(b"{")
        self.clock.advance(30)
        self.assertIn("no answer within 30 s", self.why(asked))

        asked = self.ask("GET", "/v1/me")
        line = self.endpoint.lines.pop()
        line.answer(200, b"<html>")
        self.assertIn("no auth service", self.why(asked))

        asked = self.ask("GET", "/v1/me")  # over the same connection
        line.protocol.dataReceived(b"SSH-2.0-x\r\n\r\n")
        self.why(asked)

    def test_hung_up(self) -> None:
        """The next one is asked where that does no harm, once; else nobody knows what was done."""
        for method, path in (
            ("GET", "/v1/me"),
            ("POST", "/v1/agent/db-certificates"),
        ):
            asked = self.ask(method, path, None if method == "GET" else {"a": 1})
            first = self.endpoint.lines.pop()
            said = first.request()
            first.lost()
            self.assertNoResult(asked)
            second = self.endpoint.lines.pop()
            self.assertEqual(second.request(), said)
            second.answer(200, {"ok": True})
            self.assertEqual(self.successResultOf(asked), (200, {"ok": True}))
            second.lost()
            asked = self.ask(method, path)
            self.endpoint.lines.pop().lost()
            self.endpoint.lines.pop().lost()
            self.why(asked)
        asked = self.ask("POST", "/v1/login", {"user": "a"})
        self.endpoint.lines.pop().lost()
        self.why(asked)
        self.assertEqual(self.endpoint.lines, [])

    def test_what_is_no_request(self) -> None:
        """A method or a path from outside cannot make a request of another shape."""
        for method, path in (
            ("GET", "/v1/\xe9"),
            ("GET", "/v1/a b"),
            ("GET", "/v1/a\r\nx: y"),
            ("GET", "http://elsewhere/"),
            ("GET", "@elsewhere/"),
            ("GET", ""),
            ("GET", "/" + "x" * 5000),
            ("GE T", "/v1/me"),
            ("get", "/v1/me"),
            ("", "/v1/me"),
        ):
            self.failureResultOf(self.ask(method, path), BadAsk)
        self.assertEqual(self.endpoint.lines, [])


class WatchTests(DoorCase):
    """Tests for `watch`."""

    def setUp(self) -> None:
        super().setUp()
        self.heard: list[Any] = []
        self.logged: list[str] = []
        observer: Any = self.log
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def log(self, event: Any) -> None:
        if event.get("log_namespace", "").startswith("tlsgate.cluster"):
            self.logged.append(formatEvent(event))

    def begin(self) -> Line:
        """Watch, and have the answer begin."""
        self.watch = self.door.watch(self.heard.append)
        line = self.endpoint.lines[-1]
        self.assertEqual(line.request()[0], "GET /v1/watch HTTP/1.1")
        line.begin()
        return line

    def test_lines(self) -> None:
        """Lines come out whole, however the network cuts them."""
        line = self.begin()
        wire = b'{"kind": "alive"}\n{"kind": "event", "revision": 8}\n'
        line.chunk(wire)
        whole = list(self.heard)
        self.assertEqual(whole, [{"kind": "alive"}, {"kind": "event", "revision": 8}])
        for size in (1, 2, 7):
            self.heard.clear()
            for begin in range(0, len(wire), size):
                line.chunk(wire[begin : begin + size])
            self.assertEqual(self.heard, whole)

    def test_silence(self) -> None:
        """Where nothing comes for too long the connection is left, and another one made."""
        line = self.begin()
        for _ in range(3):
            self.clock.advance(39)
            line.chunk(b'{"kind": "alive"}\n')
        self.assertFalse(line.closed)
        self.clock.advance(40)
        self.assertTrue(line.closed)
        self.clock.advance(0.2)
        (_, second) = self.endpoint.lines
        # The first one may end when it wants, or say something still.
        line.chunk(b'{"kind": "late"}\n')
        line.lost()
        self.clock.advance(1)
        self.assertEqual(len(self.endpoint.lines), 2)
        second.begin()
        second.chunk(b'{"kind": "new"}\n')
        self.assertEqual([one["kind"] for one in self.heard], ["alive"] * 3 + ["new"])

    def test_again(self) -> None:
        """After each end the watch is asked for again, less and less often, without end."""
        line = self.begin()
        line.lost()
        waits = []
        self.endpoint.error = ConnectError(string="nobody listens")
        for _ in range(1200):
            ((at, _),) = [(one.getTime(), one) for one in self.clock.getDelayedCalls()]
            waits.append(round(at - self.clock.seconds(), 6))
            self.clock.advance(at - self.clock.seconds())
        self.assertEqual(waits[:9], [0.2, 0.4, 0.8, 1.6, 3.2, 4.0, 4.0, 4.0, 4.0])
        self.assertEqual(set(waits[8:]), {4.0})
        self.assertEqual(len(self.logged), 1, self.logged)
        self.assertIn("nobody listens", self.logged[0])
        self.endpoint.error = None
        self.clock.advance(15)
        line = self.endpoint.lines[-1]
        line.begin()
        line.chunk(b'{"kind": "alive"}\n')
        self.assertEqual(self.logged[1:], ["the auth service is heard again"])
        line.lost()
        (call,) = self.clock.getDelayedCalls()
        self.assertAlmostEqual(call.getTime() - self.clock.seconds(), 0.2)

    def test_jitter(self) -> None:
        """Two gateways do not come back in the same moment."""
        self.patch(random, "random", lambda: 0.25)
        self.begin().lost()
        (call,) = self.clock.getDelayedCalls()
        self.assertAlmostEqual(call.getTime() - self.clock.seconds(), 0.05)

    def test_refused(self) -> None:
        """An answer that is a refusal is not read as lines, and is asked for again."""
        self.watch = self.door.watch(self.heard.append)
        line = self.endpoint.lines[-1]
        line.begin(403)
        line.chunk(b'{"error": {}}\n')
        self.assertEqual((self.heard, line.closed), ([], True))
        for _ in range(2):
            self.clock.advance(1)
            self.endpoint.lines[-1].begin(403)
        self.assertIn("status 403", self.logged[0])

    def test_what_is_no_line(self) -> None:
        """What is no JSON object, or has no end, ends the connection; nothing of it is heard."""
        self.patch(httpdoor, "_LINE_BYTES", 64)
        for wire in (b"x\n", b"[]\n", b"7\n", b"\n", b"\xff\n", b"[" * 60000 + b"\n", b"y" * 65):
            line = self.begin()
            line.chunk(wire)
            line.chunk(b'{"kind": "alive"}\n')
            self.assertEqual((self.heard, line.closed), ([], True), wire[:8])
            self.watch.stop()

    def test_stopped(self) -> None:
        """After the stop nothing is heard, asked or waited for, whenever it comes."""
        line = self.begin()

        def heard(said: Any) -> None:
            self.heard.append(said)
            self.watch.stop()

        self.watch.stop()
        self.assertTrue(line.closed)
        self.watch = self.door.watch(heard)
        line = self.endpoint.lines[-1]
        line.begin()
        line.chunk(b'{"kind": "alive"}\n{"kind": "alive"}\n')  # stopped in the middle
        self.assertEqual((self.heard, line.closed), ([{"kind": "alive"}], True))
        line.lost()
        waiting = self.door.watch(heard)  # before there is any answer
        waiting.stop()
        waiting.stop()
        self.begin().lost()
        self.watch.stop()  # while it waits for the next try
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((len(self.heard), self.logged), (1, []))

    def test_a_failure_of_ours(self) -> None:
        """A bug is logged as one, and the watch goes on."""
        self.endpoint.error = RuntimeError("bug")
        self.door.watch(self.heard.append)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.endpoint.error = None
        self.clock.advance(1)
        self.assertEqual(len(self.endpoint.lines), 1)
        self.endpoint.lines[0].protocol.connectionLost(Failure(ConnectionDone()))
