"""Tests for `tlsgate.net.elsewhere`."""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.net.rig import FakeReactor
from tlsgate.errors import GateError, NotServed
from tlsgate.interfaces import IReach
from tlsgate.net.elsewhere import Elsewhere
from tlsgate.net.ends import PlainEnd
from tlsgate.net.poller import Poller


class FakePassing:
    """Takes sockets for one worker."""

    def __init__(self) -> None:
        self.took: list[socket.socket] = []
        self.said: list[tuple[Any, ...]] = []

    def hand(self, worker: int, sock: socket.socket, *said: Any) -> bool:
        """Take it, where it is worker 1's."""
        self.said.append((worker, *said))
        if worker == 1:
            self.took.append(sock.dup())
        return worker == 1


class ElsewhereTests(SynchronousTestCase):
    """Tests for `Elsewhere`."""

    def setUp(self) -> None:
        self.passing = FakePassing()
        reactor: Any = FakeReactor()
        self.poller = Poller(reactor)
        self.addCleanup(self.poller.close)
        self.reached: list[Any] = []
        self.missed: list[GateError] = []

    def begin(self, worker: int, passing: Any) -> None:
        """Try the way."""
        way = Elsewhere(passing, self.poller, worker, "web", "peer", "local")
        verifyObject(IReach, way)
        way.start(self.reached.append, self.missed.append)
        way.cancel()

    def test_reached(self) -> None:
        """The other worker has one end of a pair, and is told whose it is."""
        self.begin(1, self.passing)
        (end,), (theirs,) = self.reached, self.passing.took
        self.addCleanup(theirs.close)
        self.assertIsInstance(end, PlainEnd)
        end.lease.socket.send(b"key")
        self.assertEqual(theirs.recv(9), b"key")
        end.lease.close()
        self.assertEqual(theirs.recv(9), b"")
        self.assertEqual((self.passing.said, self.missed), ([(1, "web", "peer", "local")], []))

    def test_nobody(self) -> None:
        """A worker that is not there is missed, and so is any where there is one only."""
        self.begin(2, self.passing)
        self.begin(1, None)
        self.assertEqual([type(one) for one in self.missed], [NotServed, NotServed])
        self.assertEqual(self.reached, [])
