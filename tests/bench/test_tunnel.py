"""Tests for `tests.bench.tunnel`: from the load's answers to figures."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.cases import Answer
from tests.bench.tunnel import CASES, median, rate_figures, ratio, wait_figures
from tests.bench.tunnelhouse import Way


def answer(**keys: float) -> Answer:
    """What the load tells of a run of two seconds."""
    common = {"wall": 2.0, "cpu": 1.0, "count": 1000, "sent": 100 << 20, "received": 0}
    return {**common, "first": 0.001, **keys}


def way(name: str, *answers: Answer) -> Way:
    """A way whose cases have all told the same."""
    return Way(name, lambda target: {}, (1,), {case: list(answers) for case in CASES})


class FigureTests(SynchronousTestCase):
    """Tests for what is made of the answers."""

    def test_rates(self) -> None:
        """By the wall and by processor time; only one way has something to reach."""
        alone, both = way("alone", answer()), way("both", answer(cpu=0.1))
        rows = [one.row() for one in rate_figures((alone, both), both)]
        self.assertEqual(rows[0], ("one stream to the client, alone", "50.0", "MiB/s", "", ""))
        self.assertEqual(rows[1][1:3], ("100", "MiB a CPU second"))
        self.assertEqual(rows[2][3:], (">= 500", "missed"))
        self.assertEqual(rows[3][1:], ("1000", "MiB a CPU second", ">= 500", "reached"))
        self.assertEqual(rows[-2][1:], ("500", "/s", ">= 600", "missed"))
        self.assertEqual(rows[-1][1:], ("10000", "a CPU second", ">= 600", "reached"))

    def test_waits(self) -> None:
        """What the stream adds is a difference; round trips are compared within a round."""
        alone = way("alone", answer(), answer(wall=4.0))
        both = way("both", answer(wall=3.0, first=0.0025), answer(wall=6.0, first=0.0025))
        found = {one.what.strip(): one for one in wait_figures((alone, both), alone, both)}
        added = found["what the opened stream adds"]
        self.assertEqual((round(added.value, 6), added.verdict), (1.5, "missed"))
        self.assertEqual(found["64 bytes, one client, both"].value, 4500.0)

    def test_medians(self) -> None:
        """The middle of the values, and of the ratios of neighbours."""
        one = way("one", *(answer(count=count) for count in (1, 9, 30)))
        other = way("other", *(answer(count=count) for count in (1, 3, 5)))

        def count(told: Answer) -> float:
            return float(told["count"])

        self.assertEqual(median(one, "trip", count), 9.0)
        self.assertEqual(ratio(one, other, "trip", count), 3.0)
