"""Tests for `cli.outward`: the HTTP proxy of the environment."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli import outward
from tlsgate.errors import Unreachable


class ConnectTests(SynchronousTestCase):
    """Tests for `connect`."""

    def setUp(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.addCleanup(self.ours.close)
        self.theirs.settimeout(5)
        self.dialled: list[tuple[str, int]] = []
        self.patch(outward, "_dial", self.dial)
        self.patch(os, "environ", {})

    def dial(self, host: str, port: int, seconds: float) -> socket.socket:
        """Be whoever is dialled."""
        self.dialled.append((host, port))
        return self.ours

    def test_straight(self) -> None:
        """Without a proxy, and for what NO_PROXY spares, the gateway itself is dialled."""
        for environ in ({}, {"https_proxy": "http://proxy.test:8080", "NO_PROXY": ".test"}):
            self.patch(os, "environ", environ)
            self.assertIs(outward.connect("gate.test", 443, 5), self.ours)
        self.assertEqual(self.dialled, [("gate.test", 443)] * 2)

    def test_through(self) -> None:
        """The proxy is asked with CONNECT, and what follows its answer is left unread."""
        self.patch(os, "environ", {"HTTPS_PROXY": "http://proxy.test:8080"})
        self.theirs.sendall(b"HTTP/1.1 200 fine\r\nX: y\r\n\r\nTLS")
        made = outward.connect("gate.test", 443, 5)
        self.assertEqual((self.dialled, made.recv(9)), ([("proxy.test", 8080)], b"TLS"))
        self.assertEqual(
            self.theirs.recv(999), b"CONNECT gate.test:443 HTTP/1.1\r\nHost: gate.test:443\r\n\r\n"
        )

    def test_refused(self) -> None:
        """A proxy that refuses, or is none, is named."""
        self.patch(os, "environ", {"HTTPS_PROXY": "proxy.test:8080"})
        for answer, words in (
            (b"HTTP/1.1 407 Authentication Required\r\n\r\n", "refuses: 407 Authentication"),
            (b"SSH-2.0-x\r\n\r\n", "refuses: nothing"),
            (b"x" * 20_000, "gives no answer of HTTP"),
        ):
            self.setUp()
            self.patch(os, "environ", {"HTTPS_PROXY": "proxy.test:8080"})
            self.theirs.sendall(answer)
            self.theirs.shutdown(socket.SHUT_WR)
            error = self.assertRaises(Unreachable, outward.connect, "gate.test", 443, 5)
            self.assertIn("proxy.test:8080", str(error))
            self.assertIn(words, str(error))
