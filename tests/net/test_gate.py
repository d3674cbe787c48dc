"""Tests for `tlsgate.net.gate`: a configuration at work, or all that is wrong with it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Rig
from tests.support.certs import pki
from tlsgate import registry
from tlsgate.config.read import read_text
from tlsgate.config.settings import Settings
from tlsgate.core.routing import Ask, CertRule, SendProxy
from tlsgate.errors import BadSettings, NoRoute
from tlsgate.net.gate import Gate, Trust, cluster_names, protocol_routes
from tlsgate.protocols.base import GateProtocol
from tlsgate.tls.contexts import TlsPolicy
from tlsgate.tls.sshhost import SshHostFiles, keep_key


class Guarded(GateProtocol):
    """Stands alone, and demands a certificate."""

    name = "guarded"
    alpn = (b"guarded",)
    client_cert = CertRule.REQUIRED


class BuildTests(SynchronousTestCase):
    """Tests for `Gate.build`."""

    def settings(self, proxy: str) -> Settings:
        """Settings with *proxy* below proxy_service."""
        folder = Path(self.mktemp())
        folder.mkdir(mode=0o700, parents=True)
        return read_text(f"version: v2\nteleport: {{data_dir: {folder}}}\nproxy_service:\n{proxy}")

    def problems(self, proxy: str) -> str:
        """What `build` says of it."""
        known = registry.load(None).protocols
        error = self.assertRaises(BadSettings, Gate.build, self.settings(proxy), known)
        return str(error)

    def test_every_problem_at_once(self) -> None:
        """An unknown protocol of a route and settings for a plug-in that is not there."""
        text = self.problems(
            "  protocols: {nobody: {a: 1}}\n"
            "  routes: [{name: r, alpn: [x], protocol: pigeon, target: 'tcp:127.0.0.1:1',"
            " client_cert: none, unsafe_anyone: yes}]\n"
        )
        self.assertIn("pigeon", text)
        self.assertIn("nobody", text)

    def test_s09_bad_ca_file(self) -> None:
        """A CA file that is none stops the gate from being built; nothing is open by default."""
        bad = pki().folder / "not-a-ca.pem"
        bad.write_text("no certificate here")
        text = self.problems(
            "  routes: [{name: r, alpn: [x], target: 'tcp:127.0.0.1:1', allow: [{cn: a}],"
            f" client_ca_files: ['{bad}']}}]\n"
        )
        self.assertIn("not-a-ca.pem", text)

    def test_the_auth_port(self) -> None:
        """The auth service's own port serves its protocols, and none of the gateway's routes."""
        known = registry.load(None).protocols
        folder = Path(self.mktemp())
        folder.mkdir(mode=0o700, parents=True)
        gate = Gate.build(
            read_text(
                f"version: v2\nteleport: {{data_dir: {folder}}}\n"
                "auth_service: {listen_addr: 127.0.0.1:1}\n"
                "proxy_service: {web_listen_addr: 127.0.0.1:2}\n"
            ),
            known,
        )
        self.assertEqual(gate.table.kept_for, {"auth": {"auth", "join"}})
        self.assertEqual([one.name for one in gate.entrances["auth"].openings], ["tls"])
        self.assertGreater(len(gate.entrances["web"].openings), 1)

    def test_without_key_pair(self) -> None:
        """Without a configured certificate a self-signed one is made."""
        known = registry.load(None).protocols
        gate = Gate.build(self.settings("  public_addr: gw.test:443\n"), known)
        self.assertIn("gw.test", gate.certificates.pick(None).names)


class ProtocolRoutesTests(SynchronousTestCase):
    """Tests for `protocol_routes`."""

    def test_console(self) -> None:
        """The console takes what nobody claims, on the web port alone, without certificate."""
        rig = Rig()
        self.addCleanup(rig.close)
        (web,) = [route for route in rig.gateway.gate.table.routes if route.protocol == "web"]
        self.assertEqual(
            (web.catch_all, web.listener, web.client_cert), (True, "web", CertRule.NONE)
        )

    def test_closed_without_a_ca(self) -> None:
        """A protocol that demands certificates has no route while nobody can verify them."""
        rig = Rig()
        self.addCleanup(rig.close)
        with_ca = rig.settings
        without = attrs.evolve(with_ca, client_ca_files=())
        self.assertEqual(list(protocol_routes(without, {"guarded": Guarded()})), [])
        (route,) = protocol_routes(with_ca, {"guarded": Guarded()})
        self.assertEqual(route.client_ca_files, with_ca.client_ca_files)
        self.assertIs(route.client_cert, CertRule.REQUIRED)


class PingTokenTests(SynchronousTestCase):
    """Ping variants of a route's tokens."""

    def test_variants(self) -> None:
        """Whoever may use a long-lived token may use its variant, and nobody else may."""
        rig = Rig(
            """
    - {name: one, alpn: [own, tlsgate-tcp], target: "{unix}", allow: [{cn: alice}]}
    - {name: two, sni: [x.test], alpn: [tlsgate-tcp], passthrough: yes, target: "{unix}"}
"""
        )
        self.addCleanup(rig.close)
        gate = rig.gateway.gate
        tokens = {route.name: route.alpn for route in gate.table.routes}
        self.assertEqual(tokens["one"], (b"own", b"tlsgate-tcp-ping", b"tlsgate-tcp"))
        self.assertEqual(tokens["two"], (b"tlsgate-tcp",))
        for token in (b"tlsgate-tcp", b"tlsgate-tcp-ping"):
            client = rig.secure(alpn=(token,), cert=None)
            self.assertIn("certificate required", client.alert(), token)


