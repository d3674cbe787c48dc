"""Tests for `tlsgate.cluster.answers`: questions, and what the admin socket passes on."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.cluster.test_httpdoor import DoorCase, Endpoint
from tests.service.test_beside import BesideCase
from tlsgate.cluster.httpdoor import HttpDoor
from tlsgate.errors import BadAsk, Unreachable
from tlsgate.service.beside import There


class WholeTests(DoorCase):
    """Tests for `read_whole`."""

    def test_in_pieces(self) -> None:
        """An answer is whole when its end has come."""
        asked = self.ask("GET", "/v1/me")
        (line,) = self.endpoint.lines
        line.begin()
        for piece in (b'{"a"', b": 1}"):
            line.chunk(piece)
        self.assertNoResult(asked)
        line.chunk(b"")
        self.assertEqual(self.successResultOf(asked), (200, {"a": 1}))

    def test_too_long(self) -> None:
        """What is longer than it may be is read no further, whether it says so or not."""
        asked = self.ask("GET", "/v1/me")
        line = self.endpoint.lines.pop()
        line.begin()
        for _ in range(16):
            line.chunk(b" " * (1 << 16))
        self.assertNoResult(asked)
        line.chunk(b" ")
        self.assertIn("longer than 1 MiB", self.why(asked))
        self.assertTrue(line.closed)
        line.chunk(b" " * 100)
        line.lost()
        asked = self.ask("GET", "/v1/me")
        line = self.endpoint.lines.pop()
        line.answer(200, b"[" + b" " * (1 << 20) + b"]")
        self.assertIn("longer than 1 MiB", self.why(asked))

    def test_pages(self) -> None:
        """What is passed on for somebody else may be far longer."""
        page = b" " * (2 << 20)
        asked = Deferred.fromCoroutine(self.door.raw("GET", "/v1/x", None, "local 0"))
        self.endpoint.lines[0].answer(200, page)
        self.assertEqual(self.successResultOf(asked), (200, page))

    def test_cut(self) -> None:
        """An answer that is cut short is none."""
        asked = self.ask("GET", "/v1/me")
        (line,) = self.endpoint.lines
        line.begin()
        line.chunk(b"{}")
        line.lost()
        self.why(asked)


class PassingTests(BesideCase):
    """Tests for `Passing`: a watch by the admin socket, of an auth service in its own process."""

    def setUp(self) -> None:
        super().setUp()
        self.endpoint = Endpoint()
        door = HttpDoor(self.cluster.clock, self.endpoint, "the auth service")
        self.talk = self.dial(There(door))

    def watch(self) -> Any:
        """Ask for it; gives the connection to the auth service."""
        self.talk.send(b"GET /v1/watch?since=3 HTTP/1.1\r\nHost: x\r\n\r\n")
        line = self.endpoint.lines.pop()
        first, headers, _ = line.request()
        self.assertEqual(first, "GET /v1/watch?since=3 HTTP/1.1")
        self.assertEqual(headers["tlsgate-as"], "local 990")
        return line

    def test_without_end(self) -> None:
        """It lasts for as long as the auth service has something to say."""
        line = self.watch()
        line.begin()
        for number in range(10):
            self.cluster.clock.advance(15)
            line.chunk(b'{"kind": "alive"}\n')
            self.assertIn(b"alive", self.talk.take(), number)
        self.assertFalse(line.closed)
        line.chunk(b"")
        self.assertIn(b"0\r\n\r\n", self.talk.take())

    def test_refused(self) -> None:
        """What is refused is so here, too."""
        self.watch().answer(409, {"error": {}})
        said = self.talk.take()
        self.assertIn(b" 409 ", said)
        self.assertIn(b'{"error": {}}', said)

    def test_hung_up(self) -> None:
        """Who hangs up is not watched for any longer."""
        line = self.watch()
        line.begin()
        line.chunk(b'{"kind": "alive"}\n')
        self.talk.hang_up()
        self.assertTrue(line.closed)
        line.chunk(b'{"kind": "alive"}\n')
        line.lost()

    def test_hung_up_before(self) -> None:
        """The same before there is an answer."""
        line = self.watch()
        self.talk.hang_up()
        line.begin()
        line.chunk(b'{"kind": "alive"}\n')
        self.assertTrue(line.closed)
        line.lost()

    def test_nobody(self) -> None:
        """Without an answer it is a failure like any other."""
        self.watch().lost()
        self.assertIn(b" 503 ", self.talk.take())
        door = HttpDoor(self.cluster.clock, self.endpoint, "x")
        self.failureResultOf(Deferred.fromCoroutine(door.stream("/v1/ watch", "local 0")), BadAsk)
        asked = Deferred.fromCoroutine(door.stream("/v1/watch", "local 0"))
        self.endpoint.lines.pop().lost()
        self.failureResultOf(asked, Unreachable)
