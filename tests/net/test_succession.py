"""Tests for `tlsgate.net.succession`: an old process asks its successor for an agent."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.net.rig import FakeReactor, Rig
from tlsgate.core.offers import Asked
from tlsgate.errors import AgentRefused, Denied, GateError, NoAgent
from tlsgate.interfaces import IReach
from tlsgate.net.ends import PlainEnd
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import Poller
from tlsgate.net.succession import ROUTE, Onward, Place, inherit
from tlsgate.testing import FakeReach, FakeTunnels

ASKED = Asked(kind="node", name="db1", user="alice", ssh_certificate="cert", trace="ab" * 8)


class PlaceCase(SynchronousTestCase):
    """An old process, whose successor has the place."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.reactor = FakeReactor()
        self.took: list[tuple[socket.socket, Asked]] = []
        self.old, self.new = self.place(), self.place()
        self.old.start()

    def place(self) -> Place:
        """One that remembers who comes."""

        def take(sock: socket.socket, asked: Asked) -> None:
            self.addCleanup(sock.close)
            self.took.append((sock, asked))

        made = Place(self.reactor, self.folder / "places", 0, take)
        self.addCleanup(made.stop)
        return made


class PlaceTests(PlaceCase):
    """Tests for `Place`."""

    def leave(self, place: Place, asked: Asked = ASKED) -> bool:
        """Leave a socket there."""
        with socket.socket() as sock:
            there = place.leave(asked, sock)
        self.reactor.turn()
        return there

    def test_the_successor_has_it(self) -> None:
        """Who begins later has the place, though the one before it stops after that."""
        self.new.start()
        self.old.stop()
        self.old.stop()
        self.assertTrue(self.leave(self.old))
        ((sock, asked),) = self.took
        self.assertEqual((asked, sock.getblocking()), (ASKED, False))
        self.assertEqual(os.stat(self.folder / "places" / "0.sock").st_mode & 0o777, 0o600)

    def test_nobody(self) -> None:
        """Where nobody has it the socket is still the caller's."""
        self.old.stop()
        self.assertFalse(self.leave(self.old))
        os.unlink(self.folder / "places" / "0.sock")
        self.assertFalse(self.leave(self.old))
        self.assertEqual(self.took, [])

    def test_what_is_no_question(self) -> None:
        """It is closed, and the next one is taken."""
        self.patch(Asked, "told", lambda _: {"kind": "node"})
        self.assertTrue(self.leave(self.old))
        self.assertEqual(self.took, [])

    def test_stopped_in_between(self) -> None:
        """Who is stopped by the first of several takes no more of them."""
        with socket.socket() as sock:
            self.old.leave(ASKED, sock)
            self.old.leave(ASKED, sock)
        place, take = self.old, self.took.append

        def last(sock: socket.socket, asked: Asked) -> None:
            self.addCleanup(sock.close)
            take((sock, asked))
            place.stop()

        place._take = last
        self.reactor.turn()
        self.assertEqual(len(self.took), 1)


class OnwardTests(PlaceCase):
    """Tests for `Onward`."""

    def setUp(self) -> None:
        super().setUp()
        reactor: Any = self.reactor
        self.poller = Poller(reactor)
        self.addCleanup(self.poller.close)
        self.reached: list[Any] = []
        self.missed: list[GateError] = []

    def begin(self) -> Onward:
        """Ask the successor."""
        way = Onward(self.old, self.poller, ASKED)
        verifyObject(IReach, way)
        way.start(self.reached.append, self.missed.append)
        self.reactor.turn()
        return way

    def answer(self, *pieces: bytes) -> socket.socket:
        """Have the successor say this."""
        sock, _ = self.took[-1]
        for piece in pieces:
            sock.send(piece)
            self.reactor.turn()
        self.reactor.turn()
        return sock

    def test_reached(self) -> None:
        """Of what follows the answer nothing is read, in whatever pieces it comes."""
        self.begin()
        wire = b'\0\x1a{"reason": "", "why": ""} more'
        sock = self.answer(*(wire[at : at + 1] for at in range(len(wire))))
        (end,) = self.reached
        self.assertIsInstance(end, PlainEnd)
        self.assertEqual(end.lease.socket.recv(99), b"more")
        end.lease.close()
        self.assertEqual(sock.recv(9), b"")

    def test_missed(self) -> None:
        """The reason of the successor's agent is told as it is."""
        self.begin()
        words = b'{"reason": "denied", "why": "so it is"}'
        self.answer(len(words).to_bytes(2, "big") + words)
        (error,) = self.missed
        assert isinstance(error, AgentRefused)
        self.assertEqual((error.said, str(error), self.reached), ("denied", "so it is", []))

    def test_no_answer(self) -> None:
        """What is none is as if nobody had the agent; so is an end, and nobody at all."""
        for wire in (b"\0\2[]", b"\0\2{}", b"\0\1x", b"\xff\xff{}", b"\0"):
            self.begin()
            sock = self.answer(wire)
            sock.close()
            self.reactor.turn()
        self.old.stop()
        self.begin()
        self.assertEqual([type(one) for one in self.missed], [NoAgent] * 6)

    def test_cancelled(self) -> None:
        """Nobody hears of it any more, and the successor sees the end."""
        way = self.begin()
        way.cancel()
        way.cancel()
        sock, _ = self.took[-1]
        with self.assertRaises((ConnectionError, AssertionError)):
            self.assertNotEqual(sock.recv(9), b"")
        self.assertEqual((self.reached, self.missed), ([], []))


