"""Tests for `tlsgate.protocols.web.login` and `session`: in and out."""

from __future__ import annotations

from twisted.internet.address import UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.auth import CODE, OURS, PASSWORD, Browser, FakeAuth, error
from tlsgate.auth.sessions import bearer_of
from tlsgate.testing import settings


class LoginTests(SynchronousTestCase):
    """Tests for /web/login."""

    def test_in(self) -> None:
        """Who is right gets the cookie and goes on; the gateway asks as itself."""
        for h2 in (False, True):
            auth = FakeAuth()
            browser = Browser(auth, h2=h2)
            answer = browser.log_in(user=" alice ", code="123 456")
            self.assertEqual((answer.code, answer.headers[b"location"]), (303, b"/web"))
            [cookie] = [one for one in answer.cookies if one.startswith(b"__Host-tlsgate=")]
            self.assertEqual(
                cookie.partition(b"; ")[2], b"Path=/; Secure; HttpOnly; SameSite=strict"
            )
            body = {"user": "alice", "password": PASSWORD, "otp": CODE, "address": "192.0.2.7"}
            self.assertEqual(auth.asked, [("/v1/web/login", body, False, "192.0.2.7")])
            again = browser.get("/web/login")
            self.assertEqual((again.code, again.headers[b"location"]), (303, b"/web"))

    def test_s43_one_sentence(self) -> None:
        """S43: whatever is wrong, the answer is the same but for the form's token."""
        auth = FakeAuth()
        browser = Browser(auth)
        bodies = set()
        for fields in (
            {"user": "bob"},
            {"user": ""},
            {"user": "no/name"},
            {"user": "x" * 2000},
            {"password": "wrong"},
            {"password": ""},
            {"code": ""},
            {"code": "x" * 80},
        ):
            if fields == {"user": "no/name"}:
                auth.answer["/v1/web/login"] = error(400, "bad_resource", "user: no/name")
            answer = browser.log_in(**fields)
            auth.answer.clear()
            self.assertEqual(answer.code, 403)
            self.assertIn(b"The user name, the password or the code is wrong.", answer.body)
            head, _, tail = answer.body.partition(b'name="form" value="')
            bodies.add(head + tail[64:])
        self.assertEqual(len(bodies), 1)
        self.assertNotIn("__Host-tlsgate", browser.jar)

    def test_told(self) -> None:
        """Waits and locks are sentences above the form."""
        auth = FakeAuth()
        browser = Browser(auth)
        for said, code, told in (
            (error(429, "locked_out", "too many: try again in 30 s", seconds=30), 429, "in 30 s."),
            (error(403, "locked", "alice is locked: bye"), 403, "An operator has locked"),
            (error(503, "unreachable"), 503, "cannot be reached now"),
        ):
            auth.answer["/v1/web/login"] = said
            answer = browser.log_in()
            self.assertEqual((answer.code, told in answer.body.decode()), (code, True))
            self.assertIn(b"<form", answer.body)
        self.assertIn(b'role="alert"', browser.last.body)

    def test_notes(self) -> None:
        """The page tells what a fixed path means, and nothing of any other query."""
        browser = Browser(FakeAuth())
        self.assertIn(b"You are logged out.", browser.get("/web/login?ended").body)
        self.assertIn(b"Your session is over.", browser.get("/web/login?over").body)
        for query in ("?", "?ended=1", "?over&x", "?ENDED"):
            self.assertNotIn(b"note", browser.get(f"/web/login{query}").body.split(b"</style>")[1])

    def test_s30_no_redirect_elsewhere(self) -> None:
        """S30: nothing in a request chooses where its sender goes."""
        browser = Browser(FakeAuth())
        for goal in ("//evil.test", "https://evil.test", "/\\evil.test", "%2F%2Fevil.test"):
            for name in ("next", "redirect", "url", "return_to"):
                path = f"/web/login?{name}={goal}"
                browser.get(path)
                answer = browser.post(path, {"user": "alice", "password": PASSWORD, "code": CODE})
                self.assertEqual(answer.headers[b"location"], b"/web")
                browser.get("/web")
                self.assertEqual(browser.post("/web/logout").code, 303)

    def test_unix(self) -> None:
        """A client without an address is called local."""
        auth = FakeAuth()
        browser = Browser(auth)
        browser.context.peer = UNIXAddress(None)
        browser.log_in()
        self.assertEqual(auth.asked[-1][1]["address"], "local")

    def test_s19_balancer(self) -> None:
        """Failed logins count for the client that a trusted balancer names, not for all of its."""
        auth = FakeAuth()
        browser = Browser(auth)
        text = "version: v3\nproxy_service: {trust_x_forwarded_for: [192.0.2.0/24]}\n"
        browser.context.settings = settings(text)
        browser.get("/web/login")
        browser.post(
            "/web/login",
            {"user": "alice", "password": PASSWORD, "code": CODE},
            headers=(*OURS, ("X-Forwarded-For", "10.9.9.9, 198.51.100.1")),
        )
        self.assertEqual(auth.asked[-1][1]["address"], "198.51.100.1")


class LogoutTests(SynchronousTestCase):
    """Tests for /web/logout."""

    def test_out(self) -> None:
        """The console's button ends the session, here and for the browser."""
        for h2 in (False, True):
            auth = FakeAuth()
            browser = Browser(auth, h2=h2)
            browser.log_in()
            browser.get("/web")
            answer = browser.post("/web/logout")
            self.assertEqual((answer.code, answer.headers[b"location"]), (303, b"/web/login?ended"))
            self.assertEqual((auth.sessions, "__Host-tlsgate" in browser.jar), ({}, False))

    def test_s29_bearer_of_another(self) -> None:
        """S29: the bearer of one session with the cookie of another is refused."""
        auth = FakeAuth()
        alice, bob = Browser(auth), Browser(auth)
        alice.log_in()
        bob.log_in()
        bob.get("/web")
        alice.last = bob.last
        for fields in ({}, {"bearer": ""}, {"bearer": "x" * 5000}):
            self.assertEqual(alice.post("/web/logout", fields).code, 403)
        self.assertEqual(len(auth.sessions), 2)
        alice.get("/web")
        self.assertEqual(alice.post("/web/logout").code, 303)
        self.assertEqual(len(auth.sessions), 1)

    def test_over(self) -> None:
        """Who has no session any more is told so."""
        auth = FakeAuth()
        browser = Browser(auth)
        self.assertEqual(browser.post("/web/logout").headers[b"location"], b"/web/login?over")
        browser.log_in()
        auth.sessions.clear()
        answer = browser.post("/web/logout", {"bearer": bearer_of("x")})
        self.assertEqual(answer.headers[b"location"], b"/web/login?over")
        self.assertNotIn("__Host-tlsgate", browser.jar)

    def test_locked(self) -> None:
        """Somebody whom a lock holds can still leave; a bug of the auth service is ours to say."""
        auth = FakeAuth()
        browser = Browser(auth)
        browser.log_in()
        browser.get("/web")
        page = browser.last
        auth.answer["/v1/web/check"] = error(500, "error")
        self.assertEqual(browser.post("/web/logout").code, 500)
        auth.answer["/v1/web/check"] = error(403, "locked")
        browser.last = page
        self.assertEqual(browser.post("/web/logout").headers[b"location"], b"/web/login?ended")
