"""Tests for `tlsgate.net.poller`; `test_lease` has what a borrower sees of it."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import FakeReactor
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import READ, WRITE, Poller


class PollerTests(SynchronousTestCase):
    """Tests for `Poller`."""

    def test_no_event_of_a_former_owner(self) -> None:
        """A descriptor that is closed and used again in one batch hears nothing stale."""
        reactor = FakeReactor()
        poller = Poller(reactor)  # type: ignore[arg-type]
        self.addCleanup(poller.close)
        leases: list[Lease] = []
        late: list[int] = []
        keep: list[socket.socket] = []

        def pair() -> Lease:
            peer, ours = socket.socketpair()
            keep.extend((peer, ours))
            ours.setblocking(False)
            return Lease(Owned(ours), poller)

        def swap(mask: int) -> None:
            for lease in leases:
                lease.close()
            fresh = pair()
            fresh.on_ready = late.append
            fresh.want(READ)

        for _ in range(2):
            lease = pair()
            lease.on_ready = swap
            lease.want(WRITE)
            leases.append(lease)
        reactor.turn()
        self.assertEqual(late, [])
        for sock in keep:
            sock.close()

    def test_closed(self) -> None:
        """A closed poller has left the reactor."""
        reactor = FakeReactor()
        poller = Poller(reactor)  # type: ignore[arg-type]
        poller.close()
        self.assertEqual(reactor.readers, [])
        self.assertEqual(poller.fileno(), -1)
