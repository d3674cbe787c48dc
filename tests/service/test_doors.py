"""What decides and what records while there is no cluster."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tlsgate.core.access import Decision, Identity, Kind, Rule
from tlsgate.core.routing import Route
from tlsgate.interfaces import IAuthorizer, ILedger
from tlsgate.service.doors import NoLedger, StaticRules


class DoorsTests(SynchronousTestCase):
    """Tests for `StaticRules` and `NoLedger`."""

    def test_rules(self) -> None:
        """A route's own rules decide; without any nobody may."""
        rules = StaticRules()
        verifyObject(IAuthorizer, rules)
        alice = Identity(common_names=("alice",))
        route = Route(name="r", protocol="raw", allow=(Rule(Kind.CN, "alice"),))
        self.assertEqual(rules.decide(route, alice, None), Decision(True, "rule cn: alice"))
        self.assertFalse(rules.decide(route, None, None).allowed)
        self.assertFalse(rules.decide(Route(name="r", protocol="raw"), alice, None).allowed)

    def test_ledger(self) -> None:
        """Nothing is recorded, and nothing fails."""
        ledger = NoLedger()
        verifyObject(ILedger, ledger)
        peer = IPv4Address("TCP", "192.0.2.1", 1)
        ledger.opened("web", "raw", None, peer)
        ledger.closed("web", "raw", None, peer)