PINGED_POSTGRES = (b"tlsgate-postgres-ping", b"tlsgate-postgres")


class TrustTests(SynchronousTestCase):
    """What a gate takes from its cluster, and what is closed while it has none."""

    ROUTES = """
    - {name: roles, sni: [db.test], alpn: [echo], target: "{unix}", require_role: [access]}
    - {name: own, alpn: [own], target: "{unix}", allow: [{cn: alice}]}
    - {name: open, alpn: [open], target: "{unix}", client_cert: none, unsafe_anyone: yes}
    - {name: through, sni: [through.test], target: "{unix}", passthrough: yes}
"""
    #: What a client may offer.
    TOKENS = (b"tlsgate-auth", b"tlsgate-join", b"http/1.1", b"echo", b"own")
    NAMES = (None, "gw.test", "auth.gw.test", "db.test", "other.test")

    def setUp(self) -> None:
        self.rig = Rig(self.ROUTES)
        self.addCleanup(self.rig.close)
        self.known = registry.load(None).protocols
        folder = self.rig.folder
        self.files = {kind: str(folder / f"{kind}.pem") for kind in ("user", "host")}
        for file in self.files.values():
            Path(file).write_bytes(pki().file("ca.pem").read_bytes())
        self.trust = Trust(ca_files=self.files, keypairs=(pki().keypair("server-b"),))

    def build(self, trust: Trust | None, **fields: Any) -> Gate:
        """A gate of the rig's settings, whose routes have no authorities of their own."""
        fields = {"client_ca_files": (), **fields}
        return Gate.build(attrs.evolve(self.rig.settings, **fields), self.known, trust)

    def names(self, gate: Gate) -> set[str]:
        return {route.name for route in gate.table.routes}

    def test_closed_without_trust(self) -> None:
        """Before the cluster is known its doors and routes for its users are not there."""
        routes = tuple(
            attrs.evolve(one, client_ca_files=()) if one.name == "roles" else one
            for one in self.rig.settings.routes
        )
        gate = self.build(None, routes=routes)
        self.assertEqual(self.names(gate) & {"roles", "auth", "auth-name", "join"}, set())
        self.assertLessEqual({"own", "open", "through", "web"}, self.names(gate))
        self.assertEqual([one for one in gate.policies.values() if one.cluster], [])
        opened = self.build(self.trust, routes=routes)
        self.assertLessEqual({"roles", "auth", "auth-name", "join"}, self.names(opened))

    def test_own_login(self) -> None:
        """Where the gateway has an SSH key, "SSH-" on the web port leads to the jump host."""
        self.assertNotIn("ssh-plain", self.names(self.build(self.trust)))
        key = self.rig.folder / "ssh_host"
        keep_key(key)
        trust = attrs.evolve(self.trust, ssh_host=SshHostFiles(key_file=str(key)))
        gate = self.build(trust)
        (route,) = [one for one in gate.table.routes if one.name == "ssh-plain"]
        self.assertEqual((route.listener, route.plain, route.own_login), ("web", True, True))
        self.assertIsNotNone(gate.ssh_host)
        self.assertNotIn("ssh-plain", self.names(self.build(None)))
        key.write_text("nonsense")
        self.assertRaises(BadSettings, self.build, trust)

    def test_closed_to_a_client(self) -> None:
        """Such a name or token ends the handshake; it does not fall back to a smaller check."""
        routes = tuple(attrs.evolve(one, client_ca_files=()) for one in self.rig.settings.routes)
        self.rig.gateway.take(self.build(None, routes=routes))
        for token in (b"tlsgate-auth", b"tlsgate-join", b"echo", b"own"):
            for name in ("gw.test", "db.test"):
                client = self.rig.secure(alpn=(token,), name=name)
                self.assertIn("no application protocol", client.alert(), (token, name))

    def test_policies(self) -> None:
        """Each route trusts whom it is for, and shows what it is of."""
        gate = self.build(self.trust)
        ca = str(pki().file("ca.pem"))
        user, host = self.files["user"], self.files["host"]
        required, none = CertRule.REQUIRED, CertRule.NONE
        for name, policy in {
            "roles": TlsPolicy(required, (ca, user)),
            "own": TlsPolicy(required, (ca, user)),
            "open": TlsPolicy(none),
            "web": TlsPolicy(none),
            "auth": TlsPolicy(required, (user, host), True),
            "auth-name": TlsPolicy(required, (user, host), True),
            "join": TlsPolicy(none, (), True),
        }.items():
            self.assertEqual(gate.policies[name], policy, name)
        self.assertNotIn("through", gate.policies)

    def test_s09_bad_authorities(self) -> None:
        """An authority's file that cannot be read stops the gate from being built."""
        Path(self.files["user"]).write_text("no certificate")
        self.assertIn("user.pem", str(self.assertRaises(BadSettings, self.build, self.trust)))

    def test_what_is_shown(self) -> None:
        """The cluster's certificate is shown by its own doors alone, and the web one elsewhere."""
        self.rig.gateway.take(self.build(self.trust))
        shown = {name: pki().keypair(name) for name in ("server", "server-b")}
        serials = {
            name: x509.load_pem_x509_certificate(Path(pair.cert_file).read_bytes()).serial_number
            for name, pair in shown.items()
        }
        for token, name, want in (
            ((b"tlsgate-auth",), "gw.test", "server-b"),
            ((b"tlsgate-join",), "gw.test", "server-b"),
            ((b"http/1.1",), "auth.gw.test", "server-b"),
            ((), "auth.gw.test", "server-b"),
            ((b"http/1.1",), "gw.test", "server"),
            ((b"own",), "gw.test", "server"),
            ((b"echo",), "db.test", "server"),
        ):
            client = self.rig.secure(alpn=token, name=name).shake()
            certificate = client.tls.get_peer_certificate(as_cryptography=True)
            assert certificate is not None
            self.assertEqual(certificate.serial_number, serials[want], (token, name))

    def test_s06_no_offer_lowers_a_check(self) -> None:
        """S06: whatever is offered for whatever name, a route keeps its own demand."""
        gate = self.build(self.trust)
        auth = {"auth", "auth-name"}
        for count in (0, 1, 2, 3):
            for offer in itertools.permutations(self.TOKENS, count):
                for name in self.NAMES:
                    ask = Ask(listener="web", opening="tls", server_name=name, alpn=offer)
                    try:
                        route = gate.table.choose(ask).route
                    except NoRoute:
                        continue
                    policy = gate.policies[route.name]
                    if route.name in auth or route.require_role or route.allow:
                        self.assertIs(policy.client_cert, CertRule.REQUIRED, (offer, name))
                        self.assertTrue(policy.ca_files)
                    elif name == "db.test":
                        # A route's name gives nobody a way past it but what is open to all.
                        self.assertIn(route.name, {"join", "web"})
                    if name == "auth.gw.test" and offer == (b"http/1.1",):
                        self.assertEqual(route.name, "auth-name")

    def test_without_a_certificate(self) -> None:
        """The API's doors end a handshake without a certificate, by token and by name."""
        self.rig.gateway.take(self.build(self.trust))
        for token, name in ((b"tlsgate-auth", "gw.test"), (b"http/1.1", "auth.gw.test")):
            client = self.rig.secure(alpn=(token,), name=name, cert=None)
            self.assertIn("certificate required", client.alert())
        # With one of another authority's claims-less users it is the protocol that refuses.
        client = self.rig.secure(alpn=(b"tlsgate-auth",), cert="alice").shake()
        self.assertTrue(client.read_end().startswith(b"HTTP/1.1 403"))

    def test_holders_without_a_cluster(self) -> None:
        """What is for the cluster's users alone is closed to another authority's without one."""
        known = {"held": Held()}
        self.assertEqual(list(protocol_routes(self.rig.settings, known)), [])
        (route,) = protocol_routes(self.rig.settings, known, self.trust)
        self.assertEqual((route.client_ca_files, route.trusts), ((), ("user",)))

    def test_two_faces(self) -> None:
        """Tokens of other people's programs meet the web certificate, names the cluster's."""
        self.assertEqual({"postgres", "postgres-web"} & self.names(self.build(None)), set())
        gate = self.build(self.trust)
        for name, rule, cluster, tokens in (
            ("postgres-web", CertRule.OPTIONAL, False, (b"postgresql",)),
            ("postgres", CertRule.REQUIRED, True, PINGED_POSTGRES),
            ("postgres-name", CertRule.REQUIRED, True, (*PINGED_POSTGRES, b"postgresql")),
        ):
            (route,) = [one for one in gate.table.routes if one.name == name]
            policy = gate.policies[name]
            self.assertEqual(
                (policy.client_cert, policy.cluster, route.alpn), (rule, cluster, tokens)
            )
        asked = Ask(listener="web", opening="postgres")
        self.assertEqual(gate.table.choose(asked).route.name, "postgres-web")
        named = attrs.evolve(asked, server_name="orders.db.gw.test")
        self.assertEqual(gate.table.choose(named).route.name, "postgres-name")

    def test_elsewhere(self) -> None:
        """TLS of an auth service in another process passes through; PROXY on our machine only."""
        for target, send in (
            ("unix:/run/auth.sock", SendProxy.V2),
            ("tcp:auth.test:3025", SendProxy.NONE),
        ):
            gate = self.build(attrs.evolve(self.trust, auth_target=target))
            found = {one.name: one for one in gate.table.routes if one.protocol in ("auth", "join")}
            self.assertEqual(set(found), {"auth", "auth-name", "join"})
            for one in found.values():
                self.assertEqual(
                    (one.passthrough, one.target, one.send_proxy), (True, target, send)
                )
            self.assertEqual(set(found) & set(gate.policies), set())
            self.assertIn(target, gate.targets)

    def test_cluster_names(self) -> None:
        """A certificate is asked for each public name, and each name of the doors."""
        settings = attrs.evolve(self.rig.settings, auth_enabled=False)
        known = {**self.known, "guarded": Named()}
        named = ("gw.test", "*.db.gw.test", "x.gw.test")
        self.assertEqual(cluster_names(settings, known), named)
        with_auth = cluster_names(attrs.evolve(settings, auth_enabled=True), known)
        self.assertEqual(with_auth[0], "gw.test")
        self.assertLessEqual({"auth.gw.test", "x.gw.test"}, set(with_auth))
        self.assertEqual(len(with_auth), len(set(with_auth)))


class Held(Guarded):
    """One for users of the cluster, that shows the web certificate."""

    holders = ("user",)


class Named(Guarded):
    """One that has names, and shows the cluster's certificate."""

    shows_cluster = True

    def server_names(self, public: Sequence[str]) -> Sequence[str]:
        return tuple(f"x.{name}" for name in public)
