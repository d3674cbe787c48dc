"""Tests for `tlsgate.net.passing`."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from array import array
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import CLIENT, GATE, Client, FakeReactor, Rig
from tlsgate.net.passing import Passing, meant_worker

NAMED = (b"tlsgate-reversetunnel/1", b"tlsgate-reversetunnel")


class MeantTests(SynchronousTestCase):
    """Tests for `meant_worker`."""

    def test_offers(self) -> None:
        """Only a short number behind the token names a worker."""
        self.assertEqual(meant_worker(NAMED), 1)
        for odd in (b"", b"x", b"-1", b"12345", "²".encode()):
            self.assertEqual(meant_worker([b"h2", b"tlsgate-reversetunnel/" + odd]), None)


class PassingTests(SynchronousTestCase):
    """Tests for `Passing`."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.reactor = FakeReactor()
        self.took: list[tuple[int, str, Any, Any]] = []
        self.workers = [self.worker(number) for number in (0, 1)]
        self.sock = socket.socket()
        self.addCleanup(self.sock.close)

    def worker(self, index: int) -> Passing:
        """One that takes and remembers."""

        def take(sock: socket.socket, listener: str, peer: Any, local: Any) -> None:
            self.assertEqual(sock.getblocking(), False)
            sock.close()
            self.took.append((index, listener, peer, local))

        made = Passing(self.reactor, self.folder, index, take)
        made.start()
        self.addCleanup(made.stop)
        return made

    def give(
        self, sock: socket.socket, alpn: tuple[bytes, ...] = NAMED, peer: Any = CLIENT
    ) -> bool:
        given = self.workers[0].give(sock, alpn, "web", peer, GATE)
        self.reactor.turn()
        return given

    def test_passed(self) -> None:
        """A connection goes to the worker that it names, with both addresses."""
        peer = IPv6Address("TCP", "2001:db8::1", 5)
        self.assertEqual((self.give(self.sock), self.give(self.sock, peer=peer)), (True, True))
        self.assertEqual(self.took, [(1, "web", CLIENT, GATE), (1, "web", peer, GATE)])
        self.assertIsInstance(self.took[0][2], IPv4Address)

    def test_kept(self) -> None:
        """What names nobody, or us, or nobody who is there, stays; so does a UNIX socket."""
        for alpn in ((b"h2",), (b"tlsgate-reversetunnel/0",), (b"tlsgate-reversetunnel/7",)):
            self.assertEqual(self.give(self.sock, alpn), False)
        with socket.socket(socket.AF_UNIX) as sock:
            self.assertEqual(self.give(sock), False)
        self.workers[1].stop()
        self.assertEqual((self.give(self.sock), self.took), (False, []))
        self.workers[0].stop()
        self.assertEqual(self.give(self.sock), False)

    def test_again(self) -> None:
        """A worker that takes the place of one that has died takes its connections."""
        self.worker(1)
        self.assertEqual((self.give(self.sock), len(self.took)), (True, 1))

    def test_handed(self) -> None:
        """A socket of our own making is taken as one of whoever it is said to be."""
        nobody = UNIXAddress(None)
        with socket.socket(socket.AF_UNIX) as sock:
            self.assertTrue(self.workers[0].hand(1, sock, "web", nobody, GATE))
            self.assertFalse(self.workers[0].hand(7, sock, "web", nobody, GATE))
        self.reactor.turn()
        self.assertEqual(self.took, [(1, "web", nobody, GATE)])

    def test_private(self) -> None:
        """Nobody else may hand us connections."""
        self.assertEqual(os.stat(self.folder / "1.sock").st_mode & 0o777, 0o600)

    def test_odd(self) -> None:
        """A datagram that cannot be read costs its descriptor, and nothing more."""
        path = str(self.folder / "1.sock")
        good = {"listener": "web", "peer": ["192.0.2.7", 1], "local": ["192.0.2.1", 2]}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            for words in (b"", b"{", b"[]", json.dumps({**good, "peer": [1]}).encode()):
                rights = array("i", [self.sock.fileno()]).tobytes()
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
                sender.sendmsg([words], ancillary, 0, path)
            sender.sendto(b"{}", path)
        self.reactor.turn()
        self.assertEqual(self.took, [])


class FakePassing:
    """Says where connections go, and takes them."""

    def __init__(self, there: bool) -> None:
        self.there = there
        self.took: list[tuple[str, Any, Any, int]] = []

    def meant(self, alpn: tuple[bytes, ...]) -> int | None:
        return 1 if b"elsewhere" in alpn else None

    def give(self, sock: socket.socket, alpn: Any, listener: str, peer: Any, local: Any) -> bool:
        if self.there:
            self.took.append((listener, peer, local, os.dup(sock.fileno())))
        return self.there


class WholeTests(SynchronousTestCase):
    """Two gateways as if they were two workers."""

    def setUp(self) -> None:
        self.rigs = [Rig(), Rig()]
        for rig in self.rigs:
            self.addCleanup(rig.close)

    def begin(self, passing: Any) -> Client:
        first = self.rigs[0]
        first.gateway.passing = passing
        client = first.secure(alpn=(b"elsewhere", b"http/1.1"), cert=None)
        self.assertRaises(SSL.WantReadError, client.tls.do_handshake)
        first.settle()
        return client

    def test_passed(self) -> None:
        """The other one has the hello whole, and nothing of TLS has begun before."""
        passing = FakePassing(True)
        client = self.begin(passing)
        [(listener, peer, local, descriptor)] = passing.took
        self.assertEqual((listener, peer), ("web", CLIENT))
        self.assertEqual(self.rigs[0].gateway.connections(), [])
        self.assertEqual(self.rigs[0].journal[-1]["cause"], "passed_on")
        other = self.rigs[1].gateway
        sock = socket.socket(fileno=descriptor)
        other.receive(sock, listener, peer, local)
        client.rig = self.rigs[1]
        client.shake()
        self.assertEqual(client.tls.get_alpn_proto_negotiated(), b"http/1.1")
        [one] = other.connections()
        self.assertEqual(one["peer"], "192.0.2.7:4711")

    def test_nobody_there(self) -> None:
        """Where the other one is not there the connection is served here."""
        client = self.begin(FakePassing(False))
        client.shake()
        self.assertEqual(client.tls.get_alpn_proto_negotiated(), b"http/1.1")

    def test_no_such_listener(self) -> None:
        """A listener that is not open here any more takes nothing."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.rigs[0].gateway.receive(theirs, "gone", CLIENT, GATE)
        self.assertEqual(ours.recv(1), b"")
