"""Tests for `tlsgate.tunnel.rights`."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.gateside import claims, db, hello, node
from tlsgate.core.greetings import AgentHello
from tlsgate.errors import Denied
from tlsgate.tunnel.rights import check_hello


class RightsTests(SynchronousTestCase):
    """Tests for `check_hello`: S41."""

    def refused(self, said: AgentHello, why: str, *roles: str) -> None:
        error = self.assertRaises(Denied, check_hello, claims("db1", *roles), said)
        self.assertIn(why, str(error))

    def test_own(self) -> None:
        """An agent offers itself, and what the roles of its certificate serve."""
        check_hello(claims(), hello())
        check_hello(claims("db1", "node", "db", "auth"), hello("db1", node(), db("orders")))

    def test_another(self) -> None:
        """Nobody serves under a name that is not in the certificate."""
        self.refused(hello("db2"), "says that it is agent 'db2'")
        self.refused(hello("db1", node("db2")), "offers node 'db2', which is not its own name")
        self.refused(evolve(hello(), cluster="other"), "says that it is cluster 'other'")

    def test_roles(self) -> None:
        """Nor as something that the certificate does not say."""
        self.refused(hello("db1", db("orders")), "does not say that it is a db")
        self.refused(evolve(hello(), roles=("gateway",)), "an agent is no gateway", "gateway")
        self.refused(evolve(hello(), roles=()), "no role")
        said = evolve(hello("db1", db("orders")), roles=("node",))
        self.refused(said, "offers db 'orders' and is no db", "node", "db")
