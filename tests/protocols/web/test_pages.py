"""Tests for `tlsgate.protocols.web.pages`, `formstyle` and `asked`: what pages have in common."""

from __future__ import annotations

import base64
import hashlib
import re

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.auth import (
    CODE,
    OURS,
    PASSWORD,
    TOKEN,
    Browser,
    FakeAuth,
    error,
)
from tests.protocols.web.clients import Answer
from tests.protocols.web.test_page import Reader
from tlsgate.protocols.web import pages
from tlsgate.protocols.web.boardstyle import BOARD_STYLE
from tlsgate.protocols.web.formstyle import FORM_STYLE

LINK = f"/web/invite/{TOKEN}"
MARK = "<i>canary</i>&'\""


def each() -> dict[str, Answer]:
    """Every page there is, by what it shows."""
    auth = FakeAuth()
    browser = Browser(auth)
    whole = {"password": PASSWORD, "again": PASSWORD, "code": CODE}
    return {
        "invite": browser.get(LINK),
        "wrong": browser.post(LINK, {**whole, "again": "x", "code": "x"}),
        "done": browser.post(LINK, whole),
        "gone": browser.get(LINK),
        "login": browser.get("/web/login"),
        "ended": browser.get("/web/login?ended"),
        "failed": browser.log_in(code="1"),
        "in": browser.log_in(),
        "console": browser.get("/web"),
        "nothing": browser.get("/web/nothing"),
    }


