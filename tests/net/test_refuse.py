"""Tests for `tlsgate.net.refuse`: what was said arrives."""

from __future__ import annotations

import contextlib
import socket

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import FakeReactor
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import Poller
from tlsgate.net.refuse import DRAIN_BYTES, Refusal
from tlsgate.net.wheel import Wheel


class RefusalTests(SynchronousTestCase):
    """Tests for `Refusal`."""

    def setUp(self) -> None:
        """One connection to refuse."""
        self.reactor = FakeReactor()
        self.poller = Poller(self.reactor)  # type: ignore[arg-type]
        self.addCleanup(self.poller.close)
        self.clock = Clock()
        self.wheel = Wheel(self.clock)
        self.client, self.ours = socket.socketpair()
        self.addCleanup(self.client.close)
        self.addCleanup(self.ours.close)
        self.client.setblocking(False)
        self.ours.setblocking(False)
        self.lease = Lease(Owned(self.ours), self.poller)

    def refuse(self, words: bytes = b"no, because") -> None:
        """Refuse it with *words*."""
        Refusal(self.lease, words, self.wheel)

    def turn(self) -> None:
        """Handle what is ready, boundedly."""
        for _ in range(100):
            if not self.reactor.turn():
                return

    def test_words_arrive_though_the_client_still_talks(self) -> None:
        """Unread bytes of the client do not turn the close into a reset."""
        self.client.send(bytes(20_000))
        self.refuse()
        self.turn()
        self.client.send(bytes(1_000))
        self.turn()
        self.assertEqual(self.client.recv(100), b"no, because")
        self.assertEqual(self.client.recv(100), b"")
        self.client.close()
        self.turn()
        self.assertFalse(self.lease.open)
        self.assertEqual(self.wheel.waiting(), 0)

    def test_patience(self) -> None:
        """A client that stays silent is closed after two seconds."""
        self.refuse()
        self.clock.pump([0.25] * 7)
        self.assertTrue(self.lease.open)
        self.clock.pump([0.25] * 3)
        self.assertFalse(self.lease.open)

    def test_bound(self) -> None:
        """A client that goes on talking is closed after 64 KiB."""
        self.refuse()
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(400):
                with contextlib.suppress(BlockingIOError):
                    sent += self.client.send(bytes(4_096))
                self.turn()
        self.assertFalse(self.lease.open)
        self.assertLess(sent, DRAIN_BYTES + 300_000)

    def test_full_socket(self) -> None:
        """Words that do not fit at once follow when there is room."""
        words = bytes(2 << 20)
        self.refuse(words)
        got = 0
        for _ in range(2_000):
            self.turn()
            with contextlib.suppress(BlockingIOError):
                data = self.client.recv(65_536)
                if not data:
                    break
                got += len(data)
        self.assertEqual(got, len(words))

    def test_client_gone(self) -> None:
        """Nobody is left to hear it."""
        self.client.close()
        self.refuse()
        self.turn()
        self.assertFalse(self.lease.open)
