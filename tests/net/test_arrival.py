"""Tests for `tlsgate.net.arrival`: the peek never spins and never waits for ever."""

from __future__ import annotations

import socket

from tests.net.rig import read_all
from tests.net.test_dispatcher import DispatcherCase, hello


class PeekTests(DispatcherCase):
    """The peek never spins and never waits for ever."""

    def test_seven_bytes_and_a_fin(self) -> None:
        """A truncated hello with FIN ends at once; it does not burn the core."""
        sock = self.rig.connect()
        sock.send(b"\x16\x03\x01\x02\x00\x01\x00")
        self.rig.settle()
        sock.shutdown(socket.SHUT_WR)
        self.rig.settle()
        self.assertEqual(self.refused(), "hangup")

    def test_health_check(self) -> None:
        """A connection without a byte is counted and not told."""
        self.rig.connect().close()
        self.rig.settle()
        self.assertEqual(self.rig.journal, [])
        self.assertEqual(self.rig.gateway.tally.refused["web", "hangup"], 1)

    def test_deadline(self) -> None:
        """Silence, half a hello and half a handshake all end at prelude_seconds."""
        wire = hello()
        for first in (b"", wire[:100], wire):
            sock = self.rig.connect()
            if first:
                sock.send(first)
            self.rig.settle()
            self.rig.advance(4.5)
            self.assertEqual(len(self.rig.gateway.connections()), 1)
            self.rig.advance(1)
            self.assertEqual(self.rig.gateway.connections(), [])
            self.assertEqual(self.refused(), "deadline")
            sock.close()

    def test_garbage(self) -> None:
        """Bytes that open nothing are refused with what a TLS client understands."""
        sock = self.rig.connect()
        sock.send(b"\xff\xfe garbage that is no protocol at all, long enough to decide......")
        self.assertEqual(read_all(self.rig, sock), bytes.fromhex("15030300020232"))
        self.assertEqual(self.refused(), "unknown_opening")

    def test_a_protocol_that_no_route_serves_here(self) -> None:
        """An SSH client at a port without an ssh route is told so in SSH."""
        sock = self.rig.connect()
        sock.send(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.assertTrue(read_all(self.rig, sock).startswith(b"SSH-2.0-"))
        self.rig.advance(2.5)
        self.assertEqual(self.refused(), "unknown_opening")

    def test_huge_hello(self) -> None:
        """A hello over the limit is refused before a TLS object exists."""
        sock = self.rig.connect()
        sock.send(b"\x16\x03\x01\x40\x00\x01\x00\x80\x00" + bytes(100))
        self.assertEqual(read_all(self.rig, sock)[:2], b"\x15\x03")
        self.assertEqual(self.refused(), "bad_hello")

    def test_plain_http(self) -> None:
        """Plain HTTP on the web port gets an answer that helps."""
        sock = self.rig.connect()
        sock.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        answer = read_all(self.rig, sock)
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
        self.assertIn(b"https", answer.lower())
