"""Tests for `tlsgate.service.keptoffers`."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.gateside import Time, db, make_session, node
from tlsgate.service.keptoffers import FILE, KeptOffers
from tlsgate.tunnel.agents import Agents


class KeptOffersTests(SynchronousTestCase):
    """Tests for `KeptOffers`."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.time, self.clock = Time(), Clock()
        self.agents = Agents(self.clock.seconds)
        self.kept = KeptOffers(self.folder, self.agents, self.clock)

    def come(self) -> None:
        self.agents.add(make_session(self.time, "db1", node("db1", env="prod"), db("orders")))
        self.kept.changed()

    def expected(self) -> list[str]:
        """What the next process takes for offered."""
        agents = Agents(self.clock.seconds)
        KeptOffers(self.folder, agents, self.clock).begin()
        return [one.name for kind in ("node", "db") for one in agents.offers(kind)]

    def test_for_the_next_one(self) -> None:
        """What is offered is written a moment later, and the next process expects it."""
        self.assertEqual(self.expected(), [])
        self.come()
        self.kept.changed()
        self.assertEqual(self.expected(), [])
        self.clock.advance(1)
        self.assertEqual(self.expected(), ["db1", "orders"])
        self.assertEqual((self.folder / FILE).stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_only_what_is_new(self) -> None:
        """The same once more is not written."""
        self.come()
        self.clock.advance(1)
        (self.folder / FILE).unlink()
        self.kept.changed()
        self.clock.advance(1)
        self.assertFalse((self.folder / FILE).exists())

    def test_stop(self) -> None:
        """What is due is written at once; agents that leave then change nothing."""
        self.come()
        self.kept.stop()
        [session] = self.agents
        self.agents.remove(session)
        self.kept.changed()
        self.kept.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.expected(), ["db1", "orders"])

    def test_nothing_of_ours(self) -> None:
        """A file that cannot be read is none."""
        for wire in (b"", b"{", b"7", b"[7]", b"\xff", json.dumps([{"kind": "db"}]).encode()):
            (self.folder / FILE).write_bytes(wire)
            self.assertEqual(self.expected(), [])

    def test_no_room(self) -> None:
        """Where it cannot be written that is told, and tried with the next change."""
        self.come()
        self.folder.rmdir()
        self.clock.advance(1)
        self.folder.mkdir()
        self.kept.changed()
        self.clock.advance(1)
        self.assertEqual(self.expected(), ["db1", "orders"])
