"""Tests for `tlsgate.core.appsession`: what one request's head says of a web session."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.appsession import (
    LAUNCHES,
    Return,
    is_elsewhere,
    is_foreign,
    is_state,
    launch_cookie,
    launch_name,
    launched,
    one_cookie,
    origin_of,
    ours,
    page_of,
    returned,
    stale_launches,
    state_of,
    strip,
    wants_page,
)

SECRET = "s" * 43
STATE = state_of(SECRET)
HOST = "grafana.gate.example.com"
OWN = b"https://grafana.gate.example.com"
COOKIE = b"__Host-tlsgate-app"
VALUE = b"v" * 59


class CookieTests(SynchronousTestCase):
    """Tests for `one_cookie`, `strip` and `ours`."""

    def test_one(self) -> None:
        """A cookie of ours counts where it is there once, and looks like one."""
        for headers, wanted in (
            ([(b"cookie", b"a=b; " + COOKIE + b"=" + VALUE)], VALUE.decode()),
            ([(b"cookie", COOKIE + b"=" + VALUE), (b"cookie", b"x=y")], VALUE.decode()),
            ([(b"cookie", COOKIE + b"=" + VALUE), (b"cookie", COOKIE + b"=" + VALUE)], None),
            ([(b"cookie", COOKIE + b"=short")], None),
            ([(b"cookie", COOKIE + b"=" + b"\xff" * 59)], None),
            ([(b"x", COOKIE + b"=" + VALUE)], None),
        ):
            self.assertEqual(one_cookie(headers, COOKIE), wanted, headers)

    def test_strip(self) -> None:
        """S21: none of ours gets to a target, however it is written; all others do."""
        headers = [
            (b"host", b"x"),
            (b"cookie", b"a=1;" + COOKIE + b"=" + VALUE + b"; b=2"),
            (b"cookie", b"__HOST-TLSGATE-x=1; ;=__Host-tlsgate=1"),
            (b"accept", b"*/*"),
        ]
        wanted = [(b"host", b"x"), (b"accept", b"*/*"), (b"cookie", b"a=1; b=2")]
        self.assertEqual(strip(headers), wanted)
        self.assertEqual(strip([(b"cookie", COOKIE + b"=" + VALUE)]), [])

    def test_ours(self) -> None:
        """A target sets no cookie that could be one of ours."""
        for cookie in (b"__Host-tlsgate-app=x", b" \t__host-TLSGATE=x", b"=__Host-tlsgate-app=x"):
            self.assertTrue(ours(cookie), cookie)
        for cookie in (b"session=x", b"x=__Host-tlsgate-app=x", b"__Host-other=1", b""):
            self.assertFalse(ours(cookie), cookie)


class LaunchTests(SynchronousTestCase):
    """Tests for the way to the console and back."""

    def test_back(self) -> None:
        """The browser that was sent off comes back to exactly the page that it wanted."""
        page = b"/d/1?from=now-6h&to=now%2F"
        name, value = launch_cookie(SECRET, page)
        self.assertEqual(name, launch_name(STATE))
        self.assertEqual(launched([(b"cookie", name + b"=" + value)], STATE), page)
        self.assertTrue(is_state(STATE))
        self.assertNotIn(SECRET, STATE)

    def test_another_browser(self) -> None:
        """Whoever has no cookie of that state, or two, was not sent off: login CSRF."""
        name, value = launch_cookie(SECRET, b"/")
        other = launch_cookie("o" * 43, b"/")[1]
        for cookies in (
            b"",
            name + b"=" + other,
            name + b"=" + value + b"; " + name + b"=" + value,
            name + b"=",
            name + b"=\xff.Lw",
        ):
            self.assertIsNone(launched([(b"cookie", cookies)], STATE), cookies)

    def test_odd_page(self) -> None:
        """S30: a page that is none of this origin's is the first one."""
        name = launch_name(STATE)
        for page in (b"#", b"Lw=", b"aHR0cHM6Ly9ldmls", b"A"):
            cookie = name + b"=" + SECRET.encode() + b"." + page
            self.assertEqual(launched([(b"cookie", cookie)], STATE), b"/", page)

    def test_page(self) -> None:
        """Only a path in origin form is kept, and none of the gateway's own."""
        for page in (b"/", b"/a?b=c", b"//evil.example/x", b"/" + b"a" * 2047):
            self.assertEqual(page_of(page), page)
        for page in (b"", b"x", b"*", b"/a b", b"/\r\nx: y", b"/\xff", b"/" + b"a" * 2048):
            self.assertEqual(page_of(page), b"/", page)
        self.assertEqual(page_of(b"/x-tlsgate-auth?code=1"), b"/")

    def test_stale(self) -> None:
        """A browser keeps a few of these cookies, not ever more."""
        names = [launch_name(state_of(str(number))) for number in range(LAUNCHES + 1)]
        cookie = b"; ".join(name + b"=x" for name in names)
        self.assertEqual(stale_launches([(b"cookie", cookie)]), names[:2])
        self.assertEqual(stale_launches([(b"cookie", names[0] + b"=x; a=b")]), [])

    def test_returned(self) -> None:
        """The address to come back to has a code and the state, each once, and nothing else."""
        code = "c" * 43
        good = f"/x-tlsgate-auth?code={code}&state={STATE}".encode()
        self.assertEqual(returned(good), Return(code, STATE))
        self.assertNotIn(code, repr(returned(good)))
        for bad in (
            b"/x-tlsgate-auth",
            b"/x-tlsgate-other?code=x&state=y",
            good + b"&next=https://evil.example",
            f"/x-tlsgate-auth?code={code}&code={code}".encode(),
            f"/x-tlsgate-auth?code={code}&state=short".encode(),
            f"/x-tlsgate-auth?code=%00&state={STATE}".encode(),
            b"/x-tlsgate-auth?code=\xff",
        ):
            self.assertIsNone(returned(bad), bad)


