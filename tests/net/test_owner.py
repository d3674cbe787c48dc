"""Tests for `tlsgate.net.owner`."""

from __future__ import annotations

import socket

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.net.owner import Owned


class OwnedTests(SynchronousTestCase):
    """Tests for `Owned`."""

    def test_addresses(self) -> None:
        """They are what it was given, and nameless UNIX addresses without."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        peer = IPv4Address("TCP", "192.0.2.1", 1)
        owner = Owned(ours, peer)
        self.assertEqual((owner.getPeer(), owner.getHost()), (peer, UNIXAddress(None)))
        self.assertIs(owner.getHandle(), ours)
        owner.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(theirs.recv(1), b"")

    def test_asks_the_socket(self) -> None:
        """Without a told address it is the socket's own, for both kinds of internet."""
        for family, host, kind in (
            (socket.AF_INET, "127.0.0.1", IPv4Address),
            (socket.AF_INET6, "::1", IPv6Address),
        ):
            sock = socket.socket(family)
            self.addCleanup(sock.close)
            sock.bind((host, 0))
            self.assertEqual(Owned(sock).getHost(), kind("TCP", host, sock.getsockname()[1]))

    def test_abort_resets(self) -> None:
        """After an abort the peer gets a reset, not an end in order."""
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(1)
            client = socket.create_connection(listening.getsockname(), timeout=5)
            self.addCleanup(client.close)
            accepted, _ = listening.accept()
        Owned(accepted).connectionLost(Failure(ConnectionAborted()))
        self.assertRaises(ConnectionResetError, client.recv, 1)
