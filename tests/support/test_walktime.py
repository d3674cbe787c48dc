"""Tests for `tests.support.walktime`."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.support.walktime import Moment, Stopwatch, alone, moment


class AloneTests(SynchronousTestCase):
    """Tests for `alone`."""

    def test_nobody_else(self) -> None:
        """Where all that was done is ours, nothing is taken off."""
        self.assertEqual(alone(Moment(0, 50, 5), Moment(100, 170, 125), 2), 100)

    def test_somebody_else(self) -> None:
        """One who has had one core of two all the time has taken half of it."""
        self.assertEqual(alone(Moment(0, 0, 0), Moment(100, 180, 80), 2), 50)

    def test_clocks_that_disagree(self) -> None:
        """Ours cannot be more than all: nothing is put on."""
        self.assertEqual(alone(Moment(0, 0, 0), Moment(100, 80, 81), 2), 100)


class MomentTests(SynchronousTestCase):
    """Tests for `moment` and `Stopwatch`."""

    def test_it_goes_on(self) -> None:
        """Each of the three clocks goes forward; a process that is named has its time in ours."""
        first, second = moment(), moment([os.getpid()])
        self.assertLessEqual(first.now, second.now)
        self.assertLessEqual(first.busy, second.busy)
        self.assertLess(first.own, second.own)

    def test_stopwatch(self) -> None:
        """It has hardly begun."""
        self.assertLess(Stopwatch().alone(), 5)
