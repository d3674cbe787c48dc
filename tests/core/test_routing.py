"""Tests for `tlsgate.core.routing`."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.routing import Ask, CertRule, Choice, Route, RouteTable
from tlsgate.errors import NoRoute

WEB = Route(name="web", protocol="web", alpn=(b"http/1.1", b"h2"), catch_all=True)
ECHO = Route(
    name="echo", protocol="raw", alpn=(b"demo-echo",), client_cert=CertRule.REQUIRED, target="a"
)
VAULT = Route(
    name="vault", protocol="raw", server_names=("vault.example.com",), passthrough=True, target="b"
)
REDIS = Route(
    name="redis",
    protocol="raw",
    server_names=("cache.example.com",),
    client_cert=CertRule.REQUIRED,
    target="c",
)
APPS = Route(
    name="apps",
    protocol="raw",
    server_names=("*.apps.example.com",),
    alpn=(b"h2", b"http/1.1"),
    client_cert=CertRule.REQUIRED,
    target="d",
)
ADMIN = Route(
    name="admin",
    protocol="raw",
    server_names=("admin.apps.example.com",),
    alpn=(b"x-admin",),
    client_cert=CertRule.REQUIRED,
    target="e",
)
POSTGRES = Route(
    name="pg",
    protocol="postgres",
    alpn=(b"postgresql",),
    client_cert=CertRule.REQUIRED,
    target="f",
)
OPEN_SSH = Route(
    name="ssh", protocol="ssh", alpn=(b"ssh",), unsafe_anyone=True, plain=True, target="g"
)
SIDE = Route(
    name="side",
    protocol="raw",
    listener="side",
    alpn=(b"demo-echo",),
    client_cert=CertRule.REQUIRED,
    target="h",
)

TABLE = RouteTable(
    routes=(SIDE, ECHO, VAULT, REDIS, APPS, ADMIN, POSTGRES, OPEN_SSH, WEB),
    public_names=frozenset({"gw.example.com"}),
)
STRICT = RouteTable(routes=TABLE.routes, public_names=TABLE.public_names, strict_sni=True)


def ask(name: str | None = None, *alpn: bytes, listener: str = "web", **more: object) -> Ask:
    """What a TLS client on the web port asks for, unless said otherwise."""
    return Ask(listener=listener, server_name=name, alpn=alpn, **more)  # type: ignore[arg-type]


#: Asks, and the route and token that each one gets; None: refused.
CASES: list[tuple[Ask, Choice | None]] = [
    # The console: any name that nobody claims, with HTTP or with nothing.
    (ask(), Choice(WEB, None)),
    (ask("gw.example.com"), Choice(WEB, None)),
    (ask("unknown.example"), Choice(WEB, None)),
    (ask("gw.example.com", b"h2"), Choice(WEB, b"h2")),
    (ask("gw.example.com", b"h2", b"http/1.1"), Choice(WEB, b"http/1.1")),
    (ask("gw.example.com", b"x-unknown"), None),
    (ask("gw.example.com", b"x-unknown", b"h2"), Choice(WEB, b"h2")),
    # A token leads to its route under any name that is not claimed for something else.
    (ask("gw.example.com", b"demo-echo"), Choice(ECHO, b"demo-echo")),
    (ask(None, b"h2", b"demo-echo"), Choice(ECHO, b"demo-echo")),
    (ask("gw.example.com", b"Demo-Echo"), None),
    (ask("gw.example.com", b"demo-echo\0"), None),
    # The same token on another listener leads to that listener's own route first.
    (ask(None, b"demo-echo", listener="side"), Choice(SIDE, b"demo-echo")),
    # Pass-through takes any offer, and confirms none.
    (ask("vault.example.com"), Choice(VAULT, None)),
    (ask("vault.example.com", b"h2", b"x-unknown"), Choice(VAULT, None)),
    (ask("www.vault.example.com"), Choice(WEB, None)),
    # A route without tokens is for clients that offer none.
    (ask("cache.example.com"), Choice(REDIS, None)),
    (ask("cache.example.com", b"h2"), None),
    (ask("cache.example.com", b"http/1.1"), None),
    # Wildcards stand for one label; a claimed name never falls to the console.
    (ask("a.apps.example.com", b"http/1.1", b"h2"), Choice(APPS, b"h2")),
    (ask("a.apps.example.com"), Choice(APPS, None)),
    (ask("a.apps.example.com", b"x-unknown"), None),
    (ask("a.b.apps.example.com", b"h2"), Choice(WEB, b"h2")),
    (ask("apps.example.com", b"h2"), Choice(WEB, b"h2")),
    (ask("admin.apps.example.com", b"x-admin", b"h2"), Choice(ADMIN, b"x-admin")),
    (ask("admin.apps.example.com", b"h2"), Choice(APPS, b"h2")),
    # A protocol's opening leads to routes of that protocol only.
    (ask(opening="postgres"), Choice(POSTGRES, None)),
    (ask("db.example.com", b"postgresql", opening="postgres"), Choice(POSTGRES, b"postgresql")),
    (ask(None, b"h2", opening="postgres"), None),
    (ask(None, b"postgresql"), Choice(POSTGRES, b"postgresql")),
    (ask(opening="mysql"), None),
    # In the clear, only what is open to it.
    (ask(opening="ssh", encrypted=False), Choice(OPEN_SSH, None)),
    (ask(opening="postgres", encrypted=False), None),
    (ask(opening="web", encrypted=False), None),
]


class ChooseTests(SynchronousTestCase):
    """Tests for `RouteTable.choose`."""

    def test_cases(self) -> None:
        """Each ask gets the route and the token of the hand-written table, or none."""
        for one, want in CASES:
            with self.subTest(ask=one):
                if want is None:
                    error = self.assertRaises(NoRoute, TABLE.choose, one)
                    self.assertEqual(
                        (error.listener, error.server_name, error.alpn, error.name_unknown),
                        (one.listener, one.server_name, one.alpn, False),
                    )
                else:
                    self.assertEqual(TABLE.choose(one), want)

    def test_again(self) -> None:
        """An answer does not depend on what was asked before."""
        for one, want in (*CASES, *reversed(CASES)):
            if want is not None:
                self.assertEqual(TABLE.choose(one), want)

    def test_strict_sni(self) -> None:
        """Under strict_sni an unknown name is refused as such; none at all is fine."""
        for one, want in CASES:
            name = one.server_name
            known = name is None or name == "gw.example.com" or TABLE.claims(name) is not None
            with self.subTest(ask=one):
                if not known:
                    error = self.assertRaises(NoRoute, STRICT.choose, one)
                    self.assertTrue(error.name_unknown)
                elif want is None:
                    error = self.assertRaises(NoRoute, STRICT.choose, one)
                    self.assertFalse(error.name_unknown)
                else:
                    self.assertEqual(STRICT.choose(one), want)

    def test_order_of_routes_decides(self) -> None:
        """Of two routes that take the same connection, the first in the table wins."""
        first = Route(name="first", protocol="raw", alpn=(b"x", b"y"), target="a")
        second = Route(name="second", protocol="raw", alpn=(b"y",), target="b")
        wanted = ask(None, b"y")
        self.assertEqual(RouteTable(routes=(first, second)).choose(wanted), Choice(first, b"y"))
        self.assertEqual(RouteTable(routes=(second, first)).choose(wanted), Choice(second, b"y"))

    def test_listener_of_its_own(self) -> None:
        """A route that is narrowed to a listener is met on no other."""
        table = RouteTable(routes=(SIDE,))
        self.assertEqual(table.choose(ask(None, b"demo-echo", listener="side")).route, SIDE)
        self.assertRaises(NoRoute, table.choose, ask(None, b"demo-echo"))

    def test_passthrough_with_tokens(self) -> None:
        """Pass-through may be narrowed to tokens, and still confirms none of them."""
        route = Route(
            name="p",
            protocol="raw",
            server_names=("v.example",),
            alpn=(b"x",),
            passthrough=True,
            target="a",
        )
        table = RouteTable(routes=(route,))
        self.assertEqual(table.choose(ask("v.example", b"x")), Choice(route, None))
        self.assertRaises(NoRoute, table.choose, ask("v.example", b"y"))
        self.assertRaises(NoRoute, table.choose, ask("v.example"))


class OwnLoginTests(SynchronousTestCase):
    """Routes of protocols that find out by themselves who the client is."""

    def test_never_under_tls(self) -> None:
        """Such a route is taken by its opening alone, and after a static one."""
        static = Route(name="static", protocol="ssh", plain=True, unsafe_anyone=True)
        jump = Route(name="jump", protocol="ssh", plain=True, unsafe_anyone=True, own_login=True)
        plain = Ask(listener="web", opening="ssh", encrypted=False)
        secure = Ask(listener="web", opening="tls")
        self.assertEqual(RouteTable((jump,)).choose(plain), Choice(jump, None))
        self.assertRaises(NoRoute, RouteTable((jump,)).choose, secure)
        self.assertEqual(RouteTable((static, jump)).choose(plain), Choice(static, None))


class ClaimsTests(SynchronousTestCase):
    """Tests for `RouteTable.claims`."""

    def test_classes(self) -> None:
        """Names are of one class when one route's name or wildcard claims them."""
        wanted = {
            None: None,
            "gw.example.com": None,
            "unknown.example": None,
            "vault.example.com": "vault.example.com",
            "a.apps.example.com": "*.apps.example.com",
            "b.apps.example.com": "*.apps.example.com",
            "admin.apps.example.com": "admin.apps.example.com",
            "apps.example.com": None,
            "a.b.apps.example.com": None,
            "localhost": None,
        }
        self.assertEqual({name: TABLE.claims(name) for name in wanted}, wanted)

    def test_console_claims_nothing(self) -> None:
        """The catch-all's own names stay the console's class."""
        web = Route(name="web", protocol="web", server_names=("gw.example.com",), catch_all=True)
        table = RouteTable(routes=(web,))
        self.assertIsNone(table.claims("gw.example.com"))
        self.assertEqual(table.choose(ask("gw.example.com")), Choice(web, None))


