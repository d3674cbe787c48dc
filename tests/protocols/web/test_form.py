"""Tests for `tlsgate.protocols.web.form`: what is taken for a form of ours (S29)."""

from __future__ import annotations

import io
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.protocols.web.auth import CODE, PASSWORD, Browser, FakeAuth
from tlsgate.protocols.web import form

TYPE = ("Content-Type", "application/x-www-form-urlencoded")
FILLED = {"user": "alice", "password": PASSWORD, "code": CODE}


class Sent:
    """As much of a request as `form` looks at."""

    def __init__(self, *headers: tuple[str, str], body: bytes = b"") -> None:
        self.requestHeaders = Headers()
        for name, value in (("host", "gw.test:3080"), *headers):
            self.requestHeaders.addRawHeader(name, value)
        self.content = io.BytesIO(body)


def origin(value: str) -> tuple[str, str]:
    return "origin", value


def site(value: str) -> tuple[str, str]:
    return "sec-fetch-site", value


class OriginTests(SynchronousTestCase):
    """Tests for `from_here` and `from_elsewhere`."""

    def test_s29_taken(self) -> None:
        """Our own pages are known by either header, as browsers send them."""
        ours = origin("https://gw.test:3080")
        for headers in (
            [site("same-origin"), ours],
            [site("same-origin"), origin("null")],  # what a page without referrers sends
            [site("same-origin")],
            [ours],
            [origin("https://GW.test:3080")],
        ):
            self.assertTrue(form.from_here(Sent(*headers)), headers)  # type: ignore[arg-type]

    def test_s29_refused(self) -> None:
        """Anybody else is not: neighbours, other ports, plain HTTP, silence, two opinions."""
        ours = origin("https://gw.test:3080")
        for headers in (
            [],
            [origin("null")],
            [origin("")],
            [origin("http://gw.test:3080")],
            [origin("https://gw.test")],
            [origin("https://gw.test:30800")],
            [origin("https://app.gw.test:3080")],
            [origin("https://gw.test:3080.evil.test")],
            [origin("https://gw.test:3080/")],
            [origin("https://evil.test")],
            [site("same-site"), ours],
            [site("cross-site"), ours],
            [site("none"), ours],
            [site(""), ours],
            [site("same-origin"), origin("https://evil.test")],
            [ours, origin("https://evil.test")],
            [site("same-origin"), site("cross-site"), ours],
        ):
            self.assertFalse(form.from_here(Sent(*headers)), headers)  # type: ignore[arg-type]

    def test_elsewhere(self) -> None:
        """A page is shown to one who is led there, and not to another page's script or frame."""
        for headers, elsewhere in (
            ([], False),
            ([site("none")], False),
            ([site("same-origin")], False),
            ([site("cross-site")], True),
            ([site("same-site"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")], True),
            ([site("cross-site"), ("sec-fetch-mode", "no-cors")], True),
            (
                [site("cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
                True,
            ),
            (
                [
                    site("cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                False,
            ),
        ):
            self.assertEqual(form.from_elsewhere(Sent(*headers)), elsewhere, headers)  # type: ignore[arg-type]


class ReadTests(SynchronousTestCase):
    """Tests for `read`."""

    def read(self, body: bytes, *headers: tuple[str, str]) -> Any:
        """What comes of *body*, as a form with the fields a and b."""
        return form.read(Sent(*(headers or (TYPE,)), body=body), ("a", "b"))  # type: ignore[arg-type]

    def test_taken(self) -> None:
        """Fields are decoded; one that is not there is empty."""
        self.assertEqual(self.read(b"a=1+2&b=%C3%A9%26"), {"a": "1 2", "b": "é&"})
        self.assertEqual(self.read(b"b="), {"a": "", "b": ""})
        self.assertEqual(self.read(b""), {"a": "", "b": ""})
        for kind in ("application/x-www-form-urlencoded; charset=UTF-8", TYPE[1].upper()):
            self.assertEqual(self.read(b"a=1", ("content-type", kind)), {"a": "1", "b": ""})

    def test_refused(self) -> None:
        """Anything else has its status, and nothing is guessed."""
        for body in (
            b"a=1&a=2",
            b"c=1",
            b"a=1&b=2&c=3",
            b"a=%FF",
            b"a=\xc3\xa9",
            b"a=%00",
            b"&" * 5000,
        ):
            self.assertEqual(self.read(body), 400, body[:20])
        self.assertEqual(self.read(b"a=" + b"x" * form.LIMIT_BYTES), 413)
        for headers in (
            [("x", "y")],
            [("content-type", "text/plain")],
            [("content-type", "multipart/form-data; boundary=x")],
            [("content-type", "application/json")],
            [("content-type", TYPE[1] + "; charset=latin-1")],
            [("content-type", TYPE[1] + "x")],
            [TYPE, TYPE],
            [TYPE, ("content-encoding", "gzip")],
        ):
            self.assertEqual(self.read(b"a=1", *headers), 415, headers)


class TokenTests(SynchronousTestCase):
    """The token of a form, on the page where one logs in."""

    def test_cookie(self) -> None:
        """Its cookie is for this host alone, and no script and no other site gets at it."""
        [cookie] = Browser(FakeAuth()).get("/web/login").cookies
        self.assertRegex(
            cookie.decode(),
            r"\A__Host-tlsgate-form=[\w-]{43}; Path=/; Secure; HttpOnly; SameSite=strict\Z",
        )

    def test_s29_used_once(self) -> None:
        """A form that is sent again, as by the button back, is shown anew and not taken."""
        for h2 in (False, True):
            browser = Browser(FakeAuth(), h2=h2)
            first = browser.get("/web/login")
            self.assertEqual(browser.post("/web/login", FILLED).code, 303)
            browser.last = first
            again = browser.post("/web/login", FILLED)
            self.assertEqual((again.code, len(again.cookies)), (403, 1))
            self.assertIn(b"Please try again", again.body)
            self.assertEqual(browser.post("/web/login", FILLED).code, 303)

    def test_s29_somebody_elses(self) -> None:
        """A token goes with the browser that it was shown to, and with its purpose."""
        auth = FakeAuth()
        mallory, alice = Browser(auth), Browser(auth)
        mallory.get("/web/login")
        alice.get("/web/login")
        alice.last = mallory.last
        self.assertEqual(alice.post("/web/login", FILLED).code, 403)
        alice.get("/web/login")
        jar, alice.jar = alice.jar, {}
        self.assertEqual(alice.post("/web/login", FILLED).code, 403)
        alice.jar = {**jar, "__Host-tlsgate-form": "short"}
        alice.get("/web/login")
        self.assertEqual(len(alice.jar["__Host-tlsgate-form"]), 43)
        self.assertNotIn("/v1/web/login", auth.paths())

    def test_tabs(self) -> None:
        """Two tabs that are open side by side can both be used first."""
        browser = Browser(FakeAuth())
        first = browser.get("/web/login").body
        self.assertEqual(browser.get("/web/login").body, first)

    def test_s29_before_anything(self) -> None:
        """Without a proof of the origin nobody is asked anything."""
        auth = FakeAuth()
        browser = Browser(auth)
        for path in ("/web/login", "/web/logout", f"/web/invite/{'x' * 43}"):
            for headers in ((), (("Origin", "https://evil.test"),), (("Origin", "null"),)):
                browser.last.body = b""
                answer = browser.post(path, FILLED, headers)
                self.assertEqual(answer.code, 403)
                self.assertIn(b"does not come from a page of this gateway", answer.body)
        self.assertEqual(auth.asked, [])
