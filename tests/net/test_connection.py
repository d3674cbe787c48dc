"""Tests for `tlsgate.net.connection`: the ways out that hold at every step."""

from __future__ import annotations

import struct

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Rig, read_some
from tests.net.test_dispatcher import ROUTES, DispatcherCase


class DrainTests(DispatcherCase):
    """The end of the gateway itself."""

    def test_drain(self) -> None:
        """A drain waits for relays, refuses new connections, and says how many it cut."""
        client = self.rig.secure(alpn=(b"open",)).shake()
        target = self.rig.accept()
        drained = self.rig.gateway.drain(10)
        self.rig.connect()
        self.assertEqual(self.refused(), "draining")
        client.write(b"still here")
        self.assertEqual(read_some(self.rig, target, 10), b"still here")
        self.assertNoResult(drained)
        client.tls.shutdown()
        target.close()
        self.rig.settle()
        self.rig.advance(1)
        self.assertEqual(self.successResultOf(drained), 0)

    def test_idle_keep_alive(self) -> None:
        """A browser's idle connection does not hold up a drain; its answer has arrived."""
        client = self.rig.secure(alpn=(b"http/1.1",), cert=None).shake()
        client.write(b"GET /webapi/ping HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        self.assertTrue(client.read(100).startswith(b"HTTP/1.1 200"))
        drained = self.rig.gateway.drain(60)
        self.rig.advance(1)
        self.assertNoResult(drained)
        self.rig.advance(5)
        self.assertEqual(self.successResultOf(drained), 0)

    def test_limit(self) -> None:
        """What is left at the limit is cut off and counted."""
        self.rig.secure(alpn=(b"open",)).shake()
        self.rig.accept()
        drained = self.rig.gateway.drain(10)
        self.rig.advance(11)
        self.assertEqual(self.successResultOf(drained), 1)
        self.assertEqual(self.rig.gateway.connections(), [])


class TrustTests(SynchronousTestCase):
    """Tests for what a bad peer can do to the others."""

    def test_s58_one_bad_peer(self) -> None:
        """Random first bytes of 300 connections leave the gateway as it was."""
        rig = Rig(ROUTES)
        self.addCleanup(rig.close)
        for number in range(300):
            sock = rig.connect(peer=IPv4Address("TCP", f"192.0.2.{number % 250}", 1))
            sock.send(struct.pack(">I", number * 2_654_435_761 % 2**32) * (number % 40 + 1))
            rig.settle()
            sock.close()
            rig.settle()
        rig.advance(6)
        self.assertEqual(rig.gateway.connections(), [])
        self.assertEqual(rig.gateway.poller.watched(), 0)
        self.flushLoggedErrors()
        client = rig.secure(alpn=(b"open",)).shake()
        self.assertTrue(client)
