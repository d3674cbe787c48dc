"""Tests for `tlsgate.protocols.base`: what most protocols have in common."""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tlsgate import registry
from tlsgate.core.routing import CertRule
from tlsgate.errors import GateError, NotServed
from tlsgate.interfaces import IGateProtocol, RelayTo
from tlsgate.protocols.base import GateProtocol, refuse_unknown
from tlsgate.protocols.raw import Raw
from tlsgate.testing import FakeContext, route, settings

PROTOCOLS = registry.load(None).protocols


class DefaultTests(SynchronousTestCase):
    """What a protocol is that says nothing but its name."""

    def test_closed(self) -> None:
        """It demands a certificate, and claims nothing."""
        protocol = GateProtocol()
        verifyObject(IGateProtocol, protocol)
        verifyObject(IPlugin, protocol)
        self.assertEqual(
            (
                protocol.client_cert,
                protocol.alpn,
                protocol.openings,
                protocol.listener,
                protocol.server_names(("gw.test",)),
                protocol.advertise(settings(), {}),
                protocol.refusal(GateError()),
            ),
            (CertRule.REQUIRED, (), (), None, (), {}, b""),
        )

    def test_settings(self) -> None:
        """A key that it does not know is refused with a sentence."""
        error = self.assertRaises(ValueError, Raw().settings, {"colour": 1})
        self.assertEqual(str(error), "colour is not a setting of raw; it takes none")
        self.assertIsNone(Raw().settings({}))
        error = self.assertRaises(ValueError, refuse_unknown, "x", {"a": 1, "c": 1}, ("a", "b"))
        self.assertEqual(str(error), "c is not a setting of x; it takes a, b")


class RelayTests(SynchronousTestCase):
    """Static routes."""

    def test_every_protocol_relays(self) -> None:
        """A static route with any protocol but the web's leads to its target."""
        for name, protocol in PROTOCOLS.items():
            if name != "web":
                taken = route(protocol=name, target="tcp:127.0.0.1:1")
                self.assertEqual(
                    protocol.build(FakeContext(route=taken)), RelayTo(target="tcp:127.0.0.1:1")
                )

    def test_no_target(self) -> None:
        """Where nothing is behind a protocol's own port, it is not served."""
        error = self.assertRaises(NotServed, Raw().build, FakeContext(route=route()))
        self.assertEqual(str(error), "raw is not served here: ask the operator for a route")


class ListenerTests(SynchronousTestCase):
    """The separate ports."""

    def test_ports(self) -> None:
        """They are those that Teleport's users know."""
        specs = [one.listener for one in PROTOCOLS.values() if one.listener is not None]
        self.assertEqual(
            {spec.key: (spec.port, sorted(spec.versions), spec.public_key) for spec in specs},
            {
                "web_listen_addr": (3080, ["v1", "v2", "v3"], "public_addr"),
                "listen_addr": (3023, ["v1"], "ssh_public_addr"),
                "tunnel_listen_addr": (3024, ["v1"], "tunnel_public_addr"),
                "kube_listen_addr": (3026, [], "kube_public_addr"),
                "mysql_listen_addr": (3036, [], "mysql_public_addr"),
                "postgres_listen_addr": (5432, [], "postgres_public_addr"),
                "mongo_listen_addr": (27017, [], "mongo_public_addr"),
            },
        )
