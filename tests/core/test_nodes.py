"""Tests for `tlsgate.core.nodes`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.nodes import address_of, listed, may_be_listed, node_of, offer_of
from tlsgate.core.offers import Offer
from tlsgate.errors import BadName, NotOffered

PUBLICS = ("gate.example.com", "example.com")
DB1 = Offer(kind="node", name="DB1", addresses=("127.0.0.1:2222", "10.0.0.5:22", "10.0.0.5:8022"))
WEB = Offer(kind="node", name="web", addresses=("127.0.0.1:22", "10.0.0.5:8022"))


class NodeOfTests(SynchronousTestCase):
    """Tests for `node_of`."""

    def test_names(self) -> None:
        """A bare name, one below a public name, and one below the cluster's mean the same."""
        for host, node in (
            ("db1", "db1"),
            ("DB1.Gate.Example.Com.", "db1"),
            ("db1.example.com", "db1"),
            ("db1.prod", "db1"),
            ("db1.rack2.prod", "db1.rack2"),
            ("db1.elsewhere.org", "db1.elsewhere.org"),
            ("xgate.example.com", "xgate"),
        ):
            self.assertEqual(node_of(host, PUBLICS, "prod"), node)

    def test_no_node(self) -> None:
        """Neither an address nor the gateway itself is a node."""
        for host in ("127.0.0.1", "", "a b", "gate.example.com", "prod", ".prod", "x" * 300):
            self.assertRaises(BadName, node_of, host, PUBLICS, "prod")


class OfferTests(SynchronousTestCase):
    """Which offer, and which of its addresses."""

    def test_offer_of(self) -> None:
        """Case does not matter."""
        self.assertIs(offer_of("db1", (WEB, DB1)), DB1)
        self.assertIsNone(offer_of("db2", (WEB, DB1)))

    def test_address_of(self) -> None:
        """The port that clients add by themselves means the node's sshd; another is listed."""
        self.assertIsNone(address_of(DB1, 22))
        self.assertEqual(address_of(DB1, 2222), "127.0.0.1:2222")
        self.assertEqual(address_of(DB1, 8022), "10.0.0.5:8022")
        error = self.assertRaises(NotOffered, address_of, DB1, 23)
        self.assertEqual((error.name, error.port), ("DB1", 23))

    def test_may_be_listed(self) -> None:
        """Only what is no name of the cluster may be an address of an agent's (S41)."""
        self.assertTrue(may_be_listed("Switch.LAN.", "switch.lan"))
        self.assertFalse(may_be_listed("db1", "db1"))
        self.assertFalse(may_be_listed("db1.x.prod", "db1.x"))

    def test_listed(self) -> None:
        """An address is enough where one node alone offers it."""
        self.assertIs(listed("10.0.0.5:22", (DB1, WEB)), DB1)
        self.assertIsNone(listed("10.0.0.5:8022", (DB1, WEB)))
        self.assertIsNone(listed("10.0.0.6:22", (DB1, WEB)))
