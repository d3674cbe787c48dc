"""Memory goes back when a crowd has left, or has come, and not for every visitor."""

from __future__ import annotations

import gc

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.service import memory
from tlsgate.service.memory import CROWD, LOOK_SECONDS, Trimmer


class TrimmerTests(SynchronousTestCase):
    """Tests for `Trimmer`."""

    def setUp(self) -> None:
        self.active = 0
        self.trims = 0
        self.clock = Clock()
        self.trimmer = Trimmer(self.clock, lambda: self.active, self.trim)
        self.trimmer.start()

    def trim(self) -> None:
        """Count it."""
        self.trims += 1

    def see(self, active: int) -> None:
        """So many are here at the next look."""
        self.active = active
        self.clock.advance(LOOK_SECONDS)

    def test_after_a_crowd(self) -> None:
        """Half of a crowd has gone: once; the next time when half of the rest has."""
        for active in (2000, 1900, 1500, 1001):
            self.see(active)
        self.assertEqual(self.trims, 0)
        self.see(1000)
        self.see(990)
        self.assertEqual(self.trims, 1)
        self.see(490)
        self.assertEqual(self.trims, 2)

    def test_before_a_crowd(self) -> None:
        """A crowd has come and stays: once it is quiet."""
        for active in (300, 900, 1400):
            self.see(active)
        self.assertEqual(self.trims, 0)
        self.see(1401)
        self.see(1402)
        self.assertEqual(self.trims, 1)
        self.see(1402 + CROWD)
        self.see(1402 + CROWD)
        self.assertEqual(self.trims, 2)

    def test_few_are_no_crowd(self) -> None:
        """A handful that goes is not worth a collection."""
        self.see(CROWD - 1)
        self.see(0)
        self.assertEqual(self.trims, 0)

    def test_stop(self) -> None:
        """After the end nobody looks."""
        self.trimmer.stop()
        self.trimmer.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SettleTests(SynchronousTestCase):
    """Tests for `settle` and `trim`."""

    def test_s57_settle_freezes(self) -> None:
        """What lives at the start is out of the collector's sight; it stays on."""
        self.addCleanup(gc.unfreeze)
        memory.settle()
        self.assertGreater(gc.get_freeze_count(), 1000)
        self.assertTrue(gc.isenabled())

    def test_trim_collects(self) -> None:
        """Cycles go, whatever the C library offers."""
        cycle: list[object] = []
        cycle.append(cycle)
        number = id(cycle)
        del cycle
        memory.trim()
        self.assertNotIn(number, [id(one) for one in gc.get_objects() if type(one) is list])
