"""Tests for `tlsgate.net.context`."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.net.rig import CLIENT, Rig, client_pair
from tlsgate import registry
from tlsgate.core.access import Identity
from tlsgate.errors import NotServed
from tlsgate.interfaces import IRouteContext
from tlsgate.protocols.base import GateProtocol


class Curious(GateProtocol):
    """Keeps what it is told."""

    name = "curious"
    alpn = (b"curious",)

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.heard: list[Any] = []
        self.shown = b""

    def build(self, context: IRouteContext) -> Any:
        """See `IGateProtocol`."""
        self.told.append(context)
        self.shown = context.certificate()
        context.on_end(lambda: self.heard.append(1))
        context.on_end(lambda: self.heard.append(2))
        context.elsewhere(7).start(self.heard.append, self.heard.append)
        raise NotServed(self.name, "it only looks")


class RouteContextTests(SynchronousTestCase):
    """Tests for `RouteContext`."""

    def test_facts(self) -> None:
        """A protocol is told who came, how, and to what, and can compare names."""
        curious = Curious()
        known = {**registry.load(None).protocols, "curious": curious}
        rig = Rig(
            '[{name: r, sni: [r.test], target: "{unix}", client_cert: none, unsafe_anyone: yes}]',
            protocols=known,
        )
        self.addCleanup(rig.close)
        rig.secure(alpn=(b"curious",)).shake().read_end()
        (context,) = curious.told
        verifyObject(IRouteContext, context)
        self.assertEqual(context.route.name, "curious")
        self.assertEqual(context.choice.token, b"curious")
        self.assertEqual((context.listener, context.opening), ("web", "tls"))
        self.assertEqual(context.server_name, "gw.test")
        self.assertEqual(context.peer, CLIENT)
        assert isinstance(context.identity, Identity)
        self.assertEqual(context.identity.common_names, ("alice",))
        shown = client_pair("alice")[0].public_bytes(Encoding.DER)
        self.assertEqual(curious.shown, shown)
        self.assertEqual((context.claims("r.test"), context.claims("gw.test")), ("r.test", None))
        self.assertEqual(context.worker, 0)

    def test_end(self) -> None:
        """Who wants to hear the end hears it once; where there is one worker, no other is met."""
        curious = Curious()
        known = {**registry.load(None).protocols, "curious": curious}
        rig = Rig("[]", protocols=known)
        self.addCleanup(rig.close)
        client = rig.secure(alpn=(b"curious",)).shake()
        client.read_end()
        rig.gateway.close_all()
        rig.turn()
        missed, *ends = curious.heard
        self.assertIsInstance(missed, NotServed)
        self.assertEqual(ends, [1, 2])
