"""Tests for `tlsgate.protocols.web.console`: who is logged in, and what is open to them."""

from __future__ import annotations

from twisted.internet.address import UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.auth import Browser, FakeAuth, error
from tests.protocols.web.clients import get, visit
from tests.protocols.web.test_invite import PUBLIC, words
from tlsgate.auth.sessions import bearer_of
from tlsgate.core.access import Kind, Rule
from tlsgate.core.routing import CertRule
from tlsgate.protocols.web.console import Open, open_to
from tlsgate.testing import listener, route

REQUIRED = CertRule.REQUIRED
VAULT = route(
    name="vault",
    server_names=("vault.gate.example.com",),
    client_cert=REQUIRED,
    require_role=("operators", "access"),
    target="tcp:10.0.0.1:8200",
)
LEDGER = route(
    name="ledger",
    alpn=(b"postgresql",),
    client_cert=REQUIRED,
    allow=(Rule(Kind.CN, "bob"), Rule(Kind.CN, "alice")),
)
#: Routes that alice's certificate does not open.
CLOSED = (
    route(name="other-role", client_cert=REQUIRED, require_role=("x",), allow=LEDGER.allow),
    route(name="other-name", client_cert=REQUIRED, allow=(Rule(Kind.CN, "bob"),)),
    route(name="dns", client_cert=REQUIRED, allow=(Rule(Kind.DNS, "alice"),)),
    route(name="other-ca", client_cert=REQUIRED, allow=LEDGER.allow, client_ca_files=("/ca.pem",)),
    route(name="open", unsafe_anyone=True),
    route(name="past", passthrough=True, require_role=("access",)),
)


class OpenTests(SynchronousTestCase):
    """Tests for `open_to`."""

    def test_open(self) -> None:
        """By a role that the route wants, or by name where it wants none and has no CA."""
        found = list(open_to((VAULT, *CLOSED, LEDGER), "alice", ("access",)))
        self.assertEqual(found, [Open(VAULT, "role access"), Open(LEDGER, "your name")])
        self.assertEqual(list(open_to((VAULT, *CLOSED), "carol", ())), [])


class ConsoleTests(SynchronousTestCase):
    """Tests for /web."""

    def test_page(self) -> None:
        """It shows who is there, until when, their roles and routes, and the commands."""
        for h2 in (False, True):
            auth = FakeAuth()
            browser = Browser(auth, h2=h2, routes=(VAULT, LEDGER, *CLOSED), public=PUBLIC)
            browser.log_in()
            body = browser.get("/web").body
            text = words(body)
            for wanted in (
                "alice",
                "until 08:00 UTC",
                "Roles access",
                "Logins on servers alice root",
                "vault vault.gate.example.com role access",
                "ledger ALPN postgresql your name",
                "tgsh login --proxy=gate.example.com:443 --user=alice",
            ):
                self.assertIn(wanted, text)
            for hidden in (b"10.0.0.1", b"other-role", b"bob"):
                self.assertNotIn(hidden, body)

    def test_targets(self) -> None:
        """It shows what is open, and goes on where the auth service cannot say that."""
        auth = FakeAuth(targets={"apps": [{"name": "grafana", "labels": {"env": "prod"}}]})
        browser = Browser(auth, public=PUBLIC)
        browser.log_in()
        body = browser.get("/web").body
        self.assertIn("grafana grafana.gate.example.com env=prod", words(body))
        self.assertIn(b'href="https://grafana.gate.example.com/"', body)
        auth.answer["/v1/web/targets"] = error(503, "store_failed")
        text = words(browser.get("/web").body)
        self.assertIn("What is open to you cannot be shown now.", text)
        self.assertIn("Roles access", text)

    def test_bearer(self) -> None:
        """The page carries the session's bearer, and never its cookie."""
        browser = Browser(FakeAuth())
        browser.log_in()
        cookie = browser.jar["__Host-tlsgate"]
        body = browser.get("/web").body.decode()
        self.assertIn(bearer_of(cookie), body)
        self.assertNotIn(cookie, body)

    def test_bare(self) -> None:
        """Without roles and routes it says so; without an address there are no commands."""
        auth = FakeAuth(roles=(), traits={"logins": [], "other": ["x"]})
        at = (listener("web", "unix:/run/x.sock"),)
        browser = Browser(auth, listeners=at, local=UNIXAddress(None))
        browser.log_in()
        text = words(browser.get("/web").body)
        self.assertIn("Roles none", text)
        self.assertIn("Nothing is open to you here yet", text)
        self.assertNotIn("Routes open to you", text)
        self.assertNotIn("tgsh login --proxy", text)

    def test_markup_stays_text(self) -> None:
        """What the auth service says is escaped."""
        auth = FakeAuth(roles=("<b>",), traits={"logins": ["<b>"]})
        browser = Browser(auth)
        browser.log_in()
        auth.sessions = dict.fromkeys(auth.sessions, "<b>'")
        body = browser.get("/web").body.partition(b"<main")[2].replace(b"<b>root.", b"")
        self.assertNotIn(b"<b>", body)
        self.assertEqual(body.count(b"&lt;b&gt;"), 4)

    def test_s31_asked_each_time(self) -> None:
        """S31: every request is checked, so a session that ended elsewhere is over here."""
        auth = FakeAuth()
        browser = Browser(auth)
        browser.log_in()
        for _ in range(3):
            self.assertEqual(browser.get("/web").code, 200)
        cookie = browser.jar["__Host-tlsgate"]
        check = {"cookie": cookie, "bearer": None, "address": "192.0.2.7"}
        paths = ("/v1/web/check", "/v1/web/targets")
        self.assertEqual(auth.asked[1:], [(path, check, False, "192.0.2.7") for path in paths] * 3)
        auth.sessions.clear()
        answer = browser.get("/web")
        self.assertEqual((answer.code, answer.headers[b"location"]), (303, b"/web/login?over"))
        self.assertNotIn("__Host-tlsgate", browser.jar)
        browser.jar["__Host-tlsgate"] = cookie
        for _ in range(100):
            self.assertEqual(browser.ask("GET", "/web").code, 303)
            browser.jar["__Host-tlsgate"] = cookie

    def test_nobody(self) -> None:
        """Without a session, or with something that is none, one is led to the login."""
        auth = FakeAuth()
        browser = Browser(auth)
        for cookie in (None, "", "x", "x" * 500, "é" * 50):
            browser.jar = {} if cookie is None else {"__Host-tlsgate": cookie}
            answer = browser.get("/web")
            self.assertEqual((answer.code, answer.headers[b"location"]), (303, b"/web/login"))
        self.assertEqual(auth.asked, [])
        self.assertEqual(browser.get("/web/").headers[b"location"], b"/web")

    def test_refused(self) -> None:
        """A lock is said; what the auth service cannot say is an error."""
        auth = FakeAuth()
        browser = Browser(auth)
        browser.log_in()
        for said, code, told in (
            (error(403, "locked"), 403, "An operator has locked this account."),
            (error(500, "error"), 500, "Something went wrong"),
            (error(503, "store_failed"), 503, "cannot be reached now"),
        ):
            auth.answer["/v1/web/check"] = said
            answer = browser.get("/web")
            self.assertEqual((answer.code, told in answer.body.decode()), (code, True))

    def test_without_a_cluster(self) -> None:
        """A gate that is part of no cluster has none of these pages."""
        for path in ("/web", "/web/login", "/web/invite/x"):
            self.assertEqual(get(visit(), path).code, 404)
