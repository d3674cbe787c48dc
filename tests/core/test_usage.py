"""Connections by listener, minute by minute."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.ledger import Row, Use
from tlsgate.core.usage import LISTENERS, MINUTES, Usage


def came(count: int, listener: str = "ssh") -> Row:
    """So many new ones."""
    use = Use("user", "alice", listener, "raw")
    return Row(use=use, first=0.0, last=0.0, count=count)


class UsageTests(SynchronousTestCase):
    """Tests for `Usage`."""

    def test_series(self) -> None:
        """A minute has who was there when it began and who came in it."""
        usage = Usage()
        usage.note([came(2)], {"ssh": 2, "web": 1}, 0.0)
        usage.note([came(1), came(-1)], {"ssh": 3}, 30.0)
        usage.note([], {"ssh": 1}, 60.0)
        usage.note([came(4)], {}, 185.0)
        self.assertEqual(usage.series(4, 185.0), {"ssh": [3, 3, 0, 4], "web": [0, 0, 0, 0]})
        self.assertEqual(usage.series(3, 130.0)["ssh"], [3, 3, 0])
        self.assertEqual(usage.series(1, 60.0), {"ssh": [3]})

    def test_a_clock_that_was_ahead(self) -> None:
        """Minutes that are to come again are forgotten."""
        usage = Usage()
        usage.note([came(7)], {"ssh": 7}, 86400.0)
        usage.note([came(1)], {"ssh": 1}, 60.0)
        self.assertEqual(usage.told(24), {})
        self.assertEqual(usage.series(1, 60.0), {"ssh": [1]})

    def test_kept(self) -> None:
        """An hour comes back as it was; what another version has written is left out."""
        usage = Usage()
        for minute in (59, 60, 119, 120):
            usage.note([came(minute)], {"ssh": 1}, minute * 60.0)
        again = Usage()
        for hour in (0, 1, 2):
            again.take(usage.told(hour))
        self.assertEqual(list(usage.told(1)), ["60", "119"])
        self.assertEqual(again.series(90, 7200.0), usage.series(90, 7200.0))
        again.take({"x": {}, "5": {"ssh": [1]}, "6": {"ssh": None}, "7": None})
        self.assertEqual(again.series(90, 7200.0), usage.series(90, 7200.0))

    def test_bounds(self) -> None:
        """A day is remembered, and so many listeners."""
        usage = Usage()
        usage.note([came(1)], {}, 0.0)
        usage.note([], {f"l{number}": 1 for number in range(LISTENERS + 5)}, MINUTES * 60.0)
        self.assertEqual(usage.told(0), {})
        self.assertEqual(len(usage.series(1, MINUTES * 60.0)), LISTENERS)
