"""Tests for `tlsgate.protocols.web.launch`: from the console to an application."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.auth import CODE, PASSWORD, Browser, FakeAuth, error
from tests.protocols.web.clients import Answer
from tests.protocols.web.test_invite import PUBLIC
from tlsgate.core.appsession import returned, state_of
from tlsgate.core.offers import Offer
from tlsgate.testing import FakeTunnels

STATE = state_of("s" * 43)
PATH = f"/web/launch/grafana?state={STATE}"
ORIGIN = "https://grafana.gate.example.com"
LOGIN = f"/web/login?launch=grafana&state={STATE}".encode()

OFFERS = (
    Offer(kind="app", name="grafana", facts={"protocol": "http", "public_addr": ""}),
    Offer(kind="app", name="wiki", facts={"public_addr": "wiki.example.net"}),
    Offer(kind="app", name="feed", facts={"protocol": "tcp"}),
    Offer(kind="app", name="odd", facts={"public_addr": "evil.example/x"}),
    Offer(kind="app", name="thief", facts={"public_addr": "gate.example.com"}),
)


class LaunchCase(SynchronousTestCase):
    """Tests with a browser, and applications that are there."""

    def setUp(self) -> None:
        self.auth = FakeAuth()
        self.browser = self.opened()

    def opened(self, **fields: Any) -> Browser:
        """Open a browser."""
        return Browser(self.auth, public=PUBLIC, tunnels=FakeTunnels(*OFFERS), **fields)

    def where(self, answer: Answer) -> str:
        """Where one is led."""
        self.assertEqual(answer.code, 303)
        return answer.headers[b"location"].decode()


class LaunchTests(LaunchCase):
    """Tests for /web/launch."""

    def test_launch(self) -> None:
        """Who is logged in goes on with a code, to the application's own address."""
        for h2 in (False, True):
            browser = self.opened(h2=h2)
            browser.log_in()
            where = self.where(browser.get(PATH))
            self.assertTrue(where.startswith(f"{ORIGIN}/x-tlsgate-auth?code="), where)
            back = returned(where.removeprefix(ORIGIN).encode())
            assert back is not None
            self.assertEqual(self.auth.codes[back.code], ("alice", "grafana", STATE))
            asked = self.auth.asked[-1]
            self.assertEqual((asked[0], asked[3]), ("/v1/web/app-session", "192.0.2.7"))
            self.assertEqual(asked[1]["address"], "192.0.2.7")

    def test_without_state(self) -> None:
        """Without one the application is asked first, which makes one."""
        self.assertEqual(self.where(self.browser.get("/web/launch/grafana")), f"{ORIGIN}/")
        wiki = self.where(self.browser.get("/web/launch/wiki"))
        self.assertEqual(wiki, "https://wiki.example.net/")
        for query in (f"state={STATE}&x", "state=short", f"state={STATE}%0a", "&again"):
            answer = self.browser.get(f"/web/launch/grafana?{query}")
            self.assertEqual(self.where(answer), f"{ORIGIN}/")
        self.assertEqual(self.auth.asked, [])

    def test_registered_only(self) -> None:
        """S30: nobody is led anywhere but to an application that an agent offers here now."""
        self.browser.log_in()
        for name in (
            *("none", "feed", "odd", "thief", "", "grafana/x", "evil.example", "%2f%2fevil"),
            *("grafana%0d%0a", "a" * 200, "https:%2f%2fevil.example", "grafana@evil.example"),
        ):
            answer = self.browser.get(f"/web/launch/{name}?state={STATE}")
            self.assertEqual((answer.code, b"location" in answer.headers), (404, False), name)
            self.assertNotIn(b"evil", answer.body)

    def test_logs_in_first(self) -> None:
        """Who is not goes to the login, and from there on to the application."""
        self.assertEqual(self.where(self.browser.get(PATH)).encode(), LOGIN)
        page = self.browser.get(LOGIN.decode())
        self.assertIn(b"go on to <b>grafana</b>", page.body)
        self.assertIn(
            b"form-action 'self' https://grafana.gate.example.com;",
            page.headers[b"content-security-policy"],
        )
        wrong = self.browser.post("/web/login", {"user": "alice", "password": "x", "code": CODE})
        self.assertEqual(wrong.code, 403)
        filled = {"user": "alice", "password": PASSWORD, "code": CODE}
        self.assertEqual(self.where(self.browser.post("/web/login", filled)), PATH)
        self.assertTrue(self.where(self.browser.get(PATH)).startswith(ORIGIN))
        self.assertEqual(self.where(self.browser.get(LOGIN.decode())), PATH)

    def test_login_elsewhere(self) -> None:
        """S30: what a login leads on to is one of our own paths, or nothing."""
        for query in ("launch=//evil.example", f"launch=x/y&state={STATE}", f"state={STATE}"):
            page = self.browser.get(f"/web/login?{query}")
            self.assertNotIn(b"evil", page.body)
            self.assertIn(b"form-action 'self';", page.headers[b"content-security-policy"])
        for text in ("//evil.example x", f"x/../../y {STATE}", f"grafana  {STATE}", "grafana"):
            browser = self.opened()
            self.assertEqual(self.where(browser.log_in(next=text)), "/web", text)

    def test_from_another_site(self) -> None:
        """A link from elsewhere comes without our cookie: the page loads itself once more."""
        self.browser.log_in()
        jar, self.browser.jar = self.browser.jar, {}
        site = (
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
        )
        answer = self.browser.get(PATH, *site)
        self.assertEqual(answer.code, 200)
        again = f"{PATH}&amp;again"
        self.assertIn(f'<meta http-equiv="refresh" content="0;url={again}">', answer.body.decode())
        self.assertEqual(self.where(self.browser.get(f"{PATH}&again", *site)).encode(), LOGIN)
        self.browser.jar = jar
        self.assertTrue(self.where(self.browser.get(f"{PATH}&again")).startswith(ORIGIN))

    def test_only_navigation(self) -> None:
        """S29: no other site's picture or fetch makes a code."""
        self.browser.log_in()
        site = (("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors"))
        self.assertEqual(self.browser.get(PATH, *site).code, 403)
        self.assertEqual(self.browser.post(PATH).code, 405)
        self.assertEqual(self.auth.codes, {})

    def test_refused(self) -> None:
        """Roles, a lock, and an auth service that is away are told."""
        self.browser.log_in()
        for said, code, told in (
            (error(403, "access_denied"), 403, "Your roles do not open this application."),
            (error(403, "locked"), 403, "An operator has locked this account."),
            (error(404, "no_such"), 404, "No application of this name"),
            (error(503, "x"), 503, "cannot be reached now"),
            (error(500, "x"), 500, "Something went wrong"),
        ):
            self.auth.answer["/v1/web/app-session"] = said
            answer = self.browser.get(PATH)
            self.assertEqual((answer.code, told in answer.body.decode()), (code, True), told)

    def test_over(self) -> None:
        """A session that is over is asked for anew, and its cookie goes: no endless circle."""
        self.browser.log_in()
        self.auth.sessions.clear()
        self.assertEqual(self.where(self.browser.get(PATH)).encode(), LOGIN)
        self.assertNotIn("__Host-tlsgate", self.browser.jar)

    def test_no_tunnels(self) -> None:
        """A gateway without agents leads nowhere."""
        browser = Browser(self.auth, public=PUBLIC)
        self.assertEqual(browser.get(PATH).code, 404)
