"""Tests for what `tests.bench.identity` computes; its timings are nobody's test."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.house import peak_kib
from tests.bench.identity import Figure


class FigureTests(SynchronousTestCase):
    """Tests for `Figure`."""

    def test_verdicts(self) -> None:
        """A bound is kept from its own side, and the bound itself is good."""
        for value, least, want in (
            (2.0, False, "reached"),
            (2.01, False, "missed"),
            (2.0, True, "reached"),
            (1.99, True, "missed"),
        ):
            found = Figure(what="x", value=value, unit="s", reach=2.0, least=least)
            self.assertEqual((value, least, found.verdict), (value, least, want))

    def test_rows(self) -> None:
        """A figure without a bound has no verdict."""
        self.assertEqual(
            Figure(what="x", value=12.34, unit="ms").row(), ("x", "12.3", "ms", "", "")
        )
        self.assertEqual(
            Figure(what="y", value=0.9, unit="", reach=0.85, least=True).row(),
            ("y", "0.900", "", ">= 0.85", "reached"),
        )


class PeakTests(SynchronousTestCase):
    """Tests for `peak_kib`."""

    def test_a_process(self) -> None:
        """Of one that runs it is something, of one that has ended nothing."""
        self.assertGreater(peak_kib(os.getpid()), 1000)
        self.assertEqual(peak_kib(2**22 + 1), 0)
