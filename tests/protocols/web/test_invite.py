"""Tests for `tlsgate.protocols.web.invite`: a link's page."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.auth import (
    BAD_TOKEN,
    CODE,
    PASSWORD,
    SECRET,
    TOKEN,
    Browser,
    FakeAuth,
    error,
)
from tests.protocols.web.test_page import Reader
from tlsgate.protocols.web import invite, qr
from tlsgate.testing import settings

LINK = f"/web/invite/{TOKEN}"
FILLED = {"password": PASSWORD, "again": PASSWORD, "code": CODE}
PUBLIC = evolve(settings().public, web=("gate.example.com:443", "other.example.com"))


def words(body: bytes) -> str:
    """What is read on a page."""
    return " ".join(Reader(body.decode()).words.split())


class ShowTests(SynchronousTestCase):
    """What a link shows."""

    def test_page(self) -> None:
        """Who it is for, until when, and the secret as a picture and as text; asked as anyone."""
        for h2 in (False, True):
            auth = FakeAuth()
            answer = Browser(auth, h2=h2).get(LINK)
            text = words(answer.body)
            self.assertEqual(answer.code, 200)
            for wanted in (
                "Welcome, alice",
                "log in to root.example.com",
                "until 08:00 UTC on 15 January",
                " ".join(SECRET[at : at + 4] for at in range(0, 32, 4)),
                "12 to 128 characters",
            ):
                self.assertIn(wanted, text)
            assert auth.link is not None
            drawn = qr.picture(
                auth.link["otpauth"], "QR code of the secret that stands beside it as text"
            )
            assert drawn is not None
            self.assertIn(drawn, answer.body.decode())
            begun = ("/v1/invites/begin", {"token": TOKEN}, True, "192.0.2.7")
            self.assertEqual(auth.asked, [begun])

    def test_reset(self) -> None:
        """A reset link says so, under either path, and that the old password is good still."""
        auth = FakeAuth()
        assert auth.link is not None
        auth.link["kind"] = "reset"
        for path in (LINK, f"/web/reset/{TOKEN}"):
            text = words(Browser(auth).get(path).body)
            self.assertIn("A new password for alice", text)
            self.assertIn("The old one is good until this is done", text)

    def test_without_second_factor(self) -> None:
        """Where the cluster has none, the page asks for a password alone."""
        auth = FakeAuth()
        assert auth.link is not None
        auth.link.update(otpauth=None, secret=None)
        browser = Browser(auth)
        body = browser.get(LINK).body
        self.assertNotIn(b"authenticator", body)
        self.assertNotIn(b'name="code"', body)
        done = browser.post(LINK, {"password": PASSWORD, "again": PASSWORD})
        self.assertIn(b"All set", done.body)
        self.assertEqual(auth.asked[-1][1]["otp"], None)

    def test_without_picture(self) -> None:
        """Without a picture the text is enough."""
        self.patch(qr, "picture", lambda text, says: None)
        text = words(Browser(FakeAuth()).get(LINK).body)
        self.assertIn("Open an authenticator app. Type this secret", text)

    def test_odd_uri(self) -> None:
        """Only an authenticator's own scheme becomes a link, and markup stays text."""
        auth = FakeAuth()
        assert auth.link is not None
        auth.link.update(otpauth="javascript:alert(1)", user="<b>&", secret="<i>")
        body = Browser(auth).get(LINK).body
        self.assertNotIn(b"javascript:", body)
        self.assertNotIn(b"<b>&", body)
        self.assertIn(b"Welcome, &lt;b&gt;&amp;", body)
        self.assertIn(b"&lt;i&gt;</code>", body)

    def test_not_valid(self) -> None:
        """A link that is not good has one page, whatever is wrong with it."""
        auth = FakeAuth(link=None)
        browser = Browser(auth)
        bodies = {
            browser.get(f"/web/invite/{path}").body
            for path in (TOKEN, "x", "", "x" * 500, "%00", TOKEN + "/x", "a" * 42 + "%C3%A9")
        }
        self.assertEqual((len(bodies), len(auth.asked)), (1, 1))
        self.assertEqual(browser.last.code, 404)
        self.assertIn(b"Ask whoever sent it for a new one", browser.last.body)


