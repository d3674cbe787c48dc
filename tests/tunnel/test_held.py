"""Tests for `tlsgate.tunnel.held`."""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.tunnel.gateside import FakeStream, Time, asked, make_session
from tlsgate.interfaces import IKept
from tlsgate.tunnel.held import HeldStream, keep_alive


class FakeLease:
    """With a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock


class FakeEnd:
    """With a lease."""

    def __init__(self, sock: socket.socket) -> None:
        self.lease = FakeLease(sock)


class HeldTests(SynchronousTestCase):
    """Tests for `HeldStream`."""

    def setUp(self) -> None:
        self.time = Time()
        self.session = make_session(self.time)
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        self.streams: list[FakeStream] = []
        end: Any = FakeEnd(ours)
        self.wall = 1000.0
        self.held = HeldStream(
            self.session,
            end,
            self.make,
            1100.0,
            now=self.time.clock.seconds,
            wall=lambda: self.wall,
        )
        self.session.pool.added(self.held)

    def make(self, end: Any, idle: Any, lost: Any) -> FakeStream:
        stream = FakeStream(end, idle, lost)
        self.streams.append(stream)
        return stream

    def take(self) -> None:
        held = self.held

        class Taker:
            def given(self, stream: Any) -> None:
                held.ask(asked(), lambda end: None, lambda error, died: None)

            def missed(self, error: Any) -> None: ...

        self.session.pool.take(Taker())

    def test_serves(self) -> None:
        """It is its pool's, is given, and comes back."""
        verifyObject(IKept, self.held)
        self.take()
        self.assertEqual((self.streams[0].asked, self.session.pool.idle), (asked(), 0))
        self.held.cancel()
        self.streams[0].rest()
        self.assertEqual((self.streams[0].did, self.session.pool.idle), (["cancel"], 1))
        self.assertEqual(self.held.carried(), (0, 0))

    def test_rests(self) -> None:
        """A drain may end it once it has been idle for a moment."""
        self.assertEqual(self.held.resting(), False)
        self.time.pass_by(2)
        self.assertEqual(self.held.resting(), True)
        self.take()
        self.assertEqual(self.held.resting(), False)
        self.streams[0].rest()
        self.assertEqual(self.held.resting(), False)
        self.time.pass_by(2)
        self.held.end_in_order("drain")
        self.assertEqual((self.streams[0].did, self.held.cause), (["close"], "drain"))
        self.assertEqual((self.session.pool.idle, self.held.usable), (0, False))

    def test_cut(self) -> None:
        """A lock ends it whatever it carries."""
        self.take()
        self.held.end_in_order("locked")
        self.assertEqual((self.streams[0].did, self.held.cause), (["abort locked"], "locked"))
        self.assertEqual(len(self.session.pool.busy), 0)

    def test_causes(self) -> None:
        """The log says why it ended."""
        self.held.close()
        self.assertEqual(self.held.cause, "retired")
        self.held.abort("later")
        self.assertEqual(self.held.cause, "retired")

    def test_dies(self) -> None:
        """One that breaks is its pool's no more, and a session that drains is over with it."""
        self.take()
        wire: Any = self.session._wire
        self.session.drain()
        self.assertEqual(wire.closed, "")
        self.streams[0].die()
        self.assertEqual((self.held.cause, wire.closed), ("tunnel_broken", "closed"))

    def test_certificate(self) -> None:
        """With the certificate by which it came its use ends."""
        self.assertEqual(self.held.usable, True)
        self.wall = 1100.0
        self.assertEqual(self.held.usable, False)

    def test_keep_alive(self) -> None:
        """The kernel looks after 30 s whether the agent is there."""
        with socket.socket() as sock:
            keep_alive(sock)
            self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
            self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 30)
            self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), 10)
            self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT), 3)
