"""Tests for `service.explain`: what is told of a hypothetical connection."""

from __future__ import annotations

from functools import cache
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certs import pki
from tlsgate import registry
from tlsgate.config.read import read_text
from tlsgate.config.settings import Closing
from tlsgate.core.routing import Ask, Route, RouteTable
from tlsgate.errors import BadAsk, NoRoute
from tlsgate.net.gate import Gate
from tlsgate.service.explain import explain, rank, why_not

CONFIG = """
version: v2
teleport: {{data_dir: {folder}}}
proxy_service:
  web_listen_addr: "127.0.0.1:3080"
  public_addr: gw.test:443
  strict_sni: {strict}
  https_keypairs: [{{cert_file: {server}, key_file: {server_key}}}]
  routes:
    - name: echo
      alpn: [demo-echo]
      target: tcp:127.0.0.1:9003
      client_cert: required
      client_ca_files: [{ca}]
      allow: [{{cn: alice}}]
      send_proxy: v2
    - name: open
      sni: [open.gw.test]
      target: tcp:127.0.0.1:9004
      client_cert: none
      unsafe_anyone: yes
    - name: vault
      sni: [vault.example.com]
      passthrough: true
      target: tcp:10.0.0.5:8200
"""


@cache
def gate(strict: str = "no", legacy: str = "no") -> Gate:
    certs = pki()
    text = CONFIG.format(
        folder=certs.folder,
        strict=strict,
        server=certs.file("server.pem"),
        server_key=certs.file("server-key.pem"),
        ca=certs.file("ca.pem"),
    )
    if legacy == "yes":
        ports = "  postgres_listen_addr: 127.0.0.1:5432\n  mysql_listen_addr: 127.0.0.1:3036\n"
        text = text.replace("  routes:\n", ports + "  routes:\n")
    return Gate.build(read_text(text), registry.load(None).protocols)


