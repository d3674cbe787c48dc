"""Tests for `tlsgate.net.ends`; what ends do in a relay is in `test_relay`."""

from __future__ import annotations

import contextlib
import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import FakeReactor
from tlsgate.net.ends import CHUNK, STRIDE, PlainEnd
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import Poller
from tlsgate.tls.fast import AGAIN, BROKEN, ENDED, Slab


class PlainEndTests(SynchronousTestCase):
    """Tests for `PlainEnd`."""

    def setUp(self) -> None:
        """One end over TCP, and its peer."""
        poller = Poller(FakeReactor())  # type: ignore[arg-type]
        self.addCleanup(poller.close)
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(1)
            self.peer = socket.create_connection(listening.getsockname(), timeout=5)
            ours, _ = listening.accept()
        self.addCleanup(self.peer.close)
        self.addCleanup(ours.close)
        ours.setblocking(False)
        self.end = PlainEnd(Lease(Owned(ours), poller))
        self.slab = Slab()

    def test_outcomes(self) -> None:
        """Nothing yet, bytes, the end, and a broken socket are four outcomes."""
        self.assertEqual(self.end.fill(self.slab, CHUNK), AGAIN)
        self.peer.sendall(b"abc")
        self.assertEqual(self.end.fill(self.slab, CHUNK), 3)
        self.assertTrue(self.end.drained)
        self.peer.shutdown(socket.SHUT_WR)
        self.assertEqual(self.end.fill(self.slab, CHUNK), ENDED)
        self.assertEqual(self.end.finish(), ENDED)
        self.assertEqual(self.end.put(self.slab, 1), BROKEN)

    def test_step_follows_the_kernels_room(self) -> None:
        """While the send buffer has room the step is long; when it is full, short."""
        self.assertEqual(self.end.step(), STRIDE)
        for _ in range(2_000):
            with contextlib.suppress(BlockingIOError):
                if self.end.put(self.slab, CHUNK) < CHUNK:
                    break
        self.assertEqual(self.end.step(), CHUNK)
        self.end.lease.socket.close()
        self.assertEqual(self.end.step(), CHUNK)