_NAMES = ["a.x", "b.x", "c.a.x", "x", "y"]
_PATTERNS = [*_NAMES, "*.x", "*.a.x"]
_TOKENS = [b"h2", b"http/1.1", b"p", b"q"]


@st.composite
def _routes(draw: st.DrawFn) -> tuple[Route, ...]:
    """Tables of a few routes that overlap much, the console last or missing."""
    routes = []
    for number in range(draw(st.integers(0, 5))):
        routes.append(
            Route(
                name=f"r{number}",
                protocol=draw(st.sampled_from(["raw", "postgres"])),
                listener=draw(st.sampled_from([None, "web", "side"])),
                server_names=tuple(
                    draw(st.lists(st.sampled_from(_PATTERNS), max_size=2, unique=True))
                ),
                alpn=tuple(draw(st.lists(st.sampled_from(_TOKENS), max_size=3, unique=True))),
                client_cert=draw(st.sampled_from(CertRule)),
                passthrough=draw(st.booleans()),
                plain=draw(st.booleans()),
            )
        )
    return (*routes, *draw(st.sampled_from([(), (WEB,)])))


_ASKS = st.builds(
    Ask,
    listener=st.sampled_from(["web", "side"]),
    opening=st.sampled_from(["tls", "postgres"]),
    encrypted=st.booleans(),
    server_name=st.sampled_from([None, *_NAMES]),
    alpn=st.lists(st.sampled_from(_TOKENS), max_size=4).map(tuple),
)


