"""Tests for `tlsgate.protocols.web.anyone`: /v1 for somebody without a certificate."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.states import FakeDoor
from tests.protocols.web.auth import Browser, FakeAuth
from tests.protocols.web.clients import Answer
from tlsgate.errors import Unreachable
from tlsgate.testing import settings

JSON = (("Content-Type", "application/json"),)


class AnyoneTests(SynchronousTestCase):
    """Questions that the gateway carries to the auth service."""

    def setUp(self) -> None:
        self.door = FakeDoor()
        self.door.reply = lambda path, body: (200, {"path": path})
        self.browser = self.make()

    def make(self, h2: bool = False) -> Browser:
        door: Any = self.door
        return Browser(door, h2=h2)

    def said(self, answer: Answer) -> tuple[int, str]:
        """The status and the reason of a refusal, whose form is the API's."""
        self.assertEqual(answer.headers[b"content-type"], b"application/json")
        error = json.loads(answer.body)["error"]
        self.assertEqual(set(error), {"reason", "fault", "message"})
        return answer.code, error["reason"]

    def test_carried(self) -> None:
        """Method, path and body go as they are, as anyone, with the client's address alone."""
        for h2 in (False, True):
            browser = self.make(h2)
            got = browser.ask("GET", "/v1/cas?x=y")
            self.assertEqual((got.code, json.loads(got.body)), (200, {"path": "/v1/cas"}))
            self.assertEqual(got.headers[b"cache-control"], b"no-store")
            posted = browser.ask("POST", "/v1/login", b'{"user": "a"}', JSON)
            self.assertEqual(posted.code, 200)
            self.assertEqual(
                self.door.asked,
                [
                    ("GET", "/v1/cas", None, "192.0.2.7", True),
                    ("POST", "/v1/login", {"user": "a"}, "192.0.2.7", True),
                ],
            )
            self.door.asked.clear()

    def test_s19_balancer(self) -> None:
        """A trusted balancer tells the client's address; anybody else may write what they like."""
        told = (("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "198.51.100.1"))
        for h2 in (False, True):
            for trusted, address in (("192.0.2.7", "198.51.100.1"), ("10.0.0.1", "192.0.2.7")):
                browser = self.make(h2)
                text = f"version: v3\nproxy_service: {{trust_x_forwarded_for: {trusted}}}\n"
                browser.context.settings = settings(text)
                browser.ask("GET", "/v1/cas", b"", told)
                self.assertEqual(self.door.asked[-1][3], address)

    def test_head(self) -> None:
        """A HEAD is a GET without a body."""
        answer = self.browser.ask("HEAD", "/v1/cas")
        self.assertEqual((answer.code, answer.body), (200, b""))
        self.assertEqual(self.door.asked[0][0], "GET")

    def test_refusals_of_the_auth_service(self) -> None:
        """Its status and words come through; who has to wait is told how long."""
        error = {"reason": "locked_out", "fault": "client", "message": "wait", "seconds": 7}
        self.door.answers = [(429, {"error": error}), (429, ["odd"]), (401, {"error": {}})]
        first = self.browser.ask("POST", "/v1/login", b"{}", JSON)
        self.assertEqual((first.code, first.headers[b"retry-after"]), (429, b"7"))
        self.assertEqual(json.loads(first.body), {"error": error})
        for code in (429, 401):
            other = self.browser.ask("POST", "/v1/login", b"{}", JSON)
            self.assertEqual((other.code, b"retry-after" in other.headers), (code, False))

    def test_unreachable(self) -> None:
        """Where the auth service does not answer it is 503, with the API's reason."""
        self.door.answers = [Unreachable("the auth service", "it is starting")]
        answer = self.browser.ask("GET", "/v1/cas")
        self.assertEqual(self.said(answer), (503, "unreachable"))

    def test_what_never_gets_there(self) -> None:
        """S29: only JSON objects of JSON's own type, by GET and POST, to a path that can be."""
        form = (("Content-Type", "text/plain"),)
        for method, path, body, headers, want in (
            ("POST", "/v1/login", b"{}", (), 415),
            ("POST", "/v1/login", b"{}", form, 415),
            ("POST", "/v1/login", b"{}", (("Content-Type", "application/jsonx"),), 415),
            ("POST", "/v1/login", b"", JSON, 400),
            ("POST", "/v1/login", b"{", JSON, 400),
            ("POST", "/v1/login", b"[" * 5000, JSON, 400),
            ("POST", "/v1/login", b"\xff", JSON, 400),
            ("POST", "/v1/login", b"[]", JSON, 400),
            ("POST", "/v1/login", b"null", JSON, 400),
            ("PUT", "/v1/login", b"{}", JSON, 405),
            ("DELETE", "/v1/login", b"", (), 405),
            ("GET", "/v1/" + "x" * 600, b"", (), 404),
        ):
            answer = self.browser.ask(method, path, body, headers)
            self.assertEqual(self.said(answer)[0], want, (method, path[:20], body[:20]))
        answer = self.browser.ask("GET", "/v1/caf\u00e9")
        self.assertEqual(answer.code, 400)  # nor is that a request
        self.assertEqual(self.door.asked, [])
        kinds = (("Content-Type", "Application/JSON; charset=utf-8"),)
        self.assertEqual(self.make().ask("POST", "/v1/login", b"{}", kinds).code, 200)

    def test_a_bug(self) -> None:
        """A failure of ours is logged and answered, not left open."""

        def broken(path: str, body: Any) -> tuple[int, Any]:
            raise RuntimeError("secret")

        self.door.reply = broken
        answer = self.browser.ask("GET", "/v1/cas")
        self.assertEqual(self.said(answer), (500, "error"))
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_client_that_has_gone(self) -> None:
        """An answer, or a failure, that comes too late goes nowhere."""
        for end in (None, RuntimeError("late")):
            slow = FakeAuth(slow=True)
            browser = Browser(slow)
            browser.talk.send(
                b"POST /v1/web/logout HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b'Content-Length: 15\r\n\r\n{"cookie": "c"}'
            )
            self.assertEqual(len(slow.waiting), 1)
            browser.talk.hang_up()
            waiting: Deferred[None] = slow.waiting.pop()
            if end is None:
                waiting.callback(None)
            else:
                waiting.errback(end)
                self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
            self.assertEqual(browser.talk.take(), b"")
