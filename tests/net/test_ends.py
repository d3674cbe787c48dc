"""Tests for `tlsgate.net.ends`; what ends do in a relay is in `test_relay`."""

from __future__ import annotations

import contextlib
import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import FakeReactor
from tlsgate.net.ends import CHUNK, STRIDE, PlainEnd, SecureEnd
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import Poller
from tlsgate.tls.fast import AGAIN, BROKEN, ENDED, RECORD, Slab


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


class Script:
    """A `Session` whose reads are written down before."""

    def __init__(self, *reads: int) -> None:
        self.reads = list(reads)

    def read(self, slab: Slab, at: int, size: int) -> int:
        """The next one; the last one for ever."""
        return self.reads.pop(0) if len(self.reads) > 1 else self.reads[0]

    def pending(self) -> int:
        """OpenSSL holds nothing."""
        return 0


class SecureEndTests(SynchronousTestCase):
    """Tests for `SecureEnd`."""

    def test_an_end_that_came_with_the_bytes_still_waits(self) -> None:
        """The socket wakes nobody for a close_notify that was read behind the last record."""
        lease = Lease(Owned(socket.socket()), Poller(FakeReactor()))  # type: ignore[arg-type]
        self.addCleanup(lease.socket.close)
        end = SecureEnd(lease, Script(RECORD, RECORD, ENDED))  # type: ignore[arg-type]
        self.assertEqual(end.fill(Slab(), CHUNK), 2 * RECORD)
        self.assertEqual((end.drained, bool(end.pending())), (False, True))
        self.assertEqual(end.fill(Slab(), CHUNK), ENDED)
        self.assertFalse(end.pending())

    def test_a_socket_that_is_empty_tells_what_comes(self) -> None:
        """After records and nothing more, only the socket has to be watched."""
        lease = Lease(Owned(socket.socket()), Poller(FakeReactor()))  # type: ignore[arg-type]
        self.addCleanup(lease.socket.close)
        end = SecureEnd(lease, Script(RECORD, RECORD, AGAIN))  # type: ignore[arg-type]
        self.assertEqual(end.fill(Slab(), CHUNK), 2 * RECORD)
        self.assertEqual((end.drained, bool(end.pending())), (True, False))