def _fits(pattern: str, name: str) -> bool:
    if pattern.startswith("*."):
        return name.count(".") == pattern.count(".") and name.endswith(pattern[1:])
    return pattern == name


class PropertyTests(SynchronousTestCase):
    """What holds for every table and every ask."""

    def test_choice_fits(self) -> None:
        """A chosen route is on the listener, for the name, of the opening, and takes the offer."""

        @given(_routes(), _ASKS)
        def check(routes: tuple[Route, ...], one: Ask) -> None:
            try:
                route, token = _pair(RouteTable(routes=routes).choose(one))
            except NoRoute:
                return
            self.assertIn(route.listener, (None, one.listener))
            self.assertIn(one.opening, ("tls", route.protocol))
            self.assertTrue(one.encrypted or route.plain)
            if route.server_names:
                assert one.server_name is not None
                self.assertTrue(any(_fits(p, one.server_name) for p in route.server_names))
            if token is not None:
                self.assertIn(token, one.alpn)
                self.assertIn(token, route.alpn)
            elif one.encrypted and one.alpn:
                self.assertTrue(route.passthrough)

        check()

    def test_s02_order_of_offers_is_nothing(self) -> None:
        """S02: every permutation of the offers leads to the same route and token."""

        @given(_routes(), _ASKS)
        def check(routes: tuple[Route, ...], one: Ask) -> None:
            table = RouteTable(routes=routes)
            outcomes = set()
            for offers in permutations(one.alpn):
                try:
                    choice = table.choose(ask_again(one, offers))
                    outcomes.add((choice.route.name, choice.token))
                except NoRoute:
                    outcomes.add(("", None))
            self.assertEqual(len(outcomes), 1)

        check()

    def test_s02_more_offers_never_reach_the_console(self) -> None:
        """S02: no token turns a claimed name into an unclaimed one."""

        @given(_routes(), _ASKS)
        def check(routes: tuple[Route, ...], one: Ask) -> None:
            claimed = any(
                _fits(pattern, one.server_name)
                for route in routes
                for pattern in route.server_names
                if one.server_name is not None
            )
            try:
                route, _ = _pair(RouteTable(routes=routes).choose(one))
            except NoRoute:
                return
            self.assertFalse(claimed and route.catch_all)

        check()

    def test_exact_before_wildcard_before_any(self) -> None:
        """No route for a vaguer name is taken while one for a closer name would do."""

        def vagueness(route: Route, name: str | None) -> int:
            if not route.server_names:
                return 2
            return 0 if name in route.server_names else 1

        @given(_routes(), _ASKS)
        def check(routes: tuple[Route, ...], one: Ask) -> None:
            try:
                chosen, _ = _pair(RouteTable(routes=routes).choose(one))
            except NoRoute:
                chosen = None
            takers = []
            for route in routes:
                try:
                    RouteTable(routes=(route,)).choose(one)
                except NoRoute:
                    continue
                takers.append((vagueness(route, one.server_name), route.catch_all, route.name))
            if chosen is None:
                # Alone the console takes claimed names too: there nobody claims them.
                self.assertTrue(all(catch_all for _, catch_all, _ in takers))
            else:
                closest = min(number for number, _, _ in takers)
                names = [name for number, _, name in takers if number == closest]
                self.assertEqual(chosen.name, names[0])

        check()


class KeptForTests(SynchronousTestCase):
    """A listener that is one protocol's alone."""

    def test_nothing_else_is_served(self) -> None:
        """What other protocols serve on every port is not there, under whatever name."""
        table = RouteTable(
            TABLE.routes, TABLE.public_names, strict_sni=True, kept_for={"own": frozenset({"ssh"})}
        )
        own = ask("unknown.example", b"ssh", listener="own")
        self.assertEqual(table.choose(own), Choice(OPEN_SSH, b"ssh"))
        for other in (ask(None, b"postgresql", listener="own"), ask(None, b"h2", listener="own")):
            self.assertRaises(NoRoute, table.choose, other)
        self.assertEqual(table.choose(ask(None, b"postgresql")), Choice(POSTGRES, b"postgresql"))


def ask_again(one: Ask, alpn: tuple[bytes, ...]) -> Ask:
    """The same ask with other offers."""
    return Ask(
        listener=one.listener,
        opening=one.opening,
        encrypted=one.encrypted,
        server_name=one.server_name,
        alpn=alpn,
    )


def _pair(choice: Choice) -> tuple[Route, bytes | None]:
    return choice.route, choice.token
