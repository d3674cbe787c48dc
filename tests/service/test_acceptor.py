"""Accepting: bounded turns, no spin, room left when descriptors run out (S48)."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.service.acceptor import LOOK_SECONDS, Acceptor, Descriptors


class FakeReactor(Clock):
    """A clock that knows who reads."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        """Somebody reads."""
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        """Nobody reads."""
        self.readers.discard(reader)


class FakeClient:
    """An accepted socket."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False
        self.blocking = True

    def setblocking(self, blocking: bool) -> None:
        """Remember it."""
        self.blocking = blocking

    def fileno(self) -> int:
        """Its number."""
        return -1 if self.closed else self.number

    def close(self) -> None:
        """Remember that."""
        self.closed = True


class FakeListening:
    """A listening socket with a queue of clients and errors."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.queue: list[FakeClient | int] = []
        self.asked = 0

    def fileno(self) -> int:
        """Any open descriptor, for the look at the table."""
        return 2

    def accept(self) -> tuple[FakeClient, tuple[str, int]]:
        """Give the next one, or raise it."""
        self.asked += 1
        if not self.queue:
            raise BlockingIOError(errno.EAGAIN, "")
        one = self.queue.pop(0)
        if isinstance(one, int):
            raise OSError(one, os.strerror(one))
        return one, ("192.0.2.1", 4711)


class FakeTransport:
    """In place of Twisted's."""

    repstr = ""
    protocol: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments


class Kept(Factory):
    """Keeps what was made."""

    def __init__(self) -> None:
        self.peers: list[IAddress | None] = []
        self.refuse = False
        self.fail = False

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Make one, or not."""
        self.peers.append(addr)
        if self.fail:
            raise RuntimeError("a bug")
        return None if self.refuse else Protocol()


class AcceptorCase(SynchronousTestCase):
    """An acceptor on doubles."""

    def setUp(self) -> None:
        self.patch(tcp, "Server", FakeTransport)
        self.reactor = FakeReactor()
        self.descriptors = Descriptors(self.reactor, 1000)
        self.listening = cast("Any", FakeListening())
        self.factory = Kept()
        self.acceptor = Acceptor(
            self.reactor, "web", self.listening, self.factory, self.descriptors
        )
        self.acceptor.start()

    def queue(self, *numbers: int) -> list[FakeClient]:
        """Clients with these descriptors wait."""
        clients = [FakeClient(number) for number in numbers]
        self.listening.queue += clients
        return clients


class AcceptTests(AcceptorCase):
    """Tests for `Acceptor`."""

    def test_hands_over(self) -> None:
        """Each connection gets a protocol that knows its peer."""
        self.queue(5, 6)
        self.acceptor.doRead()
        self.acceptor.doRead()
        self.assertEqual(self.factory.peers, [IPv4Address("TCP", "192.0.2.1", 4711)] * 2)

    def test_a_light_owner(self) -> None:
        """Where the protocol borrows the socket at once, no transport of Twisted's is made."""
        owners: list[Any] = []

        def own(client: Any, peer: IAddress) -> Any:
            owners.append(FakeTransport(client, peer))
            return owners[-1]

        light = Acceptor(
            self.reactor, "web", self.listening, self.factory, self.descriptors, own=own
        )
        (client,) = self.queue(5)
        light.doRead()
        (owner,) = owners
        self.assertEqual(owner.arguments, (client, IPv4Address("TCP", "192.0.2.1", 4711)))
        self.assertIs(owner.protocol.transport, owner)
        self.assertFalse(client.blocking)

    def test_turns_are_bounded_and_adapt(self) -> None:
        """A burst is taken in growing turns; one client at a time costs one call."""
        self.queue(*[10] * 500)
        taken = []
        while self.listening.queue:
            before = len(self.listening.queue)
            self.acceptor.doRead()
            taken.append(before - len(self.listening.queue))
        self.assertEqual(taken, [1, 2, 4, 8, 16, 32, 64, 128, 128, 117])
        for _ in range(3):
            self.queue(10)
            self.acceptor.doRead()
        asked = self.listening.asked
        self.queue(10)
        self.acceptor.doRead()
        self.assertEqual(self.listening.asked, asked + 1)

    def test_a_refused_connection_is_closed(self) -> None:
        """A factory that builds nothing ends the connection."""
        self.factory.refuse = True
        (client,) = self.queue(5)
        self.acceptor.doRead()
        self.assertTrue(client.closed)

    def test_a_bug_touches_one_connection(self) -> None:
        """An exception closes its own connection, is logged, and the next one is served."""
        self.factory.fail = True
        (client,) = self.queue(5)
        self.acceptor.doRead()
        self.assertTrue(client.closed)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.factory.fail = False
        (other,) = self.queue(6)
        self.acceptor.doRead()
        self.assertFalse(other.closed)
        self.assertIn(self.acceptor, self.reactor.readers)

    def test_a_client_that_went_away(self) -> None:
        """What accept(2) says of the client is no trouble of ours."""
        self.listening.queue += [errno.ECONNABORTED, FakeClient(5)]
        self.acceptor.finish()
        self.assertEqual(len(self.factory.peers), 1)

    def test_finish_takes_the_queue(self) -> None:
        """Who was connected before the end is served; afterwards nobody reads."""
        self.queue(*[10] * 300)
        self.acceptor.finish()
        self.assertEqual(len(self.factory.peers), 300)
        self.assertEqual(self.reactor.readers, set())

    def test_stop_leaves_the_queue(self) -> None:
        """Another process takes what waits."""
        self.queue(10)
        self.acceptor.stop()
        self.assertEqual(len(self.listening.queue), 1)
        self.assertEqual(self.reactor.readers, set())

    def test_six(self) -> None:
        """Peers of IPv6 have such addresses."""
        self.listening.family = socket.AF_INET6
        six = Acceptor(self.reactor, "web", self.listening, self.factory, self.descriptors)
        self.assertEqual(
            six._peer(("2001:db8::1", 1, 0, 0)), IPv6Address("TCP", "2001:db8::1", 1, 0, 0)
        )

    def test_a_broken_socket_is_told(self) -> None:
        """When the reactor drops the socket it does not stay silent."""
        self.acceptor.connectionLost(Failure(OSError("gone")))
        self.assertEqual(self.reactor.readers, set())


