"""Tests for `tlsgate.service.querytrail`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tlsgate.auth.verbs_agent_events import AgentQueries
from tlsgate.interfaces import IAudit
from tlsgate.service import telling
from tlsgate.service.querytrail import TEXT, QueryTrail
from tlsgate.service.telling import GATHER_SECONDS

FIELDS = {
    "user": "alice",
    "client": "192.0.2.7:4711",
    "trace": "1234",
    "db_service": "orders",
    "db_protocol": "postgres",
    "db_user": "app",
    "db_name": "shop",
    "db_query": "select 1",
    "db_query_cut": False,
    "db_query_kind": "simple",
    "db_query_statement": "",
    "db_query_parameters_count": None,
}


@implementer(IAudit)
class Kept:
    """An agent's own trail."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, object]]] = []

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        """Keep it."""
        self.events.append((event, fields))


class QueryTrailTests(SynchronousTestCase):
    """Tests for `QueryTrail`."""

    def setUp(self) -> None:
        """An auth service that takes everything."""
        self.clock = Clock()
        self.bodies: list[Any] = []
        self.kept = Kept()
        self.trail = QueryTrail(self.kept, self.tell, self.clock, lambda: 1000.5)

    async def tell(self, method: str, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Take all of it."""
        self.assertEqual((method, path), ("POST", "/v1/agent/queries"))
        self.bodies.append(body)
        return 200, {"taken": 1000}

    def test_s44_odd_gateway(self) -> None:
        """What a gateway says of a client cannot have a part refused that others stand in."""
        odd = {**FIELDS, "trace": "\u2028", "client": "\ud800" * 256}
        self.trail.emit("db.session.query", odd)
        self.clock.advance(GATHER_SECONDS)
        query = AgentQueries.model_validate_json(json.dumps(self.bodies[0])).queries[0]
        self.assertEqual((query.trace, len(query.client)), (r"'\u2028'", 256))

    def test_interface(self) -> None:
        """It is a trail as any other."""
        self.assertTrue(verifyObject(IAudit, self.trail))

    def test_told(self) -> None:
        """A query is in both, other events in the agent's own only."""
        self.trail.emit("db.session.query", {**FIELDS, "route": "db", "target": "db/orders"})
        self.trail.emit("agent.end", {})
        self.assertEqual(
            [event for event, _ in self.kept.events], ["db.session.query", "agent.end"]
        )
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual(self.bodies, [{"queries": [{**FIELDS, "at": 1000.5}], "lost": 0}])

    def test_cut(self) -> None:
        """Of a long text the cluster gets the beginning."""
        self.trail.emit("db.session.query", {**FIELDS, "db_query": "x" * (TEXT + 1)})
        self.clock.advance(GATHER_SECONDS)
        (told,) = self.bodies[0]["queries"]
        self.assertEqual((told["db_query"], told["db_query_cut"]), ("x" * TEXT, True))

    def test_many(self) -> None:
        """What there is no room for is a number."""
        self.patch(telling, "KEPT", 2)
        for _ in range(5):
            self.trail.emit("db.session.query", FIELDS)
        self.assertEqual(len(self.kept.events), 5)
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual([(len(body["queries"]), body["lost"]) for body in self.bodies], [(2, 3)])

    def test_stopped(self) -> None:
        """Nothing is told after the end."""
        self.trail.emit("db.session.query", FIELDS)
        self.trail.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
