"""Tests for `tlsgate.protocols.apps.line`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.apps.rig import Target
from tlsgate.net.poller import READ, WRITE
from tlsgate.protocols.apps.line import Line
from tlsgate.tls.fast import ENDED, RECORD, Slab


class LineTests(SynchronousTestCase):
    """Bytes to a target and from it."""

    def setUp(self) -> None:
        self.heard: list[object] = []
        self.target = Target()
        self.line = Line(self.target, Slab(16 * RECORD))
        self.line.start(self)

    def received(self, data: bytes) -> None:
        """The line calls this."""
        self.heard.append(data)

    def poured(self, slab: Slab, count: int) -> int:
        """The line calls this, where it pours."""
        self.heard.append(count)
        return 0

    def drained(self) -> None:
        """The line calls this."""
        self.heard.append("drained")

    def gone(self, why: str) -> None:
        """The line calls this."""
        self.heard.append(why)

    def test_both_ways(self) -> None:
        """What is written leaves at once; what comes is told, and its end."""
        self.assertTrue(self.line.write(b"one"))
        self.assertEqual(self.target.take(), b"one")
        self.target.says(b"two", end=ENDED)
        self.assertEqual(self.heard, [b"two", "ended"])
        self.assertEqual((self.target.fake.closed, self.line.is_open), (True, False))
        self.line.write(b"three")
        self.assertEqual(self.target.take(), b"")

    def test_full(self) -> None:
        """Who writes more than is taken hears so, and hears when it has left."""
        self.target.room = 10
        self.assertTrue(self.line.write(bytes(100)))
        self.assertFalse(self.line.write(bytes(100_000)))
        self.assertEqual(self.target.fake.mask, READ | WRITE)
        self.target.takes(None)
        self.assertEqual((len(self.target.got), self.heard), (100_100, ["drained"]))
        self.assertEqual(self.target.fake.mask, READ)

    def test_paused(self) -> None:
        """Nothing is read that nobody wants."""
        self.line.pause()
        self.target.says(b"one")
        self.assertEqual(self.heard, [])
        self.line.resume()
        self.target.wake()
        self.assertEqual(self.heard, [b"one"])

    def test_broken(self) -> None:
        """A line that breaks while it is written tells so in another turn, and once."""
        self.target.breaks()
        self.assertEqual(self.heard, ["broken"])
        target = self.target = Target()
        self.line = Line(target, Slab(16 * RECORD))
        self.heard.clear()
        self.line.start(self)
        target._end = -3
        self.line.write(b"one")
        self.assertEqual(self.heard, [])
        target.fake.on_ready(WRITE)
        self.assertEqual(self.heard, ["broken"])

    def test_released(self) -> None:
        """Who gives the end up hears no more of it."""
        self.assertIs(self.line.release(), self.target)
        self.assertEqual(self.target.fake.mask, 0)
        self.target.fake.on_ready(READ)
        self.line.close()
        self.assertEqual((self.heard, self.target.fake.closed), ([], False))
