"""Tests for `tlsgate.config.targets`, through `read_text`: databases and applications."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.config.test_agents import V3, many, warned
from tlsgate.config.read import read_file, read_text
from tlsgate.config.settings import AgentSettings, LabelCommand, OfferSettings, TargetTls
from tlsgate.errors import BadSettings

DB = V3 + "db_service:\n  databases:\n  - "
APP = V3 + "app_service:\n  apps:\n  - "
EXAMPLE = Path(__file__).parents[2] / "etc" / "examples" / "agent-targets.yaml"


class TargetsCase(SynchronousTestCase):
    """Agents' files."""

    def agent(self, text: str) -> AgentSettings:
        """The agent of *text*, which has no warnings."""
        read = read_text(text)
        self.assertEqual(warned(read), [])
        assert read.agent is not None
        return read.agent

    def problem(self, text: str) -> str:
        """The one thing that is wrong with *text*, with its place."""
        (problem,) = self.assertRaises(BadSettings, read_text, text, "f").problems
        return str(problem)

    def warning(self, text: str) -> str:
        """The one thing to be said about *text*."""
        (warning,) = warned(read_text(text))
        return warning

    def file(self, text: str = "x") -> str:
        """A file that is there."""
        path = Path(tempfile.mkdtemp(dir=self.mktemp_folder())) / "ca.pem"
        path.write_text(text)
        return str(path)

    def mktemp_folder(self) -> str:
        """Where trial keeps what tests write."""
        folder = Path(self.mktemp())
        folder.mkdir()
        return str(folder.absolute())


class ServicesTests(TargetsCase):
    """Several services in one file."""

    def test_the_example(self) -> None:
        """The example in etc/ has all three, without a warning."""
        read = read_file(EXAMPLE)
        self.assertEqual(warned(read), [])
        assert read.agent is not None
        self.assertEqual(read.agent.roles, ("node", "db", "app"))
        self.assertEqual(
            [(one.kind, one.name, one.protocol) for one in read.agent.offers],
            [
                ("node", "inner1", "ssh"),
                ("db", "orders", "postgres"),
                ("app", "grafana", "http"),
                ("app", "wiki", "http"),
                ("app", "feed", "tcp"),
            ],
        )

    def test_any_mix(self) -> None:
        """Each service that is on gives the agent a system role; nothing else does."""
        on = {
            "ssh_service": ("node", "{}"),
            "db_service": ("db", "{databases: [{name: a, protocol: postgres, uri: b}]}"),
            "app_service": ("app", "{apps: [{name: a, uri: 'http://b'}]}"),
        }
        for wanted in range(1, 8):
            some = [name for bit, name in enumerate(on) if wanted & 1 << bit]
            text = V3 + "".join(f"{name}: {on[name][1]}\n" for name in some)
            agent = self.agent(text)
            roles = tuple(on[name][0] for name in some)
            self.assertEqual((agent.roles, tuple(one.kind for one in agent.offers)), (roles,) * 2)
        self.assertEqual(self.agent(text + "kubernetes_service: {enabled: no}").roles, roles)
        off = text.replace("databases:", "enabled: no, databases:")
        self.assertEqual(self.agent(off).roles, ("node", "app"))

    def test_nothing_to_offer(self) -> None:
        """A service without an entry is likely a mistake."""
        self.assertEqual(
            self.warning(V3 + "db_service: {enabled: yes}"),
            "db_service: offers nothing: there are no databases",
        )
        self.assertIn("there are no apps", self.warning(V3 + "app_service: {apps: []}"))

    def test_too_many(self) -> None:
        """A heartbeat carries so many."""
        entries = many("{{name: a{}, uri: 'http://b'}}")
        self.assertIn(
            "app_service: the agent offers 65 targets; 64",
            self.problem(f"{V3}app_service: {{apps: [{entries}]}}"),
        )
        long = "\n  - ".join(
            f"{{name: a{number}, uri: 'http://b', labels: {{c: {'x' * 6000}}}}}"
            for number in range(12)
        )
        self.assertIn("bytes with all labels; 65536 are the most", self.problem(APP + long))

    def test_beside_a_gateway(self) -> None:
        """Neither runs in a gateway's process."""
        for name in ("db_service", "app_service"):
            said = self.problem(f"version: v2\n{name}: {{enabled: yes}}")
            self.assertIn(f"{name}.enabled: an agent runs in a process of its own", said)
            self.assertIn(f"{name}: does nothing here", self.warning(f"version: v2\n{name}:"))


