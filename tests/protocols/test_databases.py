"""Tests for `tlsgate.protocols.databases`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.address import UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.access import Decision, Identity
from tlsgate.core.offers import Asked, Offer
from tlsgate.core.rolevalues import Target
from tlsgate.errors import NoAgent, NoDatabase, NotServed, StartupRefused, TargetDenied
from tlsgate.protocols.databases import ask_database, find_database, inside
from tlsgate.testing import FakeCluster, FakeContext, FakeTunnels, holder, member, settings

FACTS = {"protocol": "postgres", "description": ""}
ORDERS = Offer(kind="db", name="orders", labels={"env": "prod"}, facts=FACTS)
OTHERS = (
    Offer(kind="db", name="shop", facts={"protocol": "mysql"}),
    Offer(kind="db", name="odd"),
)


def narrow(**routes: str) -> Identity:
    """Alice, by a certificate for one thing only."""
    return member("alice", routes=routes)


class DatabasesTests(SynchronousTestCase):
    """Which database, for whom, and who is asked."""

    def setUp(self) -> None:
        self.tunnels, self.cluster = FakeTunnels(ORDERS, *OTHERS), FakeCluster()
        public = evolve(settings().public, web=("gate.test:443",), postgres=("pg.test:5432",))
        self.context = FakeContext(
            settings=settings(public=public),
            cluster=self.cluster,
            tunnels=self.tunnels,
            der=b"der",
        )

    def find(self, identity: Identity, server_name: str | None = None) -> str:
        """Name the database that is meant."""
        self.context.server_name = server_name
        return find_database(self.context, identity, "postgres").name

    def test_named(self) -> None:
        """By the certificate, or by a name before one of ours; both may be said."""
        alice = member("alice")
        self.assertEqual(self.find(narrow(db="orders")), "orders")
        self.assertEqual(self.find(narrow(db="orders"), "gate.test"), "orders")
        self.assertEqual(self.find(alice, "orders.db.gate.test"), "orders")
        self.assertEqual(self.find(alice, "orders.db.pg.test"), "orders")
        self.assertEqual(self.find(narrow(db="orders"), "orders.db.gate.test"), "orders")

    def test_not_named(self) -> None:
        """A wide certificate at our own name, or at a name that is not whole, means none."""
        for name in (None, "gate.test", "orders.gate.test", ".db.gate.test", "orders.db.else.test"):
            error = self.assertRaises(NoDatabase, self.find, member("alice"), name)
            self.assertIn("tgsh db login", str(error))
        self.assertRaises(NoDatabase, self.find, holder("alice"))

    def test_not_that(self) -> None:
        """Two names that differ, one that nobody offers, and one that speaks something else."""
        self.assertRaises(StartupRefused, self.find, narrow(db="orders"), "shop.db.gate.test")
        self.assertRaises(NoAgent, self.find, narrow(db="away"))
        error = self.assertRaises(NotServed, self.find, narrow(db="shop"))
        self.assertIn("speaks mysql", str(error))
        self.assertRaises(NotServed, self.find, narrow(db="odd"))
        self.context.tunnels = None
        self.assertRaises(NotServed, self.find, narrow(db="orders"))

    def test_inside(self) -> None:
        """The certificate's user and database count; who says others is refused."""
        wide, one = narrow(db="orders"), narrow(db="orders", db_user="app", db_name="live")
        self.assertEqual(inside(wide, "bob", "x"), ("bob", "x"))
        self.assertEqual(inside(wide, "bob", None), ("bob", "bob"))
        self.assertEqual(inside(one, "app", None), ("app", "live"))
        self.assertEqual(inside(one, "app", "live"), ("app", "live"))
        error = self.assertRaises(StartupRefused, inside, one, "bob", "live")
        self.assertEqual(str(error), "this login is for the user app, not for bob")
        error = self.assertRaises(StartupRefused, inside, one, "app", "x")
        self.assertEqual(str(error), "this login is for the database live, not for x")

    def test_asked(self) -> None:
        """Roles decide about user and database in there; the agent is told who, and for what."""
        alice = member("alice")
        found = ask_database(self.context, alice, ORDERS, "app", "live", {"key": "00"})
        wanted = Target(
            kind="db", name="orders", labels={"env": "prod"}, db_user="app", db_name="live"
        )
        self.assertEqual(self.cluster.asked, [(alice, wanted, "192.0.2.7")])
        (reach,) = self.tunnels.reaches
        self.assertIs(found.reach, reach)
        self.assertEqual((found.target, found.limits), ("db/orders", self.cluster.decision))
        self.assertEqual(
            reach.asked,
            Asked(
                kind="db",
                name="orders",
                user="alice",
                certificate=b"der",
                client="192.0.2.7:40000",
                cluster="prod",
                listener="web",
                route="test",
                trace=self.context.trace,
                details={"db_user": "app", "db_name": "live", "key": "00"},
            ),
        )
        self.assertEqual(reach.asked, found.asked)

    def test_denied(self) -> None:
        """Who may not is told why; nobody is asked."""
        self.cluster.decision = Decision(False, "no role allows it")
        self.context.peer = UNIXAddress(None)
        ask: tuple[Any, ...] = (self.context, member("alice"), ORDERS, "app", "live", {})
        error = self.assertRaises(TargetDenied, ask_database, *ask)
        self.assertEqual(str(error), "alice may not reach database orders: no role allows it")
        self.assertEqual(self.tunnels.reaches, [])
        self.cluster.decision = Decision(True, "a role")
        self.assertEqual(ask_database(*ask).asked.client, "")
