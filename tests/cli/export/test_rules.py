"""Tests for `cli.export`: which names and tokens a balancer is told, and how they are written."""

from __future__ import annotations

import re
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.export.envoy import envoy, envoy_head
from tlsgate.cli.export.haproxy import haproxy
from tlsgate.cli.export.nginx import nginx
from tlsgate.cli.export.rules import Rules, one_of, rules_of
from tlsgate.config.read import read_text
from tlsgate.config.settings import Settings
from tlsgate.core.tokens import TOKENS
from tlsgate.errors import BadAsk
from tlsgate.protocols.base import GateProtocol

CONFIG = """\
version: v2
teleport: {data_dir: /nowhere}
proxy_service:
  web_listen_addr: "WEB"
  public_addr: [gw.example.com:443, "192.0.2.1:443"]
  PROXY
  listeners: {lines: "127.0.0.1:7000"}
  routes:
    - {name: a, alpn: [my-token, h2], target: "tcp:h:1", client_cert: none, unsafe_anyone: yes}
    - {name: b, sni: [db.example.org, "*.x.org"], alpn: [named], passthrough: yes,
       target: "tcp:h:1"}
    - {name: c, alpn: [far], listener: lines, passthrough: yes, target: "tcp:h:1"}
    - {name: d, alpn: [postgresql], protocol: postgres, target: "tcp:h:1", client_cert: none,
       unsafe_anyone: yes, idle_seconds: 7200}
    - {name: e, alpn: ["a b'c"], passthrough: yes, target: "tcp:h:1"}
"""

RULES = Rules(
    names=("gw.example.com", "*.gw.example.com"),
    tokens=("tlsgate-ssh", "my.token/1"),
    openings=(),
    gateways=("10.0.0.1:3080", "[2001:db8::1]:3080"),
    bind=("", 443),
    other=None,
    send_proxy=False,
    idle_seconds=3660,
)


def settings(web: str = "127.0.0.1:3080", proxy: str = "") -> Settings:
    return read_text(CONFIG.replace("WEB", web).replace("PROXY", proxy))


class _DropIn(GateProtocol):
    name = "lines"
    alpn = (b"lines/1",)

    def server_names(self, public: Any) -> list[str]:
        return [f"lines.{name}" for name in public]


class RulesOfTests(SynchronousTestCase):
    """Tests for `rules_of`."""

    def test_names(self) -> None:
        """Public names with all below them, and those of routes; an address is no name."""
        self.assertEqual(
            rules_of(settings()).names,
            ("gw.example.com", "*.gw.example.com", "db.example.org", "*.x.org"),
        )

    def test_tokens(self) -> None:
        """Every token of the table and of routes without names; the web's own are left to names."""
        rules = rules_of(settings())
        for token in TOKENS:
            for value in token.values:
                web = value in (b"h2", b"http/1.1", b"acme-tls/1")
                self.assertEqual((value, value.decode() in rules.tokens), (value, not web))
        self.assertIn("tlsgate-ssh-ping", rules.tokens)
        self.assertIn("my-token", rules.tokens)
        self.assertNotIn("named", rules.tokens)  # found by its name
        self.assertNotIn("far", rules.tokens)  # on another port
        self.assertEqual(len(set(rules.tokens)), len(rules.tokens))

    def test_tokens_that_cannot_be_written(self) -> None:
        """A token with a space or a quote is named, and in no output."""
        rules = rules_of(settings())
        self.assertEqual(rules.left_out, ("a b'c",))
        self.assertNotIn("a b'c", rules.tokens)

    def test_drop_ins(self) -> None:
        """A drop-in's own token and names are the gateway's too."""
        rules = rules_of(settings(), [_DropIn()])
        self.assertIn("lines/1", rules.tokens)
        self.assertIn("lines.gw.example.com", rules.names)

    def test_openings(self) -> None:
        """A PostgreSQL route is also reached by SSLRequest."""
        self.assertEqual(rules_of(settings()).openings, ("postgres",))

    def test_waits_longer_than_the_gateway(self) -> None:
        """The longest idle limit of any route counts."""
        self.assertEqual(rules_of(settings()).idle_seconds, 7260)

    def test_addresses(self) -> None:
        """The web port's own address unless others are named; every address needs a port."""
        self.assertEqual(rules_of(settings()).gateways, ("127.0.0.1:3080",))
        self.assertEqual(rules_of(settings(":3080")).gateways, ("127.0.0.1:3080",))
        self.assertEqual(rules_of(settings("10.1.2.3:3080")).gateways, ("10.1.2.3:3080",))
        named = rules_of(settings(), to=["gw1:3080", "[2001:db8::1]:99"], other="web:8443")
        self.assertEqual(named.gateways, ("gw1:3080", "[2001:db8::1]:99"))
        self.assertEqual(named.other, "web:8443")
        for bind, want in (
            (":443", ("", 443)),
            ("443", ("", 443)),
            ("127.0.0.1:8443", ("127.0.0.1", 8443)),
            ("[::1]:443", ("::1", 443)),
        ):
            self.assertEqual(rules_of(settings(), bind=bind).bind, want)

    def test_bad_addresses(self) -> None:
        """What is no address is refused with the option's name."""
        for words, option in (
            ({"to": ["gw1"]}, "--to gw1"),
            ({"other": "a b"}, "--other a b"),
            ({"bind": "lo"}, "--bind lo"),
            ({"bind": ":0"}, "--bind :0"),
        ):
            error = self.assertRaises(BadAsk, rules_of, settings(), **words)
            self.assertIn(option, str(error))

    def test_a_port_that_nobody_can_know(self) -> None:
        """A web port of the system's choice, or a UNIX socket, needs --to."""
        for web in ("127.0.0.1:0", "unix:/run/gate.sock"):
            error = self.assertRaises(BadAsk, rules_of, settings(web))
            self.assertIn("--to", str(error))
            self.assertEqual(rules_of(settings(web), to=["a:1"]).gateways, ("a:1",))

    def test_proxy_protocol(self) -> None:
        """Where the gateway demands PROXY headers the balancer sends them."""
        self.assertFalse(rules_of(settings()).send_proxy)
        on = settings(proxy="proxy_protocol: {mode: on, trusted: [10.0.0.0/8]}")
        self.assertTrue(rules_of(on).send_proxy)