class DatabaseTests(TargetsCase):
    """db_service."""

    def offer(self, keys: str) -> OfferSettings:
        """The offer of one database with these keys."""
        (offer,) = self.agent(DB + keys).offers
        return offer

    def test_the_least(self) -> None:
        """A name, a protocol and a uri; the server's certificate is held against its name."""
        self.assertEqual(
            self.offer("{name: orders, protocol: postgres, uri: pg.internal}"),
            OfferSettings(
                kind="db",
                name="orders",
                addresses=("pg.internal:5432",),
                protocol="postgres",
                facts={"protocol": "postgres", "description": ""},
                tls=TargetTls(mode="verify-full"),
            ),
        )

    def test_everything(self) -> None:
        """Labels of both kinds, a line for people, and all of TLS."""
        ca = self.file()
        self.assertEqual(
            self.offer(
                "{name: orders, protocol: postgres, uri: 'postgres://10.0.0.7:6432',"
                " description: What people buy, static_labels: {env: prod},"
                " dynamic_labels: [{name: up, command: [uptime], period: 5m}],"
                f" tls: {{mode: verify-ca, server_name: Pg.Internal, ca_cert_file: {ca},"
                " trust_system_cert_pool: yes}}"
            ),
            OfferSettings(
                kind="db",
                name="orders",
                labels={"env": "prod"},
                commands=(LabelCommand(name="up", command=("uptime",), period_seconds=300.0),),
                addresses=("10.0.0.7:6432",),
                protocol="postgres",
                facts={"protocol": "postgres", "description": "What people buy"},
                tls=TargetTls(
                    mode="verify-ca", server_name="pg.internal", ca_file=ca, system_roots=True
                ),
            ),
        )

    def test_the_older_place_of_its_ca(self) -> None:
        """ca_cert_file stands beside tls too, but not in both places."""
        ca = self.file()
        start = f"{{name: a, protocol: postgres, uri: b, ca_cert_file: {ca}"
        offer = self.offer(start + "}")
        assert offer.tls is not None
        self.assertEqual(offer.tls.ca_file, ca)
        said = self.problem(DB + start + f", tls: {{ca_cert_file: {ca}}}}}")
        self.assertIn("write one of both", said)

    def test_places(self) -> None:
        """Each wrong value is told with its line and column."""
        start = "{name: orders, protocol: postgres, uri: b"
        for keys, said in (
            ("{name: Orders, protocol: postgres, uri: b}", "f:5:12 db_service.databases[0].name"),
            ("{protocol: postgres, uri: b}", "databases[0].name: is missing"),
            ("{name: a, uri: b}", "databases[0].protocol: is missing"),
            ("{name: a, protocol: postgres}", "databases[0].uri: is missing"),
            ("{name: a, protocol: postgers, uri: b}", "did you mean postgres?"),
            ("{name: a, protocol: postgres, uri: /run/x}", "f:5:40 db_service.databases[0].uri"),
            (f"{start}, tls: {{mode: full}}}}", "tls.mode: has to be verify-full, verify-ca"),
            (f"{start}, tls: {{server_name: 'a:1'}}}}", "tls.server_name: has to be a host name"),
            (f"{start}, tls: {{ca_cert_file: /none}}}}", "'/none' does not exist"),
            (f"{start}, tls: {{trust_system_cert_pool: 1}}}}", "has to be yes or no"),
            (f"{start}, static_labels: {{'a b': c}}}}", "letters, digits"),
            (f"{start}, static_labels: {{{many('a{}: b')}}}}}", "are 65; 64 are the most"),
            (f"{start}, dynamic_labels: [{{name: a, command: []}}]}}", "[0].command: is empty"),
            (f'{start}, description: "a\\nb"}}', "one line"),
            (f"{start}, url: x}}", "did you mean uri?"),
        ):
            self.assertIn(said, self.problem(DB + keys))
        twice = "{name: a, protocol: postgres, uri: b}\n  - {name: a, protocol: mysql, uri: b}"
        self.assertIn(
            "f:6:12 db_service.databases[1].name: there is a already", self.problem(DB + twice)
        )

    def test_what_is_not_built(self) -> None:
        """Another protocol is named and not offered; other keys are named."""
        read = read_text(
            DB + "{name: a, protocol: MySQL, uri: 'b:3306'}\n  - "
            "{name: c, protocol: postgres, uri: d, gcp: {}, admin_user: {name: x}}"
        )
        assert read.agent is not None
        self.assertEqual([one.name for one in read.agent.offers], ["c"])
        said = warned(read)
        self.assertEqual(len(said), 3)
        self.assertIn("databases[0].protocol: mysql is not served yet: a is not offered", said[0])

    def test_insecure_is_told(self) -> None:
        """Who is not verified could be anybody, and the file's owner hears it."""
        said = self.warning(DB + "{name: a, protocol: postgres, uri: b, tls: {mode: insecure}}")
        self.assertIn("tls.mode: insecure: whoever answers there is believed", said)
        ca = self.file()
        both = (
            f"{{name: a, protocol: postgres, uri: b, ca_cert_file: {ca}, tls: {{mode: insecure}}}}"
        )
        self.assertIn("no effect beside", warned(read_text(DB + both))[0])


