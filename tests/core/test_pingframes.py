"""Tests for `tlsgate.core.pingframes`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.pingframes import LIMIT, PING, Unframe, check, frame
from tlsgate.errors import BadBytes


class FrameTests(SynchronousTestCase):
    """Tests for `frame` and `check`."""

    def test_frame(self) -> None:
        """A length, and the message; an empty write is no ping."""
        self.assertEqual(frame(b"ab"), b"\0\0\0\2ab")
        self.assertEqual(frame(b""), b"")
        self.assertEqual(PING, b"\0\0\0\0")

    def test_limit(self) -> None:
        """The longest message is taken, and one byte more is not."""
        self.assertEqual((check(0), check(LIMIT)), (0, LIMIT))
        self.assertRaises(BadBytes, check, LIMIT + 1)
        self.assertRaises(BadBytes, check, int.from_bytes(b"SSH-", "big"))


class UnframeTests(SynchronousTestCase):
    """Tests for `Unframe`."""

    def test_split_anywhere(self) -> None:
        """The contents are the same however the network cuts them."""
        wire = PING + frame(b"hello") + PING + PING + frame(b"x") + frame(b"yz")
        for cut in range(len(wire) + 1):
            unframe = Unframe()
            self.assertEqual(unframe.feed(wire[:cut]) + unframe.feed(wire[cut:]), b"helloxyz")
            self.assertEqual((unframe.pings, unframe.whole), (3, True))
        unframe = Unframe()
        self.assertEqual(b"".join(unframe.feed(bytes((one,))) for one in wire), b"helloxyz")

    def test_whole(self) -> None:
        """An end within a length or a message can be told from one between them."""
        wire = frame(b"ab")
        for size in range(len(wire) + 1):
            unframe = Unframe()
            unframe.feed(wire[:size])
            self.assertEqual(unframe.whole, size in (0, len(wire)))

    def test_too_long(self) -> None:
        """What is no frame at all is noticed at once."""
        self.assertRaises(BadBytes, Unframe().feed, b"SSH-2.0-x\r\n")
