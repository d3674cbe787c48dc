"""Tests for `tlsgate.net.poller`; `test_lease` has what a borrower sees of it."""

from __future__ import annotations

import socket

from twisted.internet.epollreactor import EPollReactor
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


class LeadingTests(SynchronousTestCase):
    """Twisted's usual reactor, whose own epoll is in ours."""

    def setUp(self) -> None:
        """Make one that nobody runs."""
        self.reactor = EPollReactor()
        self.addCleanup(self.reactor._poller.close)
        self.poller = Poller(self.reactor)
        self.heard: list[str] = []

    def lend(self, name: str, poller: Poller) -> tuple[Lease, socket.socket]:
        """One that says its name when it is woken, and its other end."""
        theirs, ours = socket.socketpair()
        ours.setblocking(False)
        lease = Lease(Owned(ours), poller)
        self.addCleanup(theirs.close)
        self.addCleanup(lease.close)

        def ready(mask: int) -> None:
            self.heard.append(name)
            ours.recv(100)

        lease.on_ready = ready
        lease.want(READ)
        return lease, theirs

    def test_both_are_woken(self) -> None:
        """What is lent and what is the reactor's own, by a second poller as well."""
        second = Poller(self.reactor)
        self.addCleanup(self.poller.close)
        self.addCleanup(second.close)
        (_, one), (_, two) = self.lend("one", self.poller), self.lend("two", second)
        self.reactor.doIteration(0)
        self.assertEqual(self.heard, [])
        one.send(b"x")
        self.reactor.doIteration(None)
        two.send(b"x")
        self.reactor.doIteration(1)
        self.assertEqual(self.heard, ["one", "two"])

    def test_closed(self) -> None:
        """The reactor waits by itself again, and the next poller may lead it."""
        self.poller.close()
        self.poller.close()
        self.assertNotIn("doIteration", vars(self.reactor))
        third = Poller(self.reactor)
        self.addCleanup(third.close)
        self.assertIn("doIteration", vars(self.reactor))
        _, there = self.lend("three", third)
        there.send(b"x")
        self.reactor.doIteration(1)
        self.assertEqual(self.heard, ["three"])

    def test_another_kind_of_reactor(self) -> None:
        """Whatever is not exactly Twisted's own leads itself."""

        class Own(EPollReactor):
            pass

        reactor = Own()
        self.addCleanup(reactor._poller.close)
        poller = Poller(reactor)
        self.addCleanup(poller.close)
        self.assertIn(poller, reactor.getReaders())
        _, there = self.lend("own", poller)
        there.send(b"x")
        reactor.doIteration(1)
        self.assertEqual(self.heard, ["own"])
