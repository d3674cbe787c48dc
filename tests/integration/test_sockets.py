"""Listening sockets of the kernel: names, modes, leftovers, inheritance."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.endpoints import Bind
from tlsgate.service.listeners import BACKLOG, Bound, adopt, open_endpoint


class OpenTests(SynchronousTestCase):
    """Tests for `open_endpoint`."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = self.folder / "x.sock"

    def open(self, more: str = "") -> Bound:
        """Open the socket."""
        bound = open_endpoint(f"unix:{self.path}{more}")
        self.addCleanup(bound.close)
        return bound

    def test_mode(self) -> None:
        """The mode is the endpoint's, at no moment a wider one."""
        for mode in (0o600, 0o660, 0o666):
            bound = self.open(f":mode={mode:o}")
            self.assertEqual(self.path.stat().st_mode & 0o777, mode)
            bound.close()
            self.assertFalse(self.path.exists())

    def test_a_stale_name_is_replaced(self) -> None:
        """What a killed process has left is removed; a live listener or a file never."""
        first = self.open()
        assert first.socket is not None
        self.assertRaises(OSError, self.open)
        first.socket.close()
        second = self.open()
        self.assertTrue(self.path.exists())
        second.close()
        self.path.write_text("precious")
        self.assertRaises(FileExistsError, self.open)
        self.assertEqual(self.path.read_text(), "precious")

    def test_a_name_that_is_no_longer_ours(self) -> None:
        """Closing leaves a name that somebody else has taken since, or is told to leave."""
        first = self.open()
        self.path.unlink()
        second = self.open()
        first.close()
        self.assertTrue(self.path.exists())
        second.close(leave_name=True)
        self.assertTrue(self.path.exists())

    def test_long_paths(self) -> None:
        """A path that no socket address can hold works too."""
        deep = self.folder / ("d" * 100) / ("e" * 100)
        deep.mkdir(parents=True)
        self.path = deep / "x.sock"
        bound = self.open()
        self.assertEqual(bound.address, str(self.path))
        bound.close()
        self.assertFalse(self.path.exists())

    def test_adopted(self) -> None:
        """A descriptor that another process opened is as good as an own one."""
        bound = self.open()
        assert bound.socket is not None
        heir = adopt(bound.endpoint, os.dup(bound.socket.fileno()), bound.inode)
        self.assertEqual(heir.actual, Bind("unix", name=str(self.path)))
        bound.close(leave_name=True)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.path))
        heir.close()
        self.assertFalse(self.path.exists())

    def test_tcp(self) -> None:
        """A port that the system picks, with a queue that takes a burst."""
        bound = open_endpoint("tcp:0:interface=127.0.0.1")
        self.addCleanup(bound.close)
        self.assertEqual(bound.address, f"127.0.0.1:{bound.actual.port}")
        clients = []
        for _ in range(200):  # Twisted's own ports queue 50
            client = socket.create_connection(("127.0.0.1", bound.actual.port), 5)
            self.addCleanup(client.close)
            clients.append(client)
        self.assertGreaterEqual(BACKLOG, 4096)
        assert bound.socket is not None
        accepted, _ = bound.socket.accept()
        self.addCleanup(accepted.close)
        for level, option in (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        ):
            self.assertTrue(accepted.getsockopt(level, option))

    def test_dual_stack(self) -> None:
        """Every address there is takes clients of IPv4 and of IPv6."""
        bound = open_endpoint(r"tcp:0:interface=\:\:")
        self.addCleanup(bound.close)
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, bound.actual.port), 5).close()

    def test_systemd_has_none(self) -> None:
        """Without descriptors of systemd's such an endpoint says what is missing."""
        error = self.assertRaises(OSError, open_endpoint, "systemd:domain=INET:index=0")
        self.assertIn("LISTEN_FDS", str(error))