class ForeignTests(SynchronousTestCase):
    """S29: tests for `is_foreign`, `is_elsewhere` and `wants_page`."""

    def test_changes(self) -> None:
        """What may change something is taken from pages of the very same origin, or none."""
        for site, origin, foreign in (
            (None, None, False),
            (None, OWN, False),
            (None, b"https://evil.example", True),
            (None, b"null", True),
            (b"same-origin", OWN, False),
            (b"same-origin", b"null", False),
            (b"none", None, False),
            (b"same-site", b"https://other.gate.example.com", True),
            (b"cross-site", None, True),
            (b"same-origin", b"https://evil.example", True),
        ):
            headers = [
                (name, value)
                for name, value in ((b"sec-fetch-site", site), (b"origin", origin))
                if value is not None
            ]
            found = is_foreign(b"POST", headers, HOST, upgrade=False)
            self.assertEqual(found, foreign, headers)
            self.assertFalse(is_foreign(b"GET", headers, HOST, upgrade=False))
        twice = [(b"origin", OWN), (b"origin", OWN)]
        self.assertTrue(is_foreign(b"PUT", twice, HOST, upgrade=False))

    def test_upgrade(self) -> None:
        """A WebSocket is opened by pages of the same origin, which say so, and by no other."""
        for origin, foreign in ((OWN, False), (b"https://evil.example", True), (b"null", True)):
            found = is_foreign(b"GET", [(b"origin", origin)], HOST, upgrade=True)
            self.assertEqual(found, foreign)
            found = is_foreign(b"GET", [(b"origin", origin)], HOST, upgrade=True, certified=True)
            self.assertEqual(found, foreign)
        self.assertTrue(is_foreign(b"GET", [], HOST, upgrade=True))
        self.assertFalse(is_foreign(b"GET", [], HOST, upgrade=True, certified=True))
        site = [(b"sec-fetch-site", b"cross-site")]
        self.assertTrue(is_foreign(b"GET", site, HOST, upgrade=True, certified=True))

    def test_origin(self) -> None:
        """An origin has a port where it is not the usual one."""
        self.assertEqual(origin_of("A.example:443"), b"https://a.example")
        self.assertEqual(origin_of("a.example:3080"), b"https://a.example:3080")

    def test_elsewhere(self) -> None:
        """Neighbours are elsewhere too."""
        for site, found in ((b"none", False), (b"same-origin", False), (b"same-site", True)):
            self.assertEqual(is_elsewhere([(b"sec-fetch-site", site)]), found)
        self.assertFalse(is_elsewhere([]))

    def test_page(self) -> None:
        """A browser's page says so; programs, pictures, frames and fetches are none."""
        html = (b"accept", b"text/html,application/xhtml+xml;q=0.9")
        self.assertTrue(wants_page([html]))
        self.assertTrue(
            wants_page([html, (b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document")])
        )
        self.assertFalse(wants_page([(b"accept", b"*/*")]))
        self.assertFalse(wants_page([html, (b"sec-fetch-mode", b"cors")]))
        self.assertFalse(wants_page([html, (b"sec-fetch-dest", b"iframe")]))


class FuzzTests(SynchronousTestCase):
    """Whatever comes, an answer comes."""

    @given(st.binary(max_size=200))
    def test_any(self, data: bytes) -> None:
        """No bytes raise; nothing that is stripped has one of our names left."""
        headers = [(b"cookie", data), (b"origin", data), (b"accept", data)]
        one_cookie(headers, COOKIE)
        returned(data)
        launched([(b"cookie", launch_name(STATE) + b"=" + data)], STATE)
        is_foreign(b"POST", headers, HOST, upgrade=False)
        stale_launches(headers)
        wants_page(headers)
        self.assertTrue(page_of(data).startswith(b"/"))
        for name, value in strip(headers):
            if name == b"cookie":
                self.assertFalse(any(ours(piece) for piece in value.split(b";")))
