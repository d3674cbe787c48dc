"""Tests for `tlsgate.tunnel.budget`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.tunnel.budget import PERIOD_BYTES, Budget


class BudgetTests(SynchronousTestCase):
    """Tests for `Budget`."""

    def test_storm(self) -> None:
        """A second's worth comes at once, then one by one, and who is late tries later."""
        budget = Budget(rate=4.0, longest_seconds=0.5)
        waits = [budget.turn(100.0) for _ in range(9)]
        self.assertEqual(waits, [0.0, 0.0, 0.0, 0.0, 0.0, 0.25, 0.5, None, None])

    def test_what_one_says(self) -> None:
        """Each agent has a share of its own, anew in each period; nothing stays of the silent."""
        budget = Budget()
        self.assertTrue(budget.spend(0.0, "a", PERIOD_BYTES))
        self.assertFalse(budget.spend(1.0, "a", 1))
        self.assertTrue(budget.spend(14.0, "b", 1))
        self.assertTrue(budget.spend(15.0, "a", 1))
        self.assertEqual(budget._said, {"a": 1})

    def test_pause(self) -> None:
        """A long pause saves up no more than a second's worth."""
        budget = Budget(rate=2.0, longest_seconds=0.0)
        budget.turn(0.0)
        waits = [budget.turn(1000.0) for _ in range(4)]
        self.assertEqual(waits, [0.0, 0.0, 0.0, None])
        self.assertEqual(budget.turn(1000.5), 0.0)
