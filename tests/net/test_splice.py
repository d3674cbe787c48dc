"""Tests for `tlsgate.net.splice`: the same bytes, without copying them."""

from __future__ import annotations

import contextlib
import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Rig, noise, read_all
from tests.net.test_dispatcher import hello
from tlsgate.net.splice import BULK_BYTES, Pipes

ROUTES = """[{name: pass, alpn: [open], passthrough: yes, target: "{unix}"}]"""


class SplicedFlowTests(SynchronousTestCase):
    """Tests for `SplicedFlow`, below and above the size from which it splices."""

    def setUp(self) -> None:
        """Open one passed-through connection."""
        self.rig = Rig(ROUTES)
        self.addCleanup(self.rig.close)
        self.client = self.rig.connect()
        self.hello = hello()
        self.client.send(self.hello)
        self.target = self.rig.accept()

    def carry(self, source: socket.socket, sink: socket.socket, data: bytes, skip: int) -> bytes:
        """Send all of *data*, reading slowly at times; what arrived behind *skip* bytes."""
        at, got = 0, b""
        for turn in range(200_000):
            with contextlib.suppress(BlockingIOError):
                if at < len(data):
                    at += source.send(data[at : at + 100_003])
            self.rig.turn()
            if turn % 7 == 0:
                with contextlib.suppress(BlockingIOError):
                    got += sink.recv(300_007)
            if len(got) == len(data) + skip:
                return got[skip:]
        raise AssertionError("not all arrived")

    def test_both_directions(self) -> None:
        """Every byte arrives in order, and the hello first."""
        up, down = noise(6 << 20), noise(6 << 20)
        self.assertEqual(self.carry(self.client, self.target, up, len(self.hello)), up)
        self.assertEqual(self.carry(self.target, self.client, down, 0), down)

    def test_ends(self) -> None:
        """Half-close works behind spliced bytes, and no pipe stays lent."""
        data = noise(3 * BULK_BYTES)
        self.carry(self.client, self.target, data, len(self.hello))
        self.client.shutdown(socket.SHUT_WR)
        self.assertEqual(read_all(self.rig, self.target), b"")
        self.carry(self.target, self.client, data, 0)
        self.target.close()
        self.assertEqual(read_all(self.rig, self.client), b"")
        self.rig.until(lambda: self.rig.journal)
        self.assertEqual(self.rig.journal[-1]["to_target"], len(data) + len(self.hello))
        self.assertEqual(len(self.rig.gateway._pipes._free), 1)

    def test_slow_sink_and_reset(self) -> None:
        """A pipe with bytes in it is thrown away when the connection breaks."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(2_000):
                if not self.client.send(bytes(65536)) or not self.rig.turn():
                    break
        self.rig.settle()
        self.target.close()
        self.rig.settle()
        self.client.close()
        self.rig.settle()
        self.assertEqual(self.rig.gateway.connections(), [])


class PipesTests(SynchronousTestCase):
    """Tests for `Pipes`."""

    def test_bound(self) -> None:
        """No more than so many are lent; one that is given back can be lent again."""
        pipes = Pipes(2)
        self.addCleanup(pipes.close)
        first, second = pipes.lend(), pipes.lend()
        self.assertIsNone(pipes.lend())
        assert first is not None and second is not None
        pipes.give(first)
        pipes.give(second, empty=False)
        self.assertEqual(pipes.lend(), first)
        pipes.give(first)