class FrameTests(SynchronousTestCase):
    """What holds for every page."""

    def test_whole_in_itself(self) -> None:
        """No script, no style but the page's own, nothing from elsewhere; elements nest."""
        for name, answer in each().items():
            reader = Reader(answer.body.decode())
            self.assertEqual(reader.open, [], name)
            tags = {tag for tag, _, _ in reader.attributes}
            self.assertEqual(tags & {"img", "iframe", "object"}, set(), name)
            scripts = re.findall(rb"<script[^>]*>", answer.body)
            self.assertEqual(scripts, [b"<script>"] * (name == "console"), name)
            for tag, attribute, value in reader.attributes:
                self.assertFalse(attribute.startswith("on"), (name, tag))
                self.assertNotIn(attribute, ("src", "style", "formaction", "target"), (name, tag))
                if attribute in ("href", "action"):
                    assert value is not None
                    wanted = ("/", "data:image/svg+xml,", "otpauth://totp/")
                    self.assertTrue(value.startswith(wanted) and not value.startswith("//"), value)

    def test_headers(self) -> None:
        """The policy names the digest of the style and no more; nothing is kept or told."""
        for name, answer in each().items():
            policy = answer.headers[b"content-security-policy"]
            style = re.search(rb"<style>(.*?)</style>", answer.body, re.DOTALL)
            if style is not None:
                digest = base64.b64encode(hashlib.sha256(style[1]).digest())
                self.assertIn(b"style-src 'sha256-" + digest + b"'", policy, name)
            script = re.search(rb"<script>(.*?)</script>", answer.body, re.DOTALL)
            if script is None:
                self.assertNotIn(b"script-src", policy, name)
            else:
                digest = base64.b64encode(hashlib.sha256(script[1]).digest())
                self.assertIn(b"script-src 'sha256-" + digest + b"';", policy, name)
            self.assertTrue(policy.startswith(b"default-src 'none'; "), name)
            self.assertNotIn(b"unsafe", policy, name)
            self.assertEqual(
                {key: answer.headers[key] for key in (b"referrer-policy", b"cache-control")},
                {b"referrer-policy": b"no-referrer", b"cache-control": b"no-store"},
                name,
            )
            self.assertEqual(answer.headers[b"x-frame-options"], b"DENY")

    def test_fields_have_labels(self) -> None:
        """Each field that is seen has a label, and what describes it is there."""
        for name, answer in each().items():
            text = answer.body.decode()
            for tag in re.findall(r"<input [^>]*>", text):
                if 'type="hidden"' in tag:
                    continue
                [own] = re.findall(r' id="([\w-]+)"', tag)
                self.assertIn(f'<label for="{own}">', text, name)
                for told in re.findall(r'aria-describedby="([^"]*)"', tag):
                    for one in told.split():
                        self.assertIn(f'id="{one}"', text, name)

    def test_style(self) -> None:
        """The other style sheets take their colours from the first, which a test looks after."""
        for style in (FORM_STYLE, BOARD_STYLE):
            self.assertEqual(re.findall(r"#[0-9a-f]{3,6}\b", style), [])

    def test_s30_nothing_comes_back(self) -> None:
        """S30: whatever is sent, none of it is in an answer, over both versions of HTTP."""
        for h2 in (False, True):
            browser = Browser(FakeAuth(), h2=h2)
            seen = []
            for path in (LINK, "/web/login"):
                browser.get(path)
                names = ("user", "password", "again", "code")
                fields = {name: MARK for name in names if name != "user" or path != LINK}
                if path != LINK:
                    fields.pop("again")
                seen.append(browser.post(path, fields))
            for path in ("/web/canary", "/web/invite/canary", "/web/login?canary", "/web?canary"):
                seen.append(browser.get(path, ("Referer", "https://canary/"), ("X", "canary")))
                seen.append(browser.post(path, {"canary": MARK}))
            for answer in seen:
                said = b"".join([answer.body, *answer.headers.values()])
                self.assertNotIn(b"canary", said)

    def test_s24_no_token(self) -> None:
        """S24: the secret of the address is not in the page, and so not in its title."""
        for name, answer in each().items():
            self.assertNotIn(TOKEN.encode(), answer.body, name)

    def test_s24_not_in_a_repr(self) -> None:
        """A request that is logged by mistake does not show its address."""
        auth = FakeAuth(slow=True)
        browser = Browser(auth)
        browser.talk.send(f"GET {LINK} HTTP/1.1\r\nHost: gw.test\r\n\r\n".encode())
        [request] = browser.talk.protocol.requests  # type: ignore[attr-defined]
        self.assertNotIn(TOKEN, repr(request))

    def test_reached(self) -> None:
        """Addresses are written as a client's option takes them."""
        for address, wanted in (
            (None, None),
            ("gate.test", "gate.test:443"),
            ("gate.test:8443", "gate.test:8443"),
            ("0.0.0.0:3080", "localhost:3080"),
            ("[2001:db8::1]:3080", "[2001:db8::1]:3080"),
        ):
            self.assertEqual(pages.reached(address), wanted)