class ExplainTests(SynchronousTestCase):
    """Tests for `explain`."""

    def told(
        self, sni: str | None = None, alpn: tuple[str, ...] = (), cert: str | None = None
    ) -> dict[str, Any]:
        pem = None if cert is None else getattr(pki(), cert).cert_pem.decode()
        return explain(gate(), "web", sni, alpn, pem)

    def verdict(self, told: dict[str, Any]) -> tuple[Any, ...]:
        route = told["route"]
        return told["outcome"], told["reason"], told["alert"], route and route["name"]

    def test_closed(self) -> None:
        """A port that a reload has closed tells everybody the same, whatever routes there are."""
        made = gate(legacy="yes")
        gone = tuple(
            Closing(listener=one, since=0.0, until=1.0)
            for one in made.settings.listeners
            if one.name == "mysql"
        )
        listeners = tuple(one for one in made.settings.listeners if one.name != "mysql")
        after = evolve(made.settings, listeners=listeners, closing=gone)
        told = explain(Gate.build(after, made.protocols), "mysql", None, ["demo-echo"], None)
        self.assertEqual((told["outcome"], told["reason"]), ("refused", "listener_closed"))
        self.assertIn("gw.test:443", told["message"])

    def test_allowed(self) -> None:
        """A certificate that a rule names gets in, and is told where to."""
        told = self.told("gw.test", ("h2", "demo-echo"), "alice")
        self.assertEqual(self.verdict(told), ("allowed", None, None, "echo"))
        self.assertEqual(told["message"], "relayed to tcp:127.0.0.1:9003")
        self.assertEqual(told["token"], "demo-echo")
        self.assertEqual(told["identity"]["name"], "alice")
        self.assertEqual(
            told["policy"],
            {
                "client_cert": "required",
                "client_ca_files": [str(pki().file("ca.pem"))],
                "allow": ["cn: alice"],
                "unsafe_anyone": False,
            },
        )
        self.assertEqual(told["certificate"]["names"], ["gw.test", "*.gw.test", "localhost"])
        self.assertEqual(
            [step["step"] for step in told["steps"]],
            [
                *("accept", "arrival", "sniff", "hello", "name", "choose", "certificate"),
                "policy",
                *("verify", "authorise", "relay"),
            ],
        )
        self.assertIn("after a PROXY v2 header", told["steps"][-1]["text"])

    def test_certificates(self) -> None:
        """Each certificate meets its own answer, with the alert that the client would see."""
        for cert, want in (
            (None, ("refused", "no_certificate", 116, "echo")),
            ("bob", ("refused", "denied", None, "echo")),
            ("mallory", ("refused", "bad_certificate", 48, "echo")),
            ("expired", ("refused", "bad_certificate", 45, "echo")),
            ("host", ("refused", "bad_certificate", 43, "echo")),
        ):
            self.assertEqual(self.verdict(self.told("gw.test", ("demo-echo",), cert)), want)

    def test_who_would_be_let_in(self) -> None:
        """Without a certificate it names those that the rules would take."""
        steps = self.told(None, ("demo-echo",))["steps"]
        self.assertEqual(
            steps[-1],
            {"step": "authorise", "text": "certificates that would be let in: cn: alice"},
        )

    def test_console(self) -> None:
        """A browser gets the console, and its certificate is not even asked for."""
        told = self.told("gw.test", ("h2", "http/1.1"), "alice")
        self.assertEqual(told["outcome"], "allowed")
        self.assertEqual(told["route"]["protocol"], "web")
        self.assertIsNone(told["identity"])

    def test_passthrough(self) -> None:
        """What is passed through shows the target's certificate, not the gateway's."""
        told = self.told("vault.example.com", ("h2",))
        self.assertEqual(self.verdict(told), ("allowed", None, None, "vault"))
        self.assertIsNone(told["certificate"])
        self.assertIsNone(told["token"])

    def test_no_common_protocol(self) -> None:
        """A token that nobody serves is alert 120, and each route says why not."""
        told = self.told("gw.test", ("smtp",))
        self.assertEqual(self.verdict(told), ("refused", "no_route", 120, None))
        whys = {route["route"]: route["why"] for route in told["routes"]}
        self.assertEqual(whys["echo"], "needs ALPN demo-echo")
        self.assertEqual(whys["vault"], "only for vault.example.com")

    def test_strict_sni(self) -> None:
        """Under strict_sni an unknown name is alert 112, a public one is not."""
        strict = gate("yes")
        told = explain(strict, "web", "unknown.test", ["h2"], None)
        self.assertEqual(self.verdict(told), ("refused", "no_route", 112, None))
        told = explain(strict, "web", "GW.test.", ["h2"], None)
        self.assertEqual(told["outcome"], "allowed")

    def test_a_guarded_name_never_falls_to_the_console(self) -> None:
        """A name of a route does not reach the console by another token."""
        told = self.told("vault.example.com", ())
        self.assertEqual(told["route"]["name"], "vault")
        told = self.told("open.gw.test", ("h2",))
        self.assertEqual(self.verdict(told), ("refused", "no_route", 120, None))
        whys = [route["why"] for route in told["routes"] if route["route"] == "web"]
        self.assertEqual(whys, ["the name open.gw.test belongs to another route"])

    def test_own_ports(self) -> None:
        """A protocol's own port without a route says so in its words, first or after TLS."""
        ports = gate(legacy="yes")
        for listener, last in (("postgres", "choose"), ("mysql", "choose")):
            told = explain(ports, listener, None, [], None)
            self.assertEqual(self.verdict(told), ("refused", "not_served", None, None))
            self.assertEqual(told["steps"][-1]["step"], last)
        steps = {step["step"]: step["text"] for step in told["steps"]}
        self.assertIn("mysql speaks first", steps["sniff"])
        told = explain(ports, "postgres", None, ["x"], None)
        self.assertEqual(self.verdict(told), ("refused", "no_route", 120, None))
        steps = {step["step"]: step["text"] for step in told["steps"]}
        self.assertIn("postgres-sslrequest", steps["sniff"])

    def test_bad_name(self) -> None:
        """A name that no hello may carry is refused before any route is looked at."""
        told = self.told("127.0.0.1", ("h2",))
        self.assertEqual((told["reason"], told["routes"]), ("bad_name", []))

    def test_no_such_listener(self) -> None:
        """A listener that is not there is the asker's mistake; it hears which are."""
        error = self.assertRaises(BadAsk, explain, gate(), "wbe", None, [], None)
        self.assertEqual(str(error), "there is no listener 'wbe'; there are: web")


_names = st.sampled_from(["a.test", "b.a.test", "*.a.test", "*.test", "c"])
_tokens = st.lists(st.sampled_from([b"h2", b"http/1.1", b"x", b"y"]), max_size=3, unique=True)
_routes = st.builds(
    Route,
    name=st.text("rstuvw", min_size=1, max_size=3),
    protocol=st.sampled_from(["raw", "web"]),
    listener=st.sampled_from([None, "web", "other"]),
    server_names=st.lists(_names, max_size=2, unique=True).map(tuple),
    alpn=_tokens.map(tuple),
    passthrough=st.booleans(),
    catch_all=st.booleans(),
)
_asks = st.builds(
    Ask,
    listener=st.just("web"),
    server_name=st.sampled_from([None, "a.test", "b.a.test", "c.a.test", "x.test", "c", "d"]),
    alpn=_tokens.map(tuple),
)


class WhyNotTests(SynchronousTestCase):
    """Tests for `why_not`, against the table that decides."""

    @settings(max_examples=400, deadline=None)
    @given(routes=st.lists(_routes, max_size=5), ask=_asks)
    def test_agrees_with_the_table(self, routes: list[Route], ask: Ask) -> None:
        """The route that is chosen is the first of the most exact ones without a reason."""
        table = RouteTable(tuple(routes))
        fit = [route for route in routes if why_not(table, route, ask) is None]
        fit.sort(key=lambda route: rank(route, ask.server_name) or 0)
        try:
            chosen = table.choose(ask).route
        except NoRoute:
            self.assertEqual(fit, [])
        else:
            self.assertIs(chosen, fit[0])
