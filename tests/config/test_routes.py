"""Tests for `tlsgate.config.routes`, through `read_text`."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.read import read_text
from tlsgate.config.settings import Settings
from tlsgate.core.access import Kind, Rule
from tlsgate.core.routing import CertRule, Route, SendProxy
from tlsgate.errors import BadSettings, Place

ANYONE = "client_cert: none, unsafe_anyone: yes"


class RouteTests(SynchronousTestCase):
    """Tests for routes that are taken as they stand."""

    maxDiff = None

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("ca.pem", "other.pem"):
            (self.folder / name).touch()

    def read(self, *routes: str, more: str = "") -> Settings:
        """Settings with these routes."""
        lines = "".join(f"    - {{{route}}}\n" for route in routes)
        text = f"version: v2\nproxy_service:\n{more}  routes:\n{lines}"
        return read_text(text, str(self.folder / "f.yaml"))

    def test_a_whole_route(self) -> None:
        """Every key reaches the route; names are normalised, files made absolute."""
        route = (
            "name: echo, alpn: [demo-echo, h2], sni: [Echo.Example.com., '*.DB.example.com'], "
            "listener: web, target: '127.0.0.1:9003', client_cert: required, "
            "client_ca_files: [ca.pem, other.pem], protocol: raw, send_proxy: V2, "
            "idle_seconds: 60, allow: [{cn: alice}, {san: 'spiffe://a/b'}, {dns: '*.OPS.a'}]"
        )
        want = Route(
            name="echo",
            protocol="raw",
            listener="web",
            server_names=("echo.example.com", "*.db.example.com"),
            alpn=(b"demo-echo", b"h2"),
            client_cert=CertRule.REQUIRED,
            client_ca_files=(str(self.folder / "ca.pem"), str(self.folder / "other.pem")),
            allow=(
                Rule(Kind.CN, "alice"),
                Rule(Kind.SAN, "spiffe://a/b"),
                Rule(Kind.DNS, "*.ops.a"),
            ),
            target="tcp:127.0.0.1:9003",
            send_proxy=SendProxy.V2,
            idle_seconds=60.0,
        )
        self.assertEqual(self.read(route).routes, (want,))

    def test_closed_by_default(self) -> None:
        """A route that says nothing of certificates demands one, by the service's CAs."""
        more = "  client_ca_files: ca.pem\n"
        (route,) = self.read("name: a, alpn: a, target: 'a:1', allow: [{cn: x}]", more=more).routes
        self.assertEqual(
            (route.client_cert, route.client_ca_files, route.unsafe_anyone),
            (CertRule.REQUIRED, (str(self.folder / "ca.pem"),), False),
        )

    def test_passthrough(self) -> None:
        """Pass-through asks for no certificate and has no authorities."""
        more = "  client_ca_files: ca.pem\n"
        (route,) = self.read("name: a, sni: a.b, target: 'a:1', passthrough: yes", more=more).routes
        self.assertEqual(
            (route.client_cert, route.client_ca_files, route.passthrough),
            (CertRule.NONE, (), True),
        )

    def test_own_tokens(self) -> None:
        """Postgres always knows libpq's token; ssh has one where nothing else is said."""
        routes = self.read(
            f"name: a, protocol: postgres, sni: a.b, target: 'a:1', {ANYONE}",
            f"name: b, protocol: postgres, alpn: [x], sni: b.b, target: 'a:1', {ANYONE}",
            f"name: c, protocol: ssh, target: 'a:1', {ANYONE}",
            f"name: d, protocol: ssh, sni: d.b, target: 'a:1', {ANYONE}",
        ).routes
        self.assertEqual(
            [(route.alpn, route.plain) for route in routes],
            [((b"postgresql",), False), ((b"x",), False), ((b"ssh",), True), ((), False)],
        )

    def test_a_plain_opening_never_lowers_a_check(self) -> None:
        """An ssh route that demands a certificate is not taken by its banner."""
        more = "  client_ca_files: ca.pem\n"
        (route,) = self.read(
            "name: a, protocol: ssh, target: 'a:1', allow: [{cn: x}]", more=more
        ).routes
        self.assertFalse(route.plain)
        self.assertRaises(
            BadSettings,
            self.read,
            "name: a, protocol: ssh, target: 'a:1', allow: [{cn: x}], plain: yes",
            more=more,
        )

    def test_tls_targets(self) -> None:
        """Authorities of a TLS target are found beside the file, a folder of them too."""
        (self.folder / "roots").mkdir()
        routes = self.read(
            f"name: a, alpn: a, target: 'tls:db:1:trustRoots=ca.pem', {ANYONE}",
            f"name: b, alpn: b, target: 'tls:db:1:trustRoots=roots', {ANYONE}",
        ).routes
        self.assertEqual(
            [route.target for route in routes],
            [f"tls:db:1:trustRoots={self.folder}/{name}" for name in ("ca.pem", "roots")],
        )

    def test_routes_that_do_not_meet(self) -> None:
        """Other tokens, names or listeners, and a last resort behind them, stand together."""
        self.read(
            f"name: a, alpn: a, target: 'a:1', {ANYONE}",
            f"name: b, alpn: b, target: 'a:1', {ANYONE}",
            f"name: c, alpn: a, sni: c.d, target: 'a:1', {ANYONE}",
            f"name: d, sni: c.d, target: 'a:1', {ANYONE}",
            f"name: e, sni: '*.d', alpn: a, target: 'a:1', {ANYONE}",
            "name: f, sni: '*.d', target: 'a:1', passthrough: yes",
            f"name: g, alpn: [x], listener: web, target: 'a:1', {ANYONE}",
            f"name: h, alpn: [x], listener: own, target: 'a:1', {ANYONE}",
            f"name: i, protocol: postgres, target: 'a:1', {ANYONE}",
            more="  listeners: {own: 'tcp:7000'}\n",
        )

    def test_places_for_later_checks(self) -> None:
        """A fault that is found after reading can still be told with its place."""
        settings = self.read(
            f"name: a, alpn: a, target: 'a:1', {ANYONE}", more="  protocols: {own: {x: 1}}\n"
        )
        file = str(self.folder / "f.yaml")
        self.assertEqual(
            {
                path: settings.place(path)
                for path in (
                    "proxy_service.routes.a",
                    "proxy_service.routes.a.target",
                    "proxy_service.routes.a.send_proxy",
                    "proxy_service.protocols.own",
                    "proxy_service.protocols.gone",
                )
            },
            {
                "proxy_service.routes.a": Place(file, 5, 7),
                "proxy_service.routes.a.target": Place(file, 5, 34),
                "proxy_service.routes.a.send_proxy": Place(file, 5, 7),
                "proxy_service.protocols.own": Place(file, 3, 15),
                "proxy_service.protocols.gone": Place(file, 1, 1),
            },
        )
        self.assertEqual(settings.protocols, {"own": {"x": 1}})

    def test_many_routes(self) -> None:
        """5,000 routes are compared with each other in time that grows with their number.

        Some 1.5 s of CPU; each with each would be a minute. The margin is for tracing.
        """
        start = time.process_time()
        settings = self.read(
            *(f"name: r{n}, alpn: [t{n}], target: 'a:1', {ANYONE}" for n in range(2500)),
            *(f"name: s{n}, sni: s{n}.example, target: 'a:1', {ANYONE}" for n in range(2500)),
        )
        self.assertEqual(len(settings.routes), 5000)
        self.assertLess(time.process_time() - start, 15)