class OneOfTests(SynchronousTestCase):
    """Tests for `one_of`."""

    def test_whole_tokens_only(self) -> None:
        """A token is found anywhere in a list, and a part of one is not."""
        pattern = one_of(["a.b", "c+d/1"])
        for offered, want in (
            ("a.b", True),
            ("x,a.b,y", True),
            ("x,c+d/1", True),
            ("aXb", False),
            ("xa.b", False),
            ("a.bx", False),
            ("ccd/1", False),
            ("", False),
        ):
            self.assertEqual((offered, bool(re.search(pattern, offered))), (offered, want))


class WritersTests(SynchronousTestCase):
    """What the three outputs have in common, and each its own."""

    def test_without_another_server(self) -> None:
        """Everything that is left goes to the gateway, which answers it."""
        self.assertIn("default_backend tlsgate", haproxy(RULES))
        self.assertNotIn("other", haproxy(RULES))
        self.assertIn("default tlsgate;", nginx(RULES))
        self.assertNotIn("upstream other", nginx(RULES))
        self.assertEqual([one["name"] for one in self.envoy(RULES)["clusters"]], ["tlsgate"])

    def test_with_another_server(self) -> None:
        """Everything that is left goes there."""
        rules = evolve(RULES, other="10.0.0.9:8443")
        self.assertIn("default_backend other", haproxy(rules))
        self.assertIn("server 10.0.0.9:8443;", nginx(rules))
        found = self.envoy(rules)
        self.assertEqual([one["name"] for one in found["clusters"]], ["tlsgate", "other"])
        filters = found["listeners"][0]["default_filter_chain"]["filters"]
        self.assertEqual(filters[0]["typed_config"]["cluster"], "other")

    def test_proxy_headers(self) -> None:
        """Version 2, and only where the gateway wants them."""
        rules = evolve(RULES, send_proxy=True)
        for write, word in ((haproxy, "send-proxy-v2"), (nginx, "proxy_protocol on;")):
            self.assertNotIn(word, write(RULES))
            self.assertIn(word, write(rules))
        self.assertNotIn("transport_socket", self.envoy(RULES)["clusters"][0])
        socket = self.envoy(rules)["clusters"][0]["transport_socket"]["typed_config"]
        self.assertEqual(socket["config"], {"version": "V2"})

    def test_openings(self) -> None:
        """HAProxy knows them by their first bytes; the others say that they cannot."""
        rules = evolve(RULES, openings=("postgres", "ssh"), other="a:1")
        self.assertIn(
            "use_backend tlsgate if tlsgate_name or tlsgate_token or tlsgate_opening",
            haproxy(rules),
        )
        for text in (nginx(rules), envoy_head(rules)):
            self.assertIn("postgres and ssh without TLS first", text)

    def test_no_names(self) -> None:
        """A gateway without a public name is found by tokens alone."""
        rules = evolve(RULES, names=())
        self.assertNotIn("tlsgate_name", haproxy(rules))
        chains = self.envoy(rules)["listeners"][0]["filter_chains"]
        self.assertEqual(
            [chain["filter_chain_match"] for chain in chains],
            [{"transport_protocol": "tls", "application_protocols": ["tlsgate-ssh", "my.token/1"]}],
        )

    def test_envoy_addresses(self) -> None:
        """Hosts and ports apart, IPv6 without brackets."""
        lb = self.envoy(RULES)["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"]
        self.assertEqual(
            [one["endpoint"]["address"]["socket_address"] for one in lb],
            [
                {"address": "10.0.0.1", "port_value": 3080},
                {"address": "2001:db8::1", "port_value": 3080},
            ],
        )

    def envoy(self, rules: Rules) -> dict[str, Any]:
        return dict(envoy(rules)["static_resources"])
