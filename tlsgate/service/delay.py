"""How late the reactor runs what is due: the one figure that tells a blocked event loop."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IReactorTime

#: Upper bounds of the histogram, in seconds.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
#: How often the clock is asked.
PERIOD_SECONDS: Final = 0.1
#: The worst delay is that of the last one to two windows of so many beats.
WINDOW_BEATS: Final = 600


class Delay:
    """A beat, and a histogram of how late it comes.

    Args:
        clock: runs the beat.
        now: seconds of a monotonic clock; the reactor's own follows the wall.

    Attributes:
        counts: how many beats were late by at most `BUCKETS[i]`, not cumulated; the last
            place is for later ones.
        sum_seconds: of all delays.
    """

    def __init__(self, clock: IReactorTime, now: Callable[[], float] = time.monotonic) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum_seconds = 0.0
        self._clock = clock
        self._now = now
        self._beats = 0
        self._worst = self._worst_before = 0.0
        self._again()

    @property
    def worst_seconds(self) -> float:
        """The longest delay of late: see `WINDOW_BEATS`."""
        return max(self._worst, self._worst_before)

    def _again(self) -> None:
        self._due = self._now() + PERIOD_SECONDS
        self._clock.callLater(PERIOD_SECONDS, self._beat)

    def _beat(self) -> None:
        late = max(self._now() - self._due, 0.0)
        self.counts[bisect_left(BUCKETS, late)] += 1
        self.sum_seconds += late
        self._worst = max(self._worst, late)
        self._beats += 1
        if self._beats % WINDOW_BEATS == 0:
            self._worst_before, self._worst = self._worst, 0.0
        self._again()


_delays: WeakKeyDictionary[object, Delay] = WeakKeyDictionary()


def delay_of(daemon: object, clock: IReactorTime) -> Delay:
    """The measure of *daemon*; it begins with the first who asks, and outlives reloads."""
    if daemon not in _delays:
        _delays[daemon] = Delay(clock)
    return _delays[daemon]
