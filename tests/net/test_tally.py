"""Tests for `tlsgate.net.tally`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.net.tally import BUCKETS, Tally


class TallyTests(SynchronousTestCase):
    """Tests for `Tally`."""

    def test_histogram(self) -> None:
        """Each handshake is in exactly one bucket, the slow ones in the last."""
        tally = Tally()
        for seconds in (0.0005, 0.001, 0.3, 99.0):
            tally.shaken("web", seconds)
        self.assertEqual(sum(tally.handshake_seconds), 4)
        self.assertEqual(tally.handshake_seconds[0], 2)
        self.assertEqual(tally.handshake_seconds[len(BUCKETS)], 1)
        self.assertEqual(tally.handshakes["web", "ok"], 4)
