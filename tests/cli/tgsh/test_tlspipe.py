"""Tests for `tgsh.tlspipe`: frames; tests/integration/test_proxy_ssh.py carries bytes."""

from __future__ import annotations

import socket
import ssl

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.tgsh.tlspipe import FRAME_BYTES, TlsPipe, Unframe


class UnframeTests(SynchronousTestCase):
    """Tests for `Unframe`."""

    def test_split_anywhere(self) -> None:
        """The contents are the same however the network cuts them; pings are dropped."""
        wire = b"\0\0\0\0\0\0\0\x03abc\0\0\0\0\0\0\0\x01d\0\0\0\0"
        for cut in range(len(wire) + 1):
            frames = Unframe()
            self.assertEqual(frames.feed(wire[:cut]) + frames.feed(wire[cut:]), b"abcd")

    @given(st.lists(st.binary(max_size=40)), st.integers(1, 9))
    def test_any(self, messages: list[bytes], step: int) -> None:
        """Any messages in pieces of any size."""
        wire = b"".join(len(one).to_bytes(4, "big") + one for one in messages)
        frames = Unframe()
        found = b"".join(frames.feed(wire[at : at + step]) for at in range(0, len(wire), step))
        self.assertEqual(found, b"".join(messages))

    def test_too_long(self) -> None:
        """A length beyond every frame ends the connection."""
        self.assertEqual(Unframe().feed(FRAME_BYTES.to_bytes(4, "big")), b"")
        with self.assertRaises(OSError):
            Unframe().feed((FRAME_BYTES + 1).to_bytes(4, "big"))

    def test_gap(self) -> None:
        """The longest time between two pings is kept."""
        times = iter((10.0, 25.0, 30.0))
        frames = Unframe(now=lambda: next(times))
        for _ in range(3):
            frames.feed(bytes(4))
        self.assertEqual(frames.gap, 15.0)


class SilentTests(SynchronousTestCase):
    """How long the gateway may say nothing."""

    def test_three_intervals(self) -> None:
        """Three of what it says, or of the longest seen; without frames for ever."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        with ours:
            pipe = TlsPipe(ours, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "gate.test")
            self.assertIsNone(pipe.silent_seconds())
            pipe.framed()
            self.assertEqual(pipe.silent_seconds(), 90)
            pipe.ping_seconds = 5
            self.assertEqual(pipe.silent_seconds(), 15)
            assert pipe._frames is not None
            pipe._frames.gap = 20
            self.assertEqual(pipe.silent_seconds(), 60)
