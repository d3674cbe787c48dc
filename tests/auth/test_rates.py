"""Tests for `tlsgate.auth.rates`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth import rates
from tlsgate.auth.rates import Rates


class RatesTests(SynchronousTestCase):
    """Tests for `Rates`."""

    def test_taken(self) -> None:
        """One takes what there is, and gets more with time, up to the most."""
        found = Rates(10, 2.0)
        self.assertEqual([found.take("a", 7, 0.0), found.take("a", 7, 0.0)], [7, 3])
        self.assertEqual([found.take("a", 7, 1.0), found.take("b", 7, 1.0)], [2, 7])
        self.assertEqual(found.take("a", 99, 1000.0), 10)
        self.assertEqual(found.take("a", 1, 999.0), 0)

    def test_bounded(self) -> None:
        """Who has not asked for longest is forgotten."""
        self.patch(rates, "NAMES", 2)
        found = Rates(1, 0.0)
        for name in ("a", "b", "a", "c"):
            found.take(name, 1, 0.0)
        self.assertEqual([found.take(name, 1, 0.0) for name in ("a", "c", "b")], [0, 0, 1])
