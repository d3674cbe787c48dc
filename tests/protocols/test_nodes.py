"""Tests for `tlsgate.protocols.nodes`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.address import UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.access import Decision
from tlsgate.core.offers import Asked, Offer
from tlsgate.core.rolevalues import Target
from tlsgate.errors import BadName, NoAgent, NotOffered, NotServed, TargetDenied
from tlsgate.protocols.nodes import Found, find_node
from tlsgate.testing import FakeCluster, FakeContext, FakeTunnels, member, settings

ALICE = member("alice")
DB1 = Offer(
    kind="node", name="db1", labels={"env": "prod"}, addresses=("127.0.0.1:22", "10.0.0.5:8022")
)
WEB = Offer(kind="node", name="Web", addresses=("127.0.0.1:22",))


class FindNodeTests(SynchronousTestCase):
    """Tests for `find_node`."""

    def setUp(self) -> None:
        self.tunnels, self.cluster = FakeTunnels(DB1, WEB), FakeCluster()
        public = evolve(settings().public, web=("gate.test:443",), ssh=("ssh.test:3023",))
        self.context = FakeContext(
            settings=settings(public=public), cluster=self.cluster, tunnels=self.tunnels
        )

    def find(self, host: str, port: int = 22, **shown: Any) -> Found:
        """Find it for alice."""
        return find_node(self.context, ALICE, host, port, **shown)

    def test_asked(self) -> None:
        """The agent is told who, from where, with which certificate, and for what."""
        found = self.find("db1.gate.test", certificate=b"der", ssh_certificate="line")
        (reach,) = self.tunnels.reaches
        self.assertIs(found.reach, reach)
        self.assertEqual((found.target, found.limits), ("node/db1", self.cluster.decision))
        self.assertEqual(
            reach.asked,
            Asked(
                kind="node",
                name="db1",
                address=None,
                user="alice",
                certificate=b"der",
                ssh_certificate="line",
                client="192.0.2.7:40000",
                cluster="prod",
                listener="web",
                route="test",
                trace=self.context.trace,
            ),
        )
        self.assertEqual(
            self.cluster.asked,
            [(ALICE, Target(kind="node", name="db1", labels={"env": "prod"}), "192.0.2.7")],
        )

    def test_names(self) -> None:
        """Each spelling leads to the node, an address to the only one that lists it."""
        for host, port, name, address in (
            ("db1", 22, "db1", None),
            ("DB1.prod", 8022, "db1", "10.0.0.5:8022"),
            ("web.ssh.test", 22, "Web", None),
            ("10.0.0.5", 8022, "db1", "10.0.0.5:8022"),
        ):
            self.find(host, port)
            asked = self.tunnels.reaches[-1].asked
            self.assertEqual((asked.name, asked.address), (name, address), host)

    def test_s41_no_address_is_a_name(self) -> None:
        """Who lists the address of a node that is away is not taken for that node."""
        listing = evolve(
            DB1, addresses=("db2:22", "db2.prod:22", "db2.gate.test:22", "switch.lan:22")
        )
        self.context.tunnels = tunnels = FakeTunnels(listing)
        for host in ("db2", "DB2.", "db2.prod", "db2.gate.test"):
            self.assertRaises(NoAgent, self.find, host)
        self.find("switch.lan")
        (reach,) = tunnels.reaches
        self.assertEqual((reach.asked.name, reach.asked.address), ("db1", "switch.lan:22"))

    def test_nobody(self) -> None:
        """What no agent offers is said before anything is asked of one."""
        for host, port, error in (
            ("db2", 22, NoAgent),
            ("10.0.0.5", 22, BadName),
            ("127.0.0.1", 22, BadName),
            ("gate.test", 22, BadName),
            ("db1", 23, NotOffered),
        ):
            self.assertRaises(error, self.find, host, port)
        self.assertEqual(self.tunnels.reaches, [])

    def test_denied(self) -> None:
        """Who may not is told why, and not which ports there are."""
        self.cluster.decision = Decision(False, "no role allows it")
        error = self.assertRaises(TargetDenied, self.find, "db1", 23)
        self.assertEqual(str(error), "alice may not reach node db1: no role allows it")
        self.assertEqual(self.tunnels.reaches, [])

    def test_no_agents(self) -> None:
        """A gateway without a cluster, or without tunnels, serves no node."""
        for name in ("cluster", "tunnels"):
            given: dict[str, Any] = {"cluster": self.cluster, "tunnels": self.tunnels, name: None}
            context = FakeContext(**given)
            self.assertRaises(NotServed, find_node, context, ALICE, "db1", 22)

    def test_client_without_an_address(self) -> None:
        """A client on a UNIX socket has none to tell."""
        self.context.peer = UNIXAddress(None)
        self.find("db1")
        self.assertEqual(self.tunnels.reaches[0].asked.client, "")
        self.assertIsNone(self.cluster.asked[0][2])
