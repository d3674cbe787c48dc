"""Tests for `tlsgate.net.lease`, with the poller and the owner that it needs."""

from __future__ import annotations

import socket

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import FakeReactor
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import READ, WRITE, Poller


class Heard:
    """A protocol that remembers how its connection ended."""

    reason: Failure | None = None

    def connectionLost(self, reason: Failure) -> None:
        """See `IProtocol`."""
        assert self.reason is None, "told twice"
        self.reason = reason


class LeaseTests(SynchronousTestCase):
    """Tests for `Lease`."""

    def setUp(self) -> None:
        """Lend one end of a socket pair."""
        self.reactor = FakeReactor()
        self.poller = Poller(self.reactor)  # type: ignore[arg-type]
        self.addCleanup(self.poller.close)
        self.peer, self.ours = socket.socketpair()
        self.addCleanup(self.peer.close)
        self.addCleanup(self.ours.close)
        self.ours.setblocking(False)
        self.heard = Heard()
        owner = Owned(self.ours)
        owner.protocol = self.heard
        self.lease = Lease(owner, self.poller)
        self.masks: list[int] = []
        self.lease.on_ready = self.masks.append

    def test_woken_for_what_is_wanted(self) -> None:
        """Nothing, reading, writing and both, in any order."""
        self.peer.send(b"x")
        self.assertFalse(self.reactor.turn())
        self.lease.want(READ)
        self.reactor.turn()
        self.lease.want(WRITE)
        self.reactor.turn()
        self.lease.want(READ | WRITE)
        self.reactor.turn()
        self.lease.want(0)
        self.assertFalse(self.reactor.turn())
        self.assertEqual(self.masks, [READ, WRITE, READ | WRITE])

    def test_close_goes_through_the_owner(self) -> None:
        """The owner's protocol hears ConnectionDone, once, and nothing is watched."""
        self.lease.want(READ)
        self.lease.close()
        self.lease.close()
        self.lease.abort()
        assert self.heard.reason is not None
        self.assertTrue(self.heard.reason.check(ConnectionDone))
        self.assertEqual(self.poller.watched(), 0)
        self.assertEqual(self.peer.recv(1), b"")
        self.assertFalse(self.lease.open)

    def test_abort(self) -> None:
        """The owner's protocol hears ConnectionAborted."""
        self.lease.abort()
        assert self.heard.reason is not None
        self.assertTrue(self.heard.reason.check(ConnectionAborted))

    def test_s58_a_failure_ends_only_its_own_connection(self) -> None:
        """An exception in a wake-up is logged, and that connection is reset."""

        def fail(mask: int) -> None:
            raise ZeroDivisionError

        self.lease.on_ready = fail
        self.lease.want(WRITE)
        self.reactor.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNotNone(self.heard.reason)
        self.assertEqual(self.poller.watched(), 0)
