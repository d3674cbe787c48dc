"""Tests for `tgsh.localhttp`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.tgsh.localhttp import Names

OWN = b"127.0.0.1:8080"
NAMES = Names(frozenset({OWN, b"localhost:8080"}), OWN, b"wiki.gate.test:3080")


class CheckTests(SynchronousTestCase):
    """Which requests are passed on."""

    def status(
        self, *headers: tuple[bytes, bytes], method: bytes = b"GET", to: bytes = b"/"
    ) -> int:
        """The status of a refusal; 0: there is none."""
        found = NAMES.check(method, to, [(b"host", OWN), *headers])
        return 0 if found is None else found.status

    def test_host(self) -> None:
        """Only our own addresses are answered: a name that was bound to us is not (rebinding)."""
        for host, fine in (
            (OWN, True),
            (b"LocalHost:8080", True),
            (b"127.0.0.1", False),
            (b"evil.test:8080", False),
            (b"127.0.0.1:8080.evil.test", False),
            (b"", False),
        ):
            found = NAMES.check(b"GET", b"/", [(b"host", host)])
            self.assertEqual(found is None, fine, host)
        self.assertIsNotNone(NAMES.check(b"GET", b"/", []))
        self.assertIsNotNone(NAMES.check(b"GET", b"/", [(b"host", OWN), (b"host", OWN)]))

    def test_another_page(self) -> None:
        """A page of another origin sends nothing that changes, and opens no WebSocket."""
        evil = (b"origin", b"http://evil.test")
        site = (b"sec-fetch-site", b"cross-site")
        self.assertEqual(self.status(evil, method=b"POST"), 403)
        self.assertEqual(self.status((b"origin", b"null"), method=b"POST"), 403)
        self.assertEqual(self.status(evil, (b"upgrade", b"websocket")), 403)
        self.assertEqual(self.status(site), 403)
        self.assertEqual(self.status((b"sec-fetch-site", b"same-site")), 403)
        moves = (b"sec-fetch-mode", b"navigate")
        link = (moves, (b"sec-fetch-dest", b"document"))
        self.assertEqual(self.status(site, *link), 0)
        self.assertEqual(self.status(site, *link, method=b"POST"), 403)

    def test_read_by_another_page(self) -> None:
        """It reads nothing, in browsers of before Sec-Fetch-Site too, and frames nothing."""
        self.assertEqual(self.status((b"origin", b"http://evil.test")), 403)
        self.assertEqual(self.status((b"origin", b"http://evil.test"), method=b"OPTIONS"), 403)
        site, moves = (b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"navigate")
        for part in (b"iframe", b"frame", b"embed", b"object"):
            self.assertEqual(self.status(site, moves, (b"sec-fetch-dest", part)), 403)

    def test_our_own_page(self) -> None:
        """The application's own pages may."""
        for origin in (b"http://127.0.0.1:8080", b"http://localhost:8080"):
            self.assertEqual(self.status((b"origin", origin), method=b"POST"), 0)
        self.assertEqual(self.status((b"origin", b"https://127.0.0.1:8080"), method=b"POST"), 403)
        self.assertEqual(self.status((b"sec-fetch-site", b"same-origin"), method=b"POST"), 0)

    def test_target(self) -> None:
        """No proxy is asked for here."""
        self.assertEqual(self.status(to=b"*", method=b"OPTIONS"), 0)
        self.assertEqual(self.status(to=b"http://other.test/"), 400)
        self.assertEqual(self.status(to=b"other.test:443", method=b"CONNECT"), 400)


class RewriteTests(SynchronousTestCase):
    """What is ours becomes the application's, and the reverse."""

    def test_request(self) -> None:
        """Host, Origin and Referer; headers about the connection go."""
        made = NAMES.to_app(
            [
                (b"host", OWN),
                (b"origin", b"http://127.0.0.1:8080"),
                (b"referer", b"http://localhost:8080/a?b"),
                (b"connection", b"keep-alive"),
                (b"keep-alive", b"5"),
                (b"accept", b"*/*"),
            ]
        )
        self.assertEqual(
            made,
            [
                (b"host", b"wiki.gate.test:3080"),
                (b"origin", b"https://wiki.gate.test:3080"),
                (b"referer", b"https://wiki.gate.test:3080/a?b"),
                (b"accept", b"*/*"),
            ],
        )

    def test_others_stay(self) -> None:
        """What names somebody else is not touched; an upgrade keeps what says so."""
        kept = [
            (b"referer", b"https://other.test/"),
            (b"origin", b"http://evil.test"),
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
        ]
        self.assertEqual(NAMES.to_app(kept), kept)

    def test_answer(self) -> None:
        """Redirects and cookies lead to us; what browsers would keep for this machine goes."""
        made = NAMES.to_program(
            [
                (b"location", b"https://wiki.gate.test:3080/login?a=b"),
                (b"set-cookie", b"a=1; Domain=wiki.gate.test; Path=/; Secure; HttpOnly"),
                (b"set-cookie", b"__Host-b=2; Path=/; Secure"),
                (b"strict-transport-security", b"max-age=1"),
                (b"access-control-allow-origin", b"https://wiki.gate.test:3080"),
                (b"connection", b"close"),
            ],
            302,
        )
        self.assertEqual(
            made,
            [
                (b"location", b"http://127.0.0.1:8080/login?a=b"),
                (b"set-cookie", b"a=1; Path=/; HttpOnly"),
                (b"set-cookie", b"__Host-b=2; Path=/; Secure"),
                (b"access-control-allow-origin", b"http://127.0.0.1:8080"),
            ],
        )

    def test_answer_elsewhere(self) -> None:
        """A redirect to somebody else, or within the application, stays; 101 keeps its words."""
        kept = [(b"location", b"https://wiki.gate.test.evil/"), (b"location", b"/here")]
        self.assertEqual(NAMES.to_program(kept, 302), kept)
        upgraded = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        self.assertEqual(NAMES.to_program(upgraded, 101), upgraded)
