"""Tests for `tlsgate.auth.moves`."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import Cluster
from tlsgate.auth import moves
from tlsgate.auth.opaque import pack
from tlsgate.core.keeping import ANY, Put
from tlsgate.core.moves import Advice
from tlsgate.errors import StoreFailed

ROW = {
    "name": "db1",
    "roles": ["node"],
    "version": "1.0.0",
    "hostname": "box",
    "listener": "tunnel",
    "transport": "tls",
    "address": "192.0.2.7:1",
    "worker": "0",
    "since": 1.0,
    "streams": 1,
    "gateway": "gw",
    "last_seen": 2.0,
}


class MovesTests(SynchronousTestCase):
    """The advice that is kept, and what gateways say came of it."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.store = self.cluster.parts.store

    def test_advice(self) -> None:
        """What is not said stays as it was; each word has a number of its own."""
        now = self.cluster.run
        self.assertEqual(now(moves.current(self.store)), Advice())
        first = now(moves.advise(self.store, percent=10, labels={"env": "dev"}))
        self.assertEqual(first, Advice(percent=10, labels={"env": "dev"}, number=1))
        second = now(moves.advise(self.store, paused=True))
        self.assertEqual(second, Advice(percent=10, labels={"env": "dev"}, paused=True, number=2))
        third = now(moves.advise(self.store, percent=100, labels={}))
        self.assertEqual(third, Advice(number=3))
        self.assertEqual(now(moves.current(self.store)), third)

    def test_odd(self) -> None:
        """What cannot be read is no advice, and says so."""
        self.cluster.run(self.store.commit([Put(moves.KEY, pack({"percent": "all"}), ANY)]))
        self.failureResultOf(Deferred.fromCoroutine(moves.current(self.store)), StoreFailed)

    def test_rows(self) -> None:
        """A session's state, an older gateway's silence, and an agent that is nowhere."""
        told = {**ROW, "should": "web", "move": "old", "why": "it waits for its turn"}
        away = {**ROW, "gateway": None}
        rows = [moves.row_of(one) for one in (told, ROW, away)]
        states = [(one["should"], one["state"], one["why"]) for one in rows]
        self.assertEqual(
            states,
            [
                ("web", "old", "it waits for its turn"),
                ("", "", ""),
                ("", "away", "no gateway has a tunnel of it"),
            ],
        )
        judged = moves.agent_rows((told, ROW))
        self.assertEqual([(one.name, one.state) for one in judged], [("db1", "old")] * 2)
        self.assertEqual(judged[0].why, "it waits for its turn")
        counts = {"moved": 0, "moving": 0, "old": 1, "cannot": 0, "away": 1, "unknown": 1}
        self.assertEqual(moves.counted(rows), counts)