class AppTests(TargetsCase):
    """app_service."""

    def offer(self, keys: str) -> OfferSettings:
        """The offer of one application with these keys."""
        (offer,) = self.agent(APP + keys).offers
        return offer

    def test_the_least(self) -> None:
        """A name and a uri of one of three schemes."""
        offer = self.offer("{name: grafana, uri: 'http://127.0.0.1:3000'}")
        facts = {
            "protocol": "http",
            "public_addr": "",
            "description": "",
            "rewrite_redirect": "[]",
            "rewrite_headers": "[]",
            "jwt_claims": "roles-and-traits",
        }
        self.assertEqual(
            offer,
            OfferSettings(
                kind="app",
                name="grafana",
                addresses=("127.0.0.1:3000",),
                protocol="http",
                facts=facts,
            ),
        )
        offer = self.offer("{name: feed, uri: 'tcp://127.0.0.1:9000'}")
        self.assertEqual((offer.protocol, offer.facts["protocol"], offer.tls), ("tcp", "tcp", None))
        offer = self.offer("{name: wiki, uri: 'https://wiki.internal'}")
        self.assertEqual((offer.protocol, offer.tls), ("http", TargetTls(mode="verify-full")))
        self.assertEqual(offer.addresses, ("wiki.internal:443",))

    def test_everything(self) -> None:
        """Labels, its own name, an authority of its own, and what is rewritten."""
        ca = self.file()
        offer = self.offer(
            "{name: wiki, uri: 'https://10.0.0.7:8443', public_addr: Wiki.Example.com,"
            " description: What we know, labels: {env: prod},"
            f" commands: [{{name: v, command: [x]}}], ca_cert_file: {ca}, rewrite: {{redirect:"
            " [localhost, 'wiki.internal:8443'], headers: ['X-Env:  prod', 'Host: wiki'],"
            " jwt_claims: none}}"
        )
        self.assertEqual(offer.labels, {"env": "prod"})
        self.assertEqual([one.name for one in offer.commands], ["v"])
        self.assertEqual(offer.tls, TargetTls(mode="verify-full", ca_file=ca))
        facts = offer.facts
        self.assertEqual((facts["public_addr"], facts["jwt_claims"]), ("wiki.example.com", "none"))
        self.assertEqual(json.loads(facts["rewrite_redirect"]), ["localhost", "wiki.internal:8443"])
        self.assertEqual(json.loads(facts["rewrite_headers"]), ["X-Env: prod", "Host: wiki"])

    def test_places(self) -> None:
        """Each wrong value is told with its place."""
        start = "{name: wiki, uri: 'http://b'"
        for keys, said in (
            ("{name: a.b, uri: 'http://b'}", "f:5:12 app_service.apps[0].name: has to be small"),
            ("{name: a}", "apps[0].uri: is missing"),
            ("{name: a, uri: '127.0.0.1:80'}", "f:5:20 app_service.apps[0].uri: has to begin"),
            ("{name: kube, uri: 'http://b'}", "kube is a name of the gateway's own"),
            (f"{start}, public_addr: 'https://x'}}", "apps[0].public_addr: has to be a host name"),
            (f"{start}, public_addr: '*.x'}}", "has to be a host name"),
            (f"{start}, public_addr: 10.0.0.1}}", "an IP address is not a name"),
            (f"{start}, insecure_skip_verify: maybe}}", "has to be yes or no"),
            (f"{start}, rewrite: {{headers: [X-A]}}}}", 'headers[0]: has to be "Name: value"'),
            (f'{start}, rewrite: {{headers: ["X: a\\r\\nb"]}}}}', 'has to be "Name: value"'),
            (f"{start}, rewrite: {{headers: ['Content-Length: 1']}}}}", "and not written"),
            (f"{start}, rewrite: {{redirect: ['http://x/y']}}}}", "redirect[0]: has to be host"),
            (f"{start}, rewrite: {{jwt_claims: all}}}}", "roles-and-traits, roles, traits or none"),
            (f"{start}, rewrite: {{headers: ['X: {'x' * 4096}']}}}}", "longer than 4096"),
        ):
            self.assertIn(said, self.problem(APP + keys))
        one, other = (f"{{name: {name}, uri: 'http://b', public_addr: x.Y}}" for name in "ab")
        for twice, said in (
            ("{name: a, uri: 'http://b'}\n  - {name: a, uri: 'http://c'}", "there is a already"),
            (f"{one}\n  - {other}", "apps[1].public_addr: is that of a already"),
        ):
            self.assertIn(said, self.problem(APP + twice))
        own = "{name: kube, uri: 'http://b', public_addr: k.example.com}"
        self.assertEqual(self.offer(own).name, "kube")

    def test_what_does_nothing(self) -> None:
        """Keys that count for https, or for http, say so elsewhere."""
        for keys, said in (
            ("{name: a, uri: 'http://b', insecure_skip_verify: yes}", "the uri is not https://"),
            ("{name: a, uri: 'https://b', insecure_skip_verify: yes}", "is believed"),
            ("{name: a, uri: 'tcp://b:1', rewrite: {}}", "has no headers"),
            ("{name: a, uri: 'http://b', cloud: AWS}", "without effect here"),
        ):
            self.assertIn(said, self.warning(APP + keys))
        self.assertIn(
            "nothing listens",
            self.warning(V3 + "app_service: {listen_addr: x, apps: [{name: a, uri: 'http://b'}]}"),
        )
        agent = read_text(APP + "{name: a, uri: 'https://b', insecure_skip_verify: yes}").agent
        assert agent is not None
        self.assertEqual(agent.offers[0].tls, TargetTls(mode="insecure"))
