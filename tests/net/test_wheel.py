"""Tests for `tlsgate.net.wheel`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.net.wheel import Wheel


class Item:
    """Waits, and remembers when it was due."""

    def __init__(self, again: float | None = None) -> None:
        self.slot = 0
        self.again = again
        self.fired: list[float] = []

    def due(self, now: float) -> float | None:
        """See `wheel.Waiting`."""
        self.fired.append(now)
        return self.again


class WheelTests(SynchronousTestCase):
    """Tests for `Wheel`."""

    def setUp(self) -> None:
        """A wheel of quarter seconds."""
        self.clock = Clock()
        self.wheel = Wheel(self.clock, 0.25)

    def pass_time(self, seconds: float) -> None:
        """Advance in small steps, as a reactor would."""
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)

    def test_never_early_and_at_most_one_tick_late(self) -> None:
        """Whatever the wait, it ends within one tick after its time."""
        for seconds in (0.01, 0.25, 0.3, 1.0, 5.0):
            item = Item()
            began = self.clock.seconds()
            self.wheel.arm(item, seconds)
            self.pass_time(seconds + 0.6)
            (fired,) = item.fired
            self.assertGreaterEqual(fired - began, seconds - 0.001)
            self.assertLessEqual(fired - began, seconds + 0.5)

    def test_dropped(self) -> None:
        """A dropped item is not called, and the wheel stops turning."""
        item = Item()
        self.wheel.arm(item, 1)
        self.wheel.drop(item)
        self.pass_time(2)
        self.assertEqual(item.fired, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_armed_again(self) -> None:
        """Arming an item that waits moves it."""
        item = Item()
        self.wheel.arm(item, 1)
        self.wheel.arm(item, 3)
        self.pass_time(2)
        self.assertEqual(item.fired, [])
        self.pass_time(2)
        self.assertEqual(len(item.fired), 1)

    def test_asks_for_more(self) -> None:
        """What `due` gives is the next wait."""
        item = Item(again=1.0)
        self.wheel.arm(item, 1.0)
        self.pass_time(5.1)
        self.assertIn(len(item.fired), (4, 5))

    def test_one_drops_another_of_the_same_tick(self) -> None:
        """An item may drop its neighbours while they are due."""
        items = [Item() for _ in range(5)]

        def drop_all(now: float) -> None:
            for item in items:
                self.wheel.drop(item)

        for item in items:
            item.due = drop_all  # type: ignore[method-assign]
            self.wheel.arm(item, 1)
        self.pass_time(2)
        self.assertEqual(self.wheel.waiting(), 0)

    def test_a_failure_is_logged_and_harms_nobody(self) -> None:
        """The others of the tick are still called (S58)."""
        bad, good = Item(), Item()
        bad.due = lambda now: 1 // 0  # type: ignore[method-assign]
        for item in (bad, good):
            self.wheel.arm(item, 1)
        self.pass_time(2)
        self.assertEqual(len(good.fired), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stop(self) -> None:
        """A stopped wheel has no timer left."""
        self.wheel.arm(Item(), 1)
        self.wheel.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.wheel.waiting(), 0)