class InheritedTests(SynchronousTestCase):
    """Tests for `Inherited`."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.tunnels = self.rig.gateway.tunnels = FakeTunnels()
        self.ours, theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        for one in (self.ours, theirs):
            one.setblocking(False)
        self.theirs = theirs

    def begin(self) -> FakeReach:
        """Somebody has come."""
        inherit(self.rig.gateway, "web", self.theirs, ASKED)
        self.rig.settle()
        return self.tunnels.reaches[-1]

    def said(self) -> bytes:
        """What the old process has heard."""
        self.rig.settle()
        try:
            return self.ours.recv(4096)
        except BlockingIOError:
            return b"nothing"

    def target(self) -> tuple[PlainEnd, socket.socket]:
        """An agent's end, and its other side."""
        near, far = socket.socketpair()
        self.addCleanup(far.close)
        for one in (near, far):
            one.setblocking(False)
        return PlainEnd(Lease(Owned(near), self.rig.gateway.poller)), far

    def test_carried(self) -> None:
        """Once the target is there bytes go both ways, and it is one of our connections."""
        reach = self.begin()
        self.assertEqual(reach.asked, ASKED)
        end, far = self.target()
        reach.reached(end)
        self.assertEqual(self.said(), b'\0\x19{"reason": "", "why": ""}')
        self.ours.send(b"ping")
        self.rig.settle()
        self.assertEqual(far.recv(9), b"ping")
        far.send(b"pong")
        self.assertEqual(self.said(), b"pong")
        (live,) = self.rig.gateway.connections()
        self.assertEqual(
            (live["stage"], live["route"], live["trace"]), ("relaying", ROUTE, ASKED.trace)
        )
        far.close()
        self.assertEqual(self.said(), b"")
        self.ours.close()
        self.rig.settle()
        self.assertEqual(self.rig.gateway.connections(), [])
        # The process before us tells journal, audit and ledger of it.
        self.assertEqual((self.rig.journal, self.rig.witness.events), ([], []))
        self.assertEqual(self.rig.witness.seen, [])

    def test_missed(self) -> None:
        """Why the target is not there is told, and then there is nothing more."""
        self.begin().missed(Denied("route", "alice", "no role"))
        self.assertIn(b'"reason": "denied"', self.said())
        self.assertEqual(self.said(), b"")
        self.assertEqual(self.rig.gateway.connections(), [])

    def test_gone_early(self) -> None:
        """For who goes meanwhile nobody is reached; who says something early is there still."""
        reach = self.begin()
        self.ours.send(b"early")
        self.rig.settle()
        self.assertFalse(reach.cancelled)
        self.ours, theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        theirs.setblocking(False)
        self.theirs = theirs
        reach = self.begin()
        self.ours.close()
        self.rig.settle()
        self.assertTrue(reach.cancelled)
        self.assertEqual(len(self.rig.gateway.connections()), 1)

    def test_draining(self) -> None:
        """A successor that drains itself takes nobody."""
        self.rig.gateway.draining = True
        inherit(self.rig.gateway, "web", self.theirs, ASKED)
        self.assertEqual(self.said(), b"")
        self.assertEqual(self.tunnels.reaches, [])

    def test_waited_for(self) -> None:
        """A drain waits for it, and ends it at the limit."""
        end, _ = self.target()
        self.begin().reached(end)
        self.said()
        drained = self.rig.gateway.drain(5)
        self.rig.advance(3)
        self.assertNoResult(drained)
        self.rig.advance(4)
        self.assertEqual(self.successResultOf(drained), 1)