class MethodTests(SynchronousTestCase):
    """What may be asked in which way."""

    def test_methods(self) -> None:
        """Other methods are refused, and each path says which it has."""
        for h2 in (False, True):
            browser = Browser(FakeAuth(), h2=h2)
            for method, path, allow in (
                ("PUT", "/web/login", b"GET, HEAD, POST"),
                ("DELETE", LINK, b"GET, HEAD, POST"),
                ("OPTIONS", "/web/login", b"GET, HEAD, POST"),
                ("POST", "/web", b"GET, HEAD"),
                ("GET", "/web/logout", b"POST"),
                ("HEAD", "/web/logout", b"POST"),
            ):
                answer = browser.ask(method, path, headers=OURS)
                self.assertEqual((answer.code, answer.headers[b"allow"]), (405, allow), path)

    def test_head(self) -> None:
        """A HEAD gets the headers of a GET and nothing else."""
        browser = Browser(FakeAuth())
        for path in (LINK, "/web/login", "/web"):
            wanted = browser.get(path)
            answer = browser.ask("HEAD", path)
            self.assertEqual((answer.code, answer.body), (wanted.code, b""))

    def test_forms(self) -> None:
        """A body of another kind, or a long one, is refused before anybody is asked."""
        kind = ("Content-Type", "application/x-www-form-urlencoded")
        for h2 in (False, True):
            auth = FakeAuth()
            browser = Browser(auth, h2=h2)
            for path in (LINK, "/web/login", "/web/logout"):
                for body, headers, code in (
                    (b"{}", (("Content-Type", "application/json"),), 415),
                    (b"x=1", (), 415),
                    (b"x=1", (kind,), 400),
                    (b"form=" + b"x" * 9000, (kind,), 413),
                ):
                    answer = browser.ask("POST", path, body, (*headers, *OURS))
                    self.assertEqual(answer.code, code, (path, body[:20]))
            self.assertEqual(auth.asked, [])

    def test_paths(self) -> None:
        """What is not there is 404, below each page too."""
        browser = Browser(FakeAuth())
        for path in (
            "/web/x",
            "/web/login/x",
            "/web/invite",
            f"{LINK}/x",
            "/web/invite/",
            "/web//",
        ):
            self.assertEqual(browser.get(path).code, 404, path)
            if not path.startswith(("/web/x", "/web//")):
                self.assertEqual(browser.post(path).code, 404, path)
        self.assertEqual(browser.post("/web/logout/x").code, 404)

    def test_other_pages(self) -> None:
        """A frame, a script or an image of another page gets nothing, session or not."""
        auth = FakeAuth()
        browser = Browser(auth)
        browser.log_in()
        auth.asked.clear()
        for mode, dest in (("cors", "empty"), ("no-cors", "image"), ("navigate", "iframe")):
            answer = browser.get(
                "/web",
                ("Sec-Fetch-Site", "same-site"),
                ("Sec-Fetch-Mode", mode),
                ("Sec-Fetch-Dest", dest),
            )
            self.assertEqual(answer.code, 403)
        self.assertEqual(auth.asked, [])


class TroubleTests(SynchronousTestCase):
    """When the auth service does not do what it should."""

    def test_away(self) -> None:
        """Who cannot be asked is told so, on every page; a form that was filled in is kept open."""
        auth = FakeAuth()
        browser = Browser(auth)
        browser.log_in()
        console = browser.get("/web")
        auth.away = True
        self.assertEqual(browser.get("/web").code, 503)
        self.assertIn(b"cannot be reached now", browser.last.body)
        self.assertEqual(browser.get(LINK).code, 503)
        browser.last = console
        self.assertEqual(browser.post("/web/logout").code, 503)
        self.assertIn("__Host-tlsgate", browser.jar)
        login = browser.get("/web/login")
        self.assertEqual((login.code, b"<form" in login.body), (200, True))
        self.assertEqual(browser.log_in().code, 503)
        self.assertIn(b"<form", browser.last.body)

    def test_bug(self) -> None:
        """An answer that cannot be read is a constant page, and a line in the log."""
        auth = FakeAuth()
        browser = Browser(auth)
        for said in ((200, {"user": "alice"}), (200, None), (200, {"kind": 1})):
            auth.answer["/v1/invites/begin"] = said
            self.assertEqual(browser.get(LINK).code, 500)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 3)
        for path in ("/v1/invites/begin", "/v1/web/login", "/v1/web/check"):
            auth.answer[path] = error(500, "error")
        self.assertEqual(browser.get(LINK).code, 500)
        self.assertEqual(browser.log_in().code, 500)

    def test_gone(self) -> None:
        """Somebody who leaves while the auth service thinks disturbs nobody."""
        for answer in ({}, {"/v1/invites/begin": (200, None)}):
            auth = FakeAuth(slow=True, answer=dict(answer))
            browser = Browser(auth)
            browser.talk.send(f"GET {LINK} HTTP/1.1\r\nHost: gw.test\r\n\r\n".encode())
            browser.talk.hang_up()
            auth.waiting.pop().callback(None)
            self.assertEqual(browser.talk.received, b"")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