class DescriptorTests(AcceptorCase):
    """Tests for `Descriptors`."""

    def setUp(self) -> None:
        super().setUp()
        self.room = False
        self.patch(self.descriptors, "_room", lambda: self.room)

    def test_line(self) -> None:
        """Clients get 95 %, and never the last 64; a tiny table is shared."""
        for limit, line in ((20_000, 19_000), (1000, 936), (256, 192), (64, 32)):
            self.assertEqual(Descriptors(self.reactor, limit).line, line)
        self.assertEqual(Descriptors(self.reactor, 256, reserve=0).line, 256)

    def test_s48_full_means_nobody_reads(self) -> None:
        """At the line all acceptors stop; they go on as soon as there is room."""
        other = Acceptor(self.reactor, "ssh", self.listening, self.factory, self.descriptors)
        other.start()
        self.queue(935, 936, 937)
        self.acceptor.doRead()
        self.assertEqual(len(self.reactor.readers), 2)
        self.acceptor.doRead()
        self.assertEqual(self.reactor.readers, set())
        self.assertTrue(self.descriptors.full)
        self.reactor.advance(LOOK_SECONDS)
        self.assertEqual(self.reactor.readers, set())
        self.room = True
        self.reactor.advance(LOOK_SECONDS)
        self.assertEqual(self.reactor.readers, {self.acceptor, other})

    def test_the_connection_at_the_line_is_served(self) -> None:
        """Nobody is accepted and then dropped."""
        (client,) = self.queue(999)
        self.acceptor.doRead()
        self.assertFalse(client.closed)

    def test_errors_wait(self) -> None:
        """Out of descriptors or memory: no spin, and at most a line in ten seconds."""
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EINVAL):
            self.listening.queue += [number]
            self.acceptor.doRead()
            self.assertEqual(self.reactor.readers, set(), os.strerror(number))
            self.room = True
            self.reactor.advance(LOOK_SECONDS)
            self.room = False
            self.assertEqual(self.reactor.readers, {self.acceptor})

    def test_who_comes_while_it_is_full(self) -> None:
        """A listener that opens now waits with the others; one that goes is forgotten."""
        self.descriptors.stop_all("test")
        other = Acceptor(self.reactor, "ssh", self.listening, self.factory, self.descriptors)
        other.start()
        self.assertEqual(self.reactor.readers, set())
        self.acceptor.stop()
        self.room = True
        self.reactor.advance(LOOK_SECONDS)
        self.assertEqual(self.reactor.readers, {other})


class RoomTests(SynchronousTestCase):
    """The real look at the table."""

    def test_room(self) -> None:
        """There is room when a number below the line is free."""
        reactor = FakeReactor()
        self.assertTrue(Descriptors(reactor, 10_000)._room())
        self.assertFalse(Descriptors(reactor, 2)._room())
