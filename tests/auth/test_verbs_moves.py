"""Tests for `tlsgate.auth.verbs_moves`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import NAME, Cluster
from tlsgate.auth import movesanswers
from tlsgate.auth.principal import Principal, gateway

PATH = "/v1/migration/agents"
AGENT = {
    "name": "db1",
    "roles": ["node"],
    "listener": "tunnel",
    "transport": "tls",
    "should": "web",
    "move": "cannot",
    "why": "port 443 is shut",
}


class MovesVerbsTests(SynchronousTestCase):
    """Who sees and says which agents move."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.edgar = self.cluster.user("edgar", "editor")
        self.alice = self.cluster.user("alice", "access")

    def ask(self, who: Principal, method: str, path: str, body: Any = None) -> Any:
        """Ask, and expect an answer."""
        reply = self.cluster.ask(who, method, path, body)
        self.assertEqual(reply.status, 200, reply.body)
        return reply.body

    def test_agents(self) -> None:
        """Each tunnel has its place, where it should be, and how far it is."""
        gate = gateway(NAME, "gw1")
        self.ask(gate, "POST", "/v1/gateway/agents", {"worker": "0", "agents": [AGENT]})
        told = self.ask(self.edgar, "GET", PATH)
        [row] = told["agents"]
        self.assertEqual(
            [row[key] for key in ("name", "gateway", "listener", "should", "state", "why")],
            ["db1", "gw1", "tunnel", "web", "cannot", "port 443 is shut"],
        )
        self.assertEqual(told["counts"]["cannot"], 1)
        self.assertEqual(told["advice"]["percent"], 100)
        movesanswers.MovingAgents.model_validate(told)

    def test_advice(self) -> None:
        """An editor gives it, and the trail says so; nobody else may see or say anything."""
        body = {"percent": 10, "labels": {"env": "dev"}}
        told = self.ask(self.edgar, "POST", PATH, body)
        self.assertEqual(told, {**body, "paused": False, "number": 1})
        self.assertEqual(self.ask(self.edgar, "GET", PATH)["advice"], told)
        [event] = [one for one in self.cluster.audit.events if one[0] == "migration.agents"]
        self.assertEqual(event[1]["labels"], "env=dev")
        for method, sent in (("GET", None), ("POST", body)):
            self.assertEqual(self.cluster.ask(self.alice, method, PATH, sent).status, 403)
        self.assertEqual(self.cluster.ask(self.edgar, "POST", PATH, {"percent": 101}).status, 400)
