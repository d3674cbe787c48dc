"""Tests for `tlsgate.core.outcome`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.outcome import More


class MoreTests(SynchronousTestCase):
    """Tests for `More`."""

    def test_value(self) -> None:
        """'Not yet' is a value like any other, for one byte unless said otherwise."""
        self.assertEqual(More(), More(1))
        self.assertNotEqual(More(2), More(1))
