"""The HTTP shell, without a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth import web
from tlsgate.auth.api import BUG, Api, Ask, Reply
from tlsgate.auth.principal import Principal, nobody
from tlsgate.auth.strict import BODY_BYTES
from tlsgate.auth.web import ApiResource, ApiSite
from tlsgate.errors import DoorClosed


class _Transport(StringTransport):
    """One that tells how it ended."""

    aborting = False

    def abortConnection(self) -> None:
        self.aborting = True
        super().abortConnection()


class _Watch:
    stopped = False

    def stop(self) -> None:
        self.stopped = True


class FakeApi:
    """Answers what the test says, and remembers what was asked."""

    log = Api.log

    def __init__(self) -> None:
        self.asked: list[tuple[Principal, Ask]] = []
        self.reply = Reply(status=200, body={"ok": True})
        self.waiting: Deferred[None] | None = None
        self.watches: list[tuple[int | None, Any, _Watch]] = []
        self.endings: list[Any] = []

    def on_end(self, ending: Any) -> Any:
        self.endings.append(ending)
        return lambda: self.endings.remove(ending)

    async def call(self, principal: Principal, ask: Ask) -> Reply:
        self.asked.append((principal, ask))
        if self.waiting is not None:
            await self.waiting
        return self.reply

    def watch(self, principal: Principal, since: int | None, heard: Any) -> _Watch:
        watch = _Watch()
        self.watches.append((since, heard, watch))
        return watch


class WebTests(SynchronousTestCase):
    """Tests for `ApiResource` and `ApiSite`."""

    def setUp(self) -> None:
        self.api = FakeApi()
        self.clock = Clock()
        self.principal_of: Any = lambda request: nobody("192.0.2.7")
        resource = ApiResource(
            self.api,  # type: ignore[arg-type]
            lambda request: self.principal_of(request),
            self.clock,
        )
        self.site = ApiSite(resource, self.clock)

    def dial(self) -> tuple[Any, _Transport]:
        transport = _Transport()
        channel = self.site.buildProtocol(None)
        channel.makeConnection(transport)
        return channel, transport

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> _Transport:
        """Send one whole request on a connection of its own."""
        channel, transport = self.dial()
        told = {"host": "auth", "content-type": "application/json", **(headers or {})}
        if body:
            told.setdefault("content-length", str(len(body)))
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        channel.dataReceived(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        return transport

    def answer(self, transport: _Transport) -> tuple[int, Any, str]:
        """Status, body and head of the answer."""
        head, _, body = transport.value().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body), head.decode().lower()

    def test_a_question(self) -> None:
        """Method, path, query and body reach the API as they were; the answer is JSON."""
        transport = self.send("POST", "/v1/locks/a%40b?x=1&y=%C3%A9&z=", b'{"a": [1]}')
        self.assertEqual(
            self.api.asked,
            [
                (
                    nobody("192.0.2.7"),
                    Ask(
                        method="POST",
                        path="/v1/locks/a%40b",
                        query={"x": "1", "y": "é", "z": ""},
                        body={"a": [1]},
                    ),
                )
            ],
        )
        status, body, head = self.answer(transport)
        self.assertEqual((status, body), (200, {"ok": True}))
        self.assertIn("content-type: application/json", head)
        self.assertIn("cache-control: no-store", head)
        self.assertIn("x-content-type-options: nosniff", head)
        self.assertNotIn("server:", head)

    def test_refusals_keep_their_headers(self) -> None:
        """A status and its headers go out as the API gave them."""
        self.api.reply = Reply(status=429, body={"error": {}}, headers={"retry-after": "7"})
        status, _, head = self.answer(self.send("GET", "/v1/me"))
        self.assertEqual(status, 429)
        self.assertIn("retry-after: 7", head)

    def test_one_connection_for_many(self) -> None:
        """Requests follow one another on one connection, each answered in turn."""
        channel, transport = self.dial()
        channel.dataReceived(
            b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        self.assertEqual([ask.path for _, ask in self.api.asked], ["/a", "/b"])
        self.assertEqual(transport.value().count(b"HTTP/1.1 200"), 2)

    def test_the_api_ends(self) -> None:
        """Its connections end: at once, or after the answer that is being made."""
        idle, asking, watching = (self.dial() for _ in range(3))
        self.api.waiting = Deferred()
        asking[0].dataReceived(b"GET /v1/me HTTP/1.1\r\nHost: x\r\n\r\n")
        waiting, self.api.waiting = self.api.waiting, None
        watching[0].dataReceived(b"GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n")
        for ending in list(self.api.endings):
            ending()
        lines = (idle, asking, watching)
        self.assertEqual([one[1].disconnecting for one in lines], [True, False, True])
        waiting.callback(None)
        self.assertIn(b'{"ok": true}', asking[1].value())
        self.assertEqual(asking[1].disconnecting, True)
        for channel, _ in lines:
            channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.api.endings, self.api.watches[0][2].stopped), ([], True))

    def test_bodies_that_are_refused(self) -> None:
        """Another type, no JSON, two meanings: the API is not asked at all."""
        for body, headers, status in (
            (b"a=1", {"content-type": "application/x-www-form-urlencoded"}, 415),
            (b"{}", {"content-type": "text/plain"}, 415),
            (b"{}", {"content-type": ""}, 415),
            (b"--x\r\n", {"content-type": "multipart/form-data; boundary=x"}, 415),
            (b"{", {}, 400),
            (b'{"a":1,"a":2}', {}, 400),
            (b"[" * 100 + b"]" * 100, {}, 400),
            (b"\xff", {}, 400),
        ):
            found, answer, _ = self.answer(self.send("POST", "/v1/login", body, headers))
            self.assertEqual(found, status, body)
            self.assertIn("error", answer)
        self.assertEqual(self.api.asked, [])
        self.answer(
            self.send("POST", "/x", b"{}", {"content-type": "Application/JSON;charset=utf-8"})
        )
        self.assertEqual(len(self.api.asked), 1)

    def test_queries_that_are_refused(self) -> None:
        """Twice the same field, no UTF-8, too many: 400."""
        many = "&".join(f"a{number}=1" for number in range(40))
        for query in ("a=1&a=2", "a=%ff", many, "a", "=%"):
            status, _, _ = self.answer(self.send("GET", f"/v1/me?{query}"))
            self.assertEqual(status, 400 if query != "=%" else status, query)
        self.assertLessEqual(len(self.api.asked), 1)

    def test_too_long(self) -> None:
        """S56: 10 MiB are read and dropped, with 413 at the end; not a byte is kept."""
        for chunked in (False, True):
            channel, transport = self.dial()
            kind = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {10 << 20}"
            channel.dataReceived(f"POST /v1/x HTTP/1.1\r\nHost: x\r\n{kind}\r\n\r\n".encode())
            piece = b"x" * (1 << 16)
            for _ in range(160):
                whole = f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if chunked else piece
                channel.dataReceived(whole)
                request = channel.requests[0] if channel.requests else None
                if request is not None and request.content is not None:
                    self.assertLessEqual(request.content.seek(0, 2), BODY_BYTES)
            if chunked:
                channel.dataReceived(b"0\r\n\r\n")
            status, answer, head = self.answer(transport)
            self.assertEqual((status, answer["error"]["reason"]), (413, "too_long"))
            self.assertIn("connection: close", head)
        self.assertEqual(self.api.asked, [])

    def test_far_too_long(self) -> None:
        """A body without an end is cut off."""
        self.patch(web, "DROPPED_BYTES", 2 << 20)
        channel, transport = self.dial()
        channel.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        for _ in range(40):
            if not transport.disconnecting:
                channel.dataReceived(b"x" * (1 << 16))
        self.assertTrue(transport.disconnecting)

    def test_as_long_as_may_be(self) -> None:
        """A body of exactly the limit is read."""
        body = b'"' + b"x" * (BODY_BYTES - 2) + b'"'
        self.assertEqual(self.answer(self.send("POST", "/x", body))[0], 200)

    def test_a_request_that_never_ends(self) -> None:
        """Bytes that trickle in do not buy more time (slowloris)."""
        for begin in (b"", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"):
            channel, transport = self.dial()
            channel.dataReceived(begin)
            for _ in range(int(web.REQUEST_SECONDS) + 1):
                self.clock.advance(1)
                if not transport.aborting:
                    channel.dataReceived(b"x")
            self.assertTrue(transport.aborting)
            channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_answer_that_never_comes(self) -> None:
        """Whoever asked is told to look again; what was asked goes on to its end."""
        waiting: Deferred[None] = Deferred()
        self.api.waiting = waiting
        transport = self.send("POST", "/v1/backup", b"{}")
        self.clock.advance(web.ANSWER_SECONDS)
        status, _, head = self.answer(transport)
        self.assertEqual(status, 503)
        self.assertIn("retry-after", head)
        waiting.callback(None)
        self.assertEqual(transport.value().count(b"HTTP/1.1"), 1)

    def test_a_client_that_goes_away(self) -> None:
        """Nothing is written to nobody."""
        waiting: Deferred[None] = Deferred()
        self.api.waiting = waiting
        channel, transport = self.dial()
        channel.dataReceived(b"GET /v1/me HTTP/1.1\r\nHost: x\r\n\r\n")
        channel.connectionLost(Failure(ConnectionDone()))
        waiting.callback(None)
        self.assertEqual(transport.value(), b"")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_door_that_is_closed(self) -> None:
        """A door that refuses who asks has its own sentence; one that breaks has none."""

        def closed(_: object) -> Principal:
            raise DoorClosed("admin", "uid 1000")

        self.principal_of = closed
        self.assertEqual(self.answer(self.send("GET", "/v1/me"))[0], 403)

        def broken(_: object) -> Principal:
            raise RuntimeError("secret")

        self.principal_of = broken
        status, body, _ = self.answer(self.send("GET", "/v1/me"))
        self.assertEqual((status, body), (500, BUG))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_an_answer_that_is_no_json(self) -> None:
        """A bug is told in constant words, and logged."""
        self.api.reply = Reply(status=200, body={"x": object()})
        status, body, _ = self.answer(self.send("GET", "/v1/me"))
        self.assertEqual((status, body), (500, BUG))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_nothing_of_the_question_comes_back(self) -> None:
        """S30: an error has constant words, whatever path, query or header asked for it."""
        self.api.reply = Reply(status=404, body={"error": {"message": "there is nothing"}})
        for path in ("/<script>", "/v1/me?<script>=1", "/%3Cscript%3E"):
            transport = self.send("GET", path, headers={"x-evil": "<script>"})
            self.assertNotIn(b"script", transport.value())

    def watch(self, path: str = "/v1/watch") -> tuple[Any, _Transport, Any, _Watch]:
        """Open a watch."""
        self.api.reply = Reply(status=200, body=None)
        channel, transport = self.dial()
        channel.dataReceived(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        ((_, heard, watch),) = self.api.watches
        return channel, transport, heard, watch

    def test_a_watch(self) -> None:
        """Lines come as they are heard, until the client goes."""
        channel, transport, heard, watch = self.watch("/v1/watch?since=7")
        self.assertEqual(self.api.watches[0][0], 7)
        heard({"kind": "snapshot"})
        heard({"kind": "alive"})
        self.assertIn(b"application/jsonl", transport.value())
        self.assertIn(b'{"kind": "snapshot"}\n', transport.value())
        self.assertIn(b'{"kind": "alive"}\n', transport.value())
        self.clock.advance(web.ANSWER_SECONDS * 3)
        self.assertFalse(transport.aborting or transport.disconnecting)
        channel.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(watch.stopped)
        heard({"kind": "alive"})

    def test_a_watch_that_ends(self) -> None:
        """The last line ends the answer."""
        _, transport, heard, watch = self.watch()
        heard({"kind": "end", "reason": "locked"})
        self.assertTrue(watch.stopped)
        self.assertTrue(transport.value().endswith(b"0\r\n\r\n"))

    def test_a_watcher_that_takes_nothing(self) -> None:
        """Lines wait while the client takes none, bounded; then it has to begin anew."""
        channel, transport, heard, watch = self.watch()
        channel.pauseProducing()
        size = len(transport.value())
        for number in range(10):
            heard({"kind": "event", "n": number})
        self.assertEqual(len(transport.value()), size)
        channel.resumeProducing()
        self.assertEqual(transport.value().count(b'"kind": "event"'), 10)
        channel.pauseProducing()
        for _ in range(10):
            heard({"kind": "event", "x": "y" * (1 << 20)})
        self.assertTrue(watch.stopped)
        self.assertTrue(transport.disconnecting)

    def test_a_watch_that_is_refused(self) -> None:
        """Who may not watch gets the refusal, and no stream."""
        self.api.reply = Reply(status=403, body={"error": {}})
        self.assertEqual(self.answer(self.send("GET", "/v1/watch"))[0], 403)
        self.assertEqual(self.api.watches, [])
