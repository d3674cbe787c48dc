"""Tests for `tlsgate.protocols.apps.session`: who a request is from, and how a session begins."""

from __future__ import annotations

import json
from functools import partial
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.apps.auth import CODE, COOKIE, AppAuth, AppCluster
from tlsgate.core.appsession import LAUNCHES, launch_name, state_of
from tlsgate.protocols.apps.session import Acting, Reply, Sessions, Shown

HOST = "grafana.gate.example.com"
CONSOLE = "gate.example.com:3080"
HTML = (b"accept", b"text/html,*/*;q=0.8")
NAVIGATED = (HTML, (b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document"))
SESSION = (b"cookie", b"__Host-tlsgate-app=" + COOKIE.encode())


class SessionCase(SynchronousTestCase):
    """Tests with an auth service, and a browser's cookies."""

    def setUp(self) -> None:
        self.auth = AppAuth()
        self.cluster, self.clock = AppCluster(self.auth), Clock()
        self.sessions = Sessions(
            self.cluster, self.clock, lambda: self.auth.now, CONSOLE, self.auth.identify
        )
        self.addCleanup(self.sessions.stop)

    def admit(self, *headers: tuple[bytes, bytes], **fields: Any) -> Acting | Reply | None:
        """What is said of a request."""
        shown = Shown(app="grafana", host=HOST, headers=headers, address="192.0.2.7")
        asking = Deferred.fromCoroutine(self.sessions.admit(evolve(shown, **fields)))
        return self.successResultOf(asking)

    def reply(self, *headers: tuple[bytes, bytes], **fields: Any) -> Reply:
        """It is answered here."""
        found = self.admit(*headers, **fields)
        assert isinstance(found, Reply), found
        return found

    def launch(self, target: bytes = b"/d/1?x=2") -> tuple[str, tuple[bytes, bytes]]:
        """A browser is sent off; gives the state and the cookie that it has then."""
        said = self.reply(*NAVIGATED, target=target)
        query = parse_qs(urlsplit(header(said, b"Location")).query)
        (made,) = cookies(said)
        return query["state"][0], (b"cookie", f"{made.key}={made.value}".encode())


def header(reply: Reply, wanted: bytes) -> str:
    """The only header of that name."""
    (found,) = [value for name, value in reply.headers if name == wanted]
    return found.decode("ascii")


def cookies(reply: Reply) -> list[Any]:
    """What is to be kept, or forgotten."""
    found: list[Any] = []
    for name, value in reply.headers:
        if name == b"Set-Cookie":
            found += SimpleCookie(value.decode()).values()
    return found


class AdmitTests(SessionCase):
    """Tests for requests to an application."""

    def test_session(self) -> None:
        """A session's cookie says who acts."""
        found = self.admit(SESSION)
        assert isinstance(found, Acting)
        self.assertEqual(found.user, "alice")

    def test_certificate(self) -> None:
        """A client certificate says all by itself, and its answer asks nobody."""
        self.assertIsNone(self.admit(user="alice", certificate=b"der"))
        self.assertEqual(self.auth.asked, [])

    def test_many_of_nobody(self) -> None:
        """Who shows many cookies of no session is told to wait, and auth is not asked."""
        found = [
            self.reply((b"cookie", b"__Host-tlsgate-app=%059d" % number)).status
            for number in range(100)
        ]
        self.assertEqual((found[0], found[-1]), (401, 429))
        self.assertEqual(len(self.auth.asked), found.count(401))

    def test_both(self) -> None:
        """S31: one user's cookie never works with another's certificate."""
        self.assertIsNone(self.admit(SESSION, user="alice", certificate=b"der"))
        self.assertEqual(len(str(self.auth.asked[0][1]["certificate"])), 64)
        self.assertEqual(self.reply(SESSION, user="bob", certificate=b"der").status, 403)
        self.auth.sessions.clear()
        self.cluster.session_ended("")
        self.assertIsNone(self.admit(SESSION, user="bob", certificate=b"der"))
        self.auth.status = 503
        self.clock.advance(6)
        self.assertEqual(self.reply(SESSION, user="bob", certificate=b"der").status, 503)

    def test_foreign(self) -> None:
        """S29: pages of other sites change nothing, and open no WebSocket, with our cookie."""
        evil = (b"origin", b"https://evil.gate.example.com")
        own = (b"origin", f"https://{HOST}".encode())
        self.assertEqual(self.reply(SESSION, evil, method=b"POST").status, 403)
        self.assertEqual(self.reply(SESSION, evil, upgrade=True).status, 403)
        self.assertEqual(self.reply(SESSION, upgrade=True).status, 403)
        self.assertIsInstance(self.admit(SESSION, own, method=b"POST"), Acting)
        self.assertIsInstance(self.admit(SESSION, own, upgrade=True), Acting)

    def test_foreign_certificate(self) -> None:
        """S29: browsers show a client certificate to any page's request; programs say no origin."""
        evil = (b"origin", b"https://evil.gate.example.com")
        site = (b"sec-fetch-site", b"same-site")
        ann: dict[str, Any] = {"user": "alice", "certificate": b"der"}
        for more in ({"method": b"POST"}, {"upgrade": True}):
            self.assertEqual(self.reply(evil, **ann, **more).status, 403)
            self.assertEqual(self.reply(evil, SESSION, **ann, **more).status, 403)
            self.assertEqual(self.reply(site, **ann, **more).status, 403)
            self.assertIsNone(self.admit(**ann, **more))
            self.assertIsNone(self.admit((b"origin", f"https://{HOST}".encode()), **ann, **more))
        self.assertIsNone(self.admit(evil, **ann))

    def test_program(self) -> None:
        """Without a session a program hears in JSON where one logs in."""
        for fields in ({}, {"upgrade": True}, {"method": b"POST"}):
            said = self.reply((b"accept", b"*/*"), **fields)
            self.assertEqual((said.status, said.kind), (401, b"application/json"))
            error = json.loads(said.body)["error"]
            wanted = ("no_session", "log in first: tgsh apps login grafana")
            self.assertEqual((error["reason"], error["message"]), wanted)
            self.assertEqual(header(said, b"WWW-Authenticate"), 'tlsgate realm="grafana"')

    def test_over(self) -> None:
        """A session that is over is launched anew, and its cookie goes."""
        self.auth.sessions.clear()
        said = self.reply(SESSION, *NAVIGATED)
        self.assertEqual(said.status, 302)
        gone, made = cookies(said)
        self.assertEqual((gone.key, gone["max-age"]), ("__Host-tlsgate-app", "0"))
        self.assertIn("-launch-", made.key)

    def test_form_when_over(self) -> None:
        """A form that was sent too late cannot be brought back by a login, and says so."""
        self.auth.sessions.clear()
        said = self.reply(SESSION, *NAVIGATED, method=b"POST")
        self.assertEqual((said.status, said.kind), (401, b"text/html; charset=utf-8"))
        self.assertIn(b'href="/"', said.body)

    def test_trouble(self) -> None:
        """A lock and an auth service that is away are told, to people and to programs."""
        for status, wanted in ((403, 403), (503, 503)):
            self.auth.status = status
            page = self.reply(SESSION, *NAVIGATED)
            self.assertEqual((page.status, page.kind), (wanted, b"text/html; charset=utf-8"))
            self.assertIn("default-src 'none'", header(page, b"Content-Security-Policy"))
            self.assertEqual(self.reply(SESSION).kind, b"application/json")

    def test_own_paths(self) -> None:
        """No path of the gateway's own ever gets to an application."""
        for target in (b"/x-tlsgate-", b"/x-tlsgate-other?x", b"/x-tlsgate-auth/x"):
            self.assertEqual(self.reply(SESSION, target=target).status, 404)


class LaunchTests(SessionCase):
    """Tests for how a session begins."""

    def test_launch(self) -> None:
        """A browser goes to the console with a state, and its page stays in its own cookie."""
        said = self.reply(*NAVIGATED, target=b"/d/1?x=2")
        where = urlsplit(header(said, b"Location"))
        self.assertEqual(
            (said.status, where.scheme, where.netloc, where.path),
            (302, "https", CONSOLE, "/web/launch/grafana"),
        )
        self.assertEqual(list(parse_qs(where.query)), ["state"])
        (made,) = cookies(said)
        self.assertTrue(made["httponly"] and made["secure"])
        self.assertEqual((made["samesite"], made["path"]), ("Lax", "/"))
        self.assertEqual((made["max-age"], made["domain"]), ("600", ""))
        self.assertEqual(header(said, b"Cache-Control"), "no-store")
        self.assertEqual(header(said, b"Referrer-Policy"), "no-referrer")

    def test_many_pages(self) -> None:
        """Each page has its own cookie, and the oldest go."""
        names = [launch_name(state_of(str(number))) for number in range(LAUNCHES)]
        jar = (b"cookie", b"; ".join(name + b"=x" for name in names))
        gone, made = cookies(self.reply(*NAVIGATED, jar))
        self.assertEqual((gone.key, gone["max-age"]), (names[0].decode(), "0"))
        self.assertNotEqual(gone.key, made.key)

    def test_back(self) -> None:
        """With the code it comes back to exactly the page that it wanted, and has a session."""
        state, jar = self.launch()
        self.auth.codes[CODE] = (state, "grafana")
        target = f"/x-tlsgate-auth?code={CODE}&state={state}".encode()
        said = self.reply(*NAVIGATED, jar, target=target)
        self.assertEqual((said.status, header(said, b"Location")), (302, f"https://{HOST}/d/1?x=2"))
        spent, made = cookies(said)
        self.assertEqual((spent.key.encode(), spent["max-age"]), (launch_name(state), "0"))
        self.assertEqual((made.key, made.value), ("__Host-tlsgate-app", COOKIE))
        self.assertTrue(made["httponly"] and made["secure"])
        self.assertEqual((made["samesite"], made["path"], made["domain"]), ("Lax", "/", ""))
        ((verb, body, address),) = self.auth.asked
        self.assertEqual((verb, address), ("app-session", "192.0.2.7"))
        self.assertEqual(
            body,
            {
                "code": CODE,
                "app": "grafana",
                "state": state,
                "address": "192.0.2.7",
                "certificate": None,
            },
        )
        again = self.reply(*NAVIGATED, jar, target=target)
        self.assertEqual((again.status, len(cookies(again))), (403, 1))

    def test_login_csrf(self) -> None:
        """A link with somebody else's code does nothing in a browser that was not sent off."""
        state, jar = self.launch()
        _, other = self.launch()
        self.auth.codes[CODE] = (state, "grafana")
        target = f"/x-tlsgate-auth?code={CODE}&state={state}".encode()
        for headers, fields in (
            (NAVIGATED, {"target": target}),
            ((*NAVIGATED, other), {"target": target}),
            ((*NAVIGATED, jar), {"target": target, "method": b"POST"}),
            ((*NAVIGATED, jar), {"target": target + b"&next=//evil.example"}),
            ((*NAVIGATED, jar), {"target": b"/x-tlsgate-auth"}),
            ((HTML, (b"sec-fetch-mode", b"cors"), jar), {"target": target}),
        ):
            said = self.reply(*headers, **fields)
            self.assertEqual((said.status, cookies(said)), (403, []))
        self.assertEqual(self.auth.asked, [])

    def test_trouble(self) -> None:
        """What the auth service refuses gives no session."""
        for status, wanted in ((400, 403), (401, 403), (403, 403), (503, 503), (500, 503)):
            state, jar = self.launch()
            self.auth.status = status
            target = f"/x-tlsgate-auth?code={CODE}&state={state}".encode()
            said = self.reply(*NAVIGATED, jar, target=target)
            self.assertEqual(said.status, wanted)
            self.assertNotIn("__Host-tlsgate-app", [one.key for one in cookies(said)])

    def test_redirects(self) -> None:
        """S30: whatever path is asked for, the way back is to the application's own host."""
        for target in (
            *(b"//evil.example", b"/\\evil.example", b"/@evil.example", b"/%09/evil.example"),
            *(b"/\tevil", b"/x\r\nLocation: https://evil.example", b"https://evil.example/"),
            *(b"/..//evil.example", b"/?next=https://evil.example", b"*", b""),
        ):
            state, jar = self.launch(target)
            self.auth.codes[CODE] = (state, "grafana")
            back = f"/x-tlsgate-auth?code={CODE}&state={state}".encode()
            where = header(self.reply(*NAVIGATED, jar, target=back), b"Location")
            self.assertEqual(urlsplit(where)[:2], ("https", HOST), target)
            self.assertTrue(where.startswith(f"https://{HOST}/"), where)


class LogoutTests(SessionCase):
    """Tests for how a session ends."""

    def test_logout(self) -> None:
        """It ends here at once, at the auth service, and leads to the console."""
        for method in (b"GET", b"POST"):
            ended: list[int] = []
            found = self.admit(SESSION)
            assert isinstance(found, Acting)
            found.on_end(partial(ended.append, 1))
            said = self.reply(SESSION, *NAVIGATED, target=b"/x-tlsgate-logout", method=method)
            self.assertEqual(said.status, 302)
            self.assertEqual(header(said, b"Location"), f"https://{CONSOLE}/web/login?ended")
            (gone,) = cookies(said)
            self.assertEqual((gone.key, gone["max-age"]), ("__Host-tlsgate-app", "0"))
            self.assertEqual((ended, self.auth.sessions), ([1], {}))
            self.assertEqual({self.reply(SESSION).status for _ in range(100)}, {401})
            self.setUp()

    def test_nobody(self) -> None:
        """Who has no session, or one that is over, is told the same."""
        self.auth.sessions.clear()
        for headers in (NAVIGATED, (*NAVIGATED, SESSION)):
            said = self.reply(*headers, target=b"/x-tlsgate-logout")
            self.assertEqual(said.status, 302)

    def test_foreign(self) -> None:
        """S29: a page of another site logs nobody out; its link asks first."""
        site = (b"sec-fetch-site", b"cross-site")
        said = self.reply(*NAVIGATED, SESSION, site, target=b"/x-tlsgate-logout")
        self.assertEqual(said.status, 200)
        self.assertIn(b'method="post"', said.body)
        said = self.reply(*NAVIGATED, SESSION, site, target=b"/x-tlsgate-logout", method=b"POST")
        self.assertEqual(said.status, 403)
        self.assertEqual(self.reply(target=b"/x-tlsgate-logout", method=b"PUT").status, 405)
        self.assertEqual(self.auth.asked, [])

    def test_away(self) -> None:
        """A session that could not be ended is not said to be."""
        self.auth.status = 503
        said = self.reply(*NAVIGATED, SESSION, target=b"/x-tlsgate-logout")
        self.assertEqual((said.status, cookies(said)), (503, []))