class TakeTests(SynchronousTestCase):
    """What comes of the form."""

    def test_taken(self) -> None:
        """Password and code go to the auth service; the page says how to log in."""
        for h2 in (False, True):
            auth = FakeAuth()
            browser = Browser(auth, h2=h2, public=PUBLIC)
            browser.get(LINK)
            done = browser.post(LINK, {**FILLED, "code": " 123 456-"})
            self.assertEqual(done.code, 200)
            wanted = "tgsh login --proxy=gate.example.com:443 --user=alice"
            self.assertIn(wanted, words(done.body))
            body = {"token": TOKEN, "password": PASSWORD, "otp": CODE}
            self.assertEqual(auth.asked[-1], ("/v1/invites/accept", body, True, "192.0.2.7"))
            self.assertEqual(browser.get(LINK).code, 404)

    def test_wrong(self) -> None:
        """What is wrong is said at its field, with the same picture, and can be mended."""
        auth = FakeAuth()
        browser = Browser(auth)
        picture = browser.get(LINK).body.partition(b"<svg class=")[2].partition(b"</svg>")[0]
        self.assertGreater(len(picture), 1000)
        for fields, field, told in (
            ({"password": ""}, "password", "Choose a password."),
            ({"password": "x" * 1025}, "password", "This password is too long."),
            ({"again": "other"}, "again", "The two passwords are not the same."),
            ({"code": "12x456"}, "code", "The code is the six digits"),
            (
                {"password": "short", "again": "short"},
                "password",
                "This password is not taken: it needs at least 12 characters.",
            ),
            ({"code": "654321"}, "code", "The one-time code is wrong: type the six digits."),
        ):
            answer = browser.post(LINK, {**FILLED, **fields})
            text = answer.body.decode()
            self.assertEqual(answer.code, 422)
            self.assertIn(f'<p class="wrong" id="{field}-wrong">{told}', text)
            self.assertIn(f'aria-describedby="{field}-wrong', text)
            self.assertIn(invite.UNSAVED, text)
            self.assertIn("<title>Error: Welcome", text)
            self.assertEqual(text.count(" autofocus"), 1)
            self.assertIn(picture, answer.body)
        self.assertEqual(browser.post(LINK, FILLED).code, 200)

    def test_refused(self) -> None:
        """What no field can mend is a sentence above the form, or a page without one."""
        auth = FakeAuth()
        browser = Browser(auth)
        for said, code, told in (
            (error(429, "locked_out", "too many: try again in 7 s", seconds=6.6), 429, "in 7 s."),
            (error(429, "locked_out", ""), 429, "Wait a little."),
            (error(503, "unreachable", "busy"), 503, "cannot be reached now"),
            (error(403, "locked", "x"), 403, "An operator has locked this account."),
            (error(400, "bad_resource", "otp: x"), 422, "This was not taken."),
            (BAD_TOKEN, 404, "Ask whoever sent it"),
        ):
            auth.answer["/v1/invites/accept"] = said
            browser.get(LINK)
            answer = browser.post(LINK, FILLED)
            self.assertEqual(answer.code, code)
            self.assertIn(told, answer.body.decode())
            self.assertEqual(b"<form" in answer.body, code != 404)
            if "seconds" in said[1]["error"]:
                self.assertEqual(answer.headers[b"retry-after"], b"7")

    def test_stale(self) -> None:
        """A page of before is shown anew, and nothing is taken."""
        auth = FakeAuth()
        browser = Browser(auth)
        browser.get(LINK)
        browser.jar.clear()
        answer = browser.post(LINK, FILLED)
        self.assertEqual((answer.code, b"Please try again" in answer.body), (403, True))
        self.assertEqual(set(auth.paths()), {"/v1/invites/begin"})
        self.assertEqual(browser.post(LINK, FILLED).code, 200)
