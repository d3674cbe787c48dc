"""Tests for `tlsgate.service.modeclock`."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.service.modeclock import FILE, ModeClock


class ModeClockTests(SynchronousTestCase):
    """Tests for `ModeClock`."""

    def setUp(self) -> None:
        """A process that has heard of no mode yet."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.steady, self.wall = Clock(), Clock()
        self.wall.advance(1_000_000)
        self.made = self.process()

    def process(self) -> ModeClock:
        """One more in this place."""
        return ModeClock(self.folder, self.steady.seconds, self.wall.seconds)

    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.steady.advance(seconds)
        self.wall.advance(seconds)

    def test_age(self) -> None:
        """The first mode has always been; another one counts from when it is told."""
        self.assertIsNone(self.made.age)
        self.made.told("separate")
        self.wait(5)
        self.assertIsNone(self.made.age)
        self.made.told("multiplex")
        self.wait(5)
        self.made.told("multiplex")
        self.assertEqual(self.made.age, 5)

    def test_another_process(self) -> None:
        """What an earlier process told its clients is known to the one in its place."""
        self.made.told("separate")
        self.made.told("multiplex")
        self.wait(5)
        again = self.process()
        again.told("multiplex")
        self.assertEqual(again.age, 5)
        changed = self.process()
        changed.told("separate")  # while no process was there
        self.assertEqual(changed.age, 0)

    def test_never_another(self) -> None:
        """A mode that has always been has always been for the next process too."""
        self.made.told("separate")
        again = self.process()
        again.told("separate")
        self.assertIsNone(again.age)

    def test_the_clock_jumps(self) -> None:
        """The wall clock counts over a restart alone, and never makes an age less than none."""
        self.made.told("separate")
        self.made.told("multiplex")
        self.wall.rightNow -= 500_000
        self.wait(5)
        self.assertEqual(self.made.age, 5)
        again = self.process()
        again.told("multiplex")
        self.assertEqual(again.age, 0)
        self.wall.rightNow += 500_000
        self.wait(30)
        self.assertEqual(again.age, 30)

    def test_unreadable(self) -> None:
        """A file that is none of ours is written anew; one that cannot be written is said."""
        for text in ("", "[]", '{"mode": "x", "since": 1}', '{"mode": "separate", "since": "a"}'):
            (self.folder / FILE).write_text(text)
            made = self.process()
            made.told("separate")
            self.assertIsNone(made.age)
            self.assertIn('"since": null', (self.folder / FILE).read_text())
        gone = ModeClock(self.folder / "missing", self.steady.seconds, self.wall.seconds)
        gone.told("separate")
        gone.told("multiplex")
        self.assertEqual(gone.age, 0)
