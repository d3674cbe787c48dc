"""Tests for `tlsgate.net.gate`: a configuration at work, or all that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Rig
from tests.support.certs import pki
from tlsgate import registry
from tlsgate.config.read import read_text
from tlsgate.config.settings import Settings
from tlsgate.core.routing import CertRule
from tlsgate.errors import BadSettings
from tlsgate.net.gate import Gate, protocol_routes
from tlsgate.protocols.base import GateProtocol


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
