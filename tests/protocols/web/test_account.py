"""Tests for `tlsgate.protocols.web.account`: one's own password and authenticator."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.auth import CODE, PASSWORD, TOKEN, Browser, FakeAuth, error
from tests.protocols.web.test_invite import words
from tlsgate.protocols.web.account import WRONG

PAGE = "/web/account"
NEW = "a different password"
FILLED = {"change": "password", "old": PASSWORD, "code": CODE, "password": NEW, "again": NEW}
FACTOR = {"change": "authenticator", "old": PASSWORD, "code": "123 456"}


class AccountCase(SynchronousTestCase):
    """alice is logged in, and looks at the page."""

    def setUp(self) -> None:
        self.auth = FakeAuth()
        self.browser = Browser(self.auth)
        self.browser.log_in()
        self.browser.get(PAGE)


class ShowTests(AccountCase):
    """What it shows."""

    def test_page(self) -> None:
        """Two forms that both ask for a proof; the console leads there, a script is not needed."""
        body = self.browser.last.body
        self.assertEqual((self.browser.last.code, body.count(b"<form")), (200, 2))
        for name in (b"password-old", b"authenticator-old", b"password-code"):
            self.assertEqual(body.count(b'id="' + name + b'"'), 1)
        self.assertNotIn(b"<script", body)
        self.assertIn(b'href="/web/account"', self.browser.get("/web").body)

    def test_others(self) -> None:
        """Who is not logged in goes to where one logs in; nothing stands below the page."""
        self.assertEqual(self.browser.get(PAGE + "/x").code, 404)
        self.assertEqual(self.browser.post(PAGE + "/x", FILLED).code, 404)
        self.auth.sessions.clear()
        self.assertEqual(self.browser.get(PAGE).headers[b"location"], b"/web/login?over")
        self.assertEqual(self.browser.get(PAGE).headers[b"location"], b"/web/login")
        for status, code in ((403, 403), (503, 503), (418, 500)):
            self.browser.log_in()
            self.auth.answer["/v1/web/check"] = error(status, "x")
            self.assertEqual(self.browser.get(PAGE).code, code)
            del self.auth.answer["/v1/web/check"]


class ChangeTests(AccountCase):
    """What comes of the forms."""

    def test_password(self) -> None:
        """It is changed with the proof and the page's bearer, and every session is over."""
        cookie = self.browser.jar["__Host-tlsgate"]
        done = self.browser.post(PAGE, FILLED)
        self.assertEqual(done.code, 200)
        self.assertIn("Your password is changed", words(done.body))
        path, body, as_anyone, address = self.auth.asked[-1]
        self.assertEqual((path, as_anyone, address), ("/v1/web/password", False, "192.0.2.7"))
        self.assertEqual((body["cookie"], body["new"], body["otp"]), (cookie, NEW, CODE))
        self.assertNotIn("__Host-tlsgate", self.browser.jar)
        self.assertEqual(self.browser.get(PAGE).headers[b"location"], b"/web/login")

    def test_authenticator(self) -> None:
        """The browser goes on to a reset link's page; nothing else was sent."""
        answer = self.browser.post(PAGE, FACTOR)
        self.assertEqual(
            (answer.code, answer.headers[b"location"]), (303, f"/web/reset/{TOKEN}".encode())
        )
        path, body, _, _ = self.auth.asked[-1]
        self.assertEqual((path, "new" in body, body["otp"]), ("/v1/web/factor", False, CODE))
        self.assertIn("__Host-tlsgate", self.browser.jar)

    def test_wrong(self) -> None:
        """What is wrong is said on the page, and can be mended there."""
        for fields, code, told in (
            ({"old": "not it"}, 403, WRONG),
            ({"old": ""}, 403, WRONG),
            ({"old": "x" * 1025}, 403, WRONG),
            ({"code": ""}, 403, WRONG),
            ({"again": "other"}, 422, "The two passwords are not the same."),
            ({"password": "", "again": ""}, 422, "Choose a password."),
            ({"password": "short", "again": "short"}, 422, "it needs at least 12 characters."),
        ):
            answer = self.browser.post(PAGE, {**FILLED, **fields})
            self.assertEqual((answer.code, told in words(answer.body)), (code, True), fields)
        self.assertEqual(self.browser.post(PAGE, FILLED).code, 200)

    def test_s29_only_our_own_page(self) -> None:
        """Another page's form, an old one, and one with another's bearer change nothing."""
        foreign = (("Origin", "https://evil.test"), ("Sec-Fetch-Site", "cross-site"))
        self.assertEqual(self.browser.post(PAGE, FILLED, foreign).code, 403)
        self.browser.get(PAGE)
        self.assertEqual(self.browser.post(PAGE, {**FILLED, "form": "x"}).code, 403)
        self.assertEqual(self.browser.post(PAGE, {**FILLED, "bearer": "x" * 43}).code, 403)
        self.assertEqual(len(self.auth.sessions), 1)
        self.browser.get(PAGE)
        self.assertEqual(self.browser.post(PAGE, {**FILLED, "change": "roles"}).code, 400)

    def test_auth_service(self) -> None:
        """Its waits are told; where it is away, a session is over or it fails, so is that."""
        for status, reason, code in (
            (429, "locked_out", 429),
            (503, "unreachable", 503),
            (418, "x", 500),
            (403, "access_denied", 403),
        ):
            self.auth.answer["/v1/web/password"] = error(status, reason)
            self.browser.get(PAGE)
            self.assertEqual(self.browser.post(PAGE, FILLED).code, code)
        self.auth.answer["/v1/web/factor"] = 200, {"token": "../../elsewhere"}
        self.browser.get(PAGE)
        self.assertEqual(self.browser.post(PAGE, FACTOR).code, 500)
        self.auth.answer["/v1/web/password"] = error(401, "bad_token")
        self.browser.get(PAGE)
        self.assertEqual(self.browser.post(PAGE, FILLED).headers[b"location"], b"/web/login?over")
        self.browser.log_in()
        self.browser.get(PAGE)
        del self.browser.jar["__Host-tlsgate"]
        self.assertEqual(self.browser.post(PAGE, FILLED).headers[b"location"], b"/web/login?over")
