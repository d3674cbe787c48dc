"""Tests for `tlsgate.protocols.budget`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.protocols.budget import FRAMES, SECONDS, Budget


class BudgetTests(SynchronousTestCase):
    """Frames without a use."""

    def test_spent(self) -> None:
        """So many are borne, one more is not; later on they are again (S32)."""
        clock = Clock()
        budget = Budget(clock)
        self.assertTrue(budget.spend(FRAMES))
        self.assertFalse(budget.spend())
        clock.advance(SECONDS + 1)
        self.assertTrue(budget.spend())
