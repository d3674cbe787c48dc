"""Tests for `tlsgate.tunnel.agents`."""

from __future__ import annotations

import gc
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.gateside import FakeStream, Time, db, make_session, node
from tlsgate.tunnel.agents import Agents
from tlsgate.tunnel.session import Session


class AgentsTests(SynchronousTestCase):
    """Tests for `Agents`."""

    def setUp(self) -> None:
        self.time = Time()
        self.agents = Agents()
        self.number = 0

    def add(self, name: str, *offers: Any) -> Session:
        self.number += 1
        session = make_session(self.time, name, *offers, number=self.number)
        self.agents.add(session)
        return session

    def test_offers(self) -> None:
        """What is offered is told by name, and found one by one."""
        self.add("b", node("b", env="prod"))
        self.add("a")
        self.assertEqual(self.agents.offers("node"), [node("a"), node("b", env="prod")])
        self.assertEqual(self.agents.offer("node", "b"), node("b", env="prod"))
        for kind, name in (("node", "c"), ("db", "a"), ("mainframe", "a")):
            self.assertEqual(self.agents.offer(kind, name), None)
            self.assertEqual(self.agents.pick(kind, name), None)

    def test_newest_wins(self) -> None:
        """The newer session of an agent serves; the older one is still there to drain."""
        older = self.add("a", node("a", age="old"))
        newer = make_session(self.time, "a", node("a", age="new"), number=7)
        self.assertEqual(self.agents.add(newer), [older])
        self.assertEqual(self.agents.offers("node"), [node("a", age="new")])
        self.assertIs(self.agents.pick("node", "a"), newer)
        self.assertIs(self.agents.serving("a"), newer)
        self.assertIs(self.agents.find("sid1"), older)
        self.agents.offered(older, (node("a", age="older"),))
        self.agents.remove(older)
        self.assertEqual(self.agents.offers("node"), [node("a", age="new")])
        self.assertEqual((self.agents.find("sid1"), len(self.agents)), (None, 1))

    def test_held(self) -> None:
        """A newer session waits; it serves when it is let, or when the older one rests."""
        older = self.add("a", node("a", age="old"))
        newer = make_session(self.time, "a", node("a", age="new"), number=7)
        self.assertEqual((self.agents.hold(newer), self.agents.held(newer)), ([], True))
        self.assertEqual(self.agents.offers("node"), [node("a", age="old")])
        newest = make_session(self.time, "a", node("a", age="newest"), number=8)
        self.assertEqual(self.agents.hold(newest), [newer])
        self.assertEqual((self.agents.held(newer), self.agents.held(newest)), (False, True))
        self.assertEqual(self.agents.remove(older), [])
        self.assertEqual(self.agents.offers("node"), [node("a", age="newest")])
        self.agents.hold(newer)
        self.assertEqual(self.agents.rest(newer), [])
        self.assertEqual(self.agents.held(newer), False)
        self.assertIs(self.agents.serving("a"), newest)

    def test_held_for_two_places(self) -> None:
        """Who takes one place takes the other, too; who had that one is named."""
        first = self.add("a", node("a"))
        other = self.add("a", db("orders"))
        both = make_session(self.time, "a", node("a"), db("orders"), number=8)
        self.assertEqual(self.agents.hold(both), [])
        self.assertEqual(self.agents.rest(first), [other])
        self.assertIs(self.agents.serving("a", "db"), both)

    def test_one_name_in_two_roles(self) -> None:
        """S41: a database's host that is called like a node does not take its place."""
        self.add("a", node("a"))
        other = make_session(self.time, "a", db("orders"), number=7)
        self.assertEqual(self.agents.add(other), [])
        self.assertEqual(self.agents.offers("node"), [node("a")])
        self.assertEqual(self.agents.offers("db"), [db("orders")])
        both = make_session(self.time, "a", node("a"), db("b"), number=8)
        self.assertEqual([one.id for one in self.agents.add(both)], ["sid7", "sid1"])
        self.assertEqual(self.agents.offers("db"), [db("b")])
        self.assertIs(self.agents.serving("a", "db"), both)

    def test_inventory(self) -> None:
        """What an agent offers anew takes the place of what it did."""
        session = self.add("a", db("one"), db("two"))
        self.agents.offered(session, (db("two"), db("three")))
        self.assertEqual([one.name for one in self.agents.offers("db")], ["three", "two"])

    def test_pick(self) -> None:
        """Among several that offer the same, one that answers, is free, and has least to do."""
        sessions = [self.add(name, db("orders")) for name in ("a", "b", "c")]
        self.assertEqual(self.agents.offers("db"), [db("orders")])
        for session in sessions[1:]:
            session.pool.added(FakeStream())
            session.pool.added(FakeStream())
        self.assertIs(self.agents.pick("db", "orders"), sessions[1])

        class Taker:
            def given(self, stream: Any) -> None: ...
            def missed(self, error: Any) -> None: ...

        sessions[1].pool.take(Taker())
        self.assertIs(self.agents.pick("db", "orders"), sessions[2])
        sessions[2].start()
        self.time.pass_by(16)
        self.assertEqual(sessions[2].healthy, False)
        self.assertIs(self.agents.pick("db", "orders"), sessions[1])
        self.assertIs(self.agents.pick("db", "orders", "c"), sessions[2])
        self.assertIsNone(self.agents.pick("db", "orders", "d"))
        for session in sessions:
            self.agents.remove(session)
        self.assertEqual(self.agents.offers("db"), [])

    def test_nothing_stays(self) -> None:
        """A thousand agents that come under new names and go leave nothing behind."""

        def weight() -> list[int]:
            gc.collect()
            tables = (self.agents._by_id, self.agents._serving, self.agents._offers["node"])
            return [len(one) for one in tables] + [sys.getsizeof(one) // 4096 for one in tables]

        self.agents.remove(self.add("first"))
        before = weight()
        for number in range(1000):
            session = self.add(f"agent{number}")
            if number % 3 == 0:
                self.agents.rest(session)
            self.agents.remove(session)
            self.agents.remove(session)
        self.assertEqual(weight(), before)
        self.assertEqual(list(self.agents), [])

    def test_expected(self) -> None:
        """What was offered before is offered until it comes, and its own word counts then."""
        self.agents.expected.expect([node("b", env="old"), node("c")])
        self.assertEqual(self.agents.offers("node"), [node("b", env="old"), node("c")])
        self.assertEqual(self.agents.offer("node", "b"), node("b", env="old"))
        self.add("b", node("b", env="new"))
        self.assertEqual(self.agents.offers("node"), [node("b", env="new"), node("c")])
        self.assertEqual(self.agents.offer("node", "b"), node("b", env="new"))
        self.assertEqual(self.agents.expected.offers("node"), [node("c")])
