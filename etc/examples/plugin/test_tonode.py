"""Tests of tonode: a cluster and its agents are doubles, too."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.access import Decision
from tlsgate.core.offers import Offer
from tlsgate.errors import NoAgent
from tlsgate.testing import FakeCluster, FakeContext, FakeTunnels, connect, load, member

tonode = load(Path(__file__).with_name("tonode.py"))["tonode"]
DB1 = Offer(kind="node", name="db1", addresses=("127.0.0.1:22",))


class ToNodeTests(SynchronousTestCase):
    """What becomes of a client that names a node."""

    def setUp(self) -> None:
        """Alice, in a cluster with one node."""
        self.cluster, self.tunnels = FakeCluster(), FakeTunnels(DB1)
        self.context = FakeContext(
            identity=member("alice"), cluster=self.cluster, tunnels=self.tunnels
        )

    def test_there(self) -> None:
        """What follows the line is the node's, and the client's first word is a plus."""
        connect(tonode, self.context).send(b"db1\nSSH-2.0-x\r\n")
        assert self.context.relayed is not None
        reach, say, unread, target, _ = self.context.relayed
        self.assertIs(reach, self.tunnels.reaches[0])
        self.assertEqual((unread, target, say(None)), (b"SSH-2.0-x\r\n", "node/db1", b"+\n"))

    def test_away(self) -> None:
        """A node without a tunnel is refused with a sentence, and so is one that is lost later."""
        connect(tonode, self.context).send(b"db2\n")
        assert self.context.refused is not None
        error, words, target = self.context.refused
        self.assertEqual((str(error), target), (str(NoAgent("node", "db2")), "node/db2"))
        self.assertEqual(words, tonode.refusal(NoAgent("node", "db2")))

    def test_denied(self) -> None:
        """No agent is asked for somebody who may not go there."""
        self.cluster.decision = Decision(False, "no role allows it")
        connect(tonode, self.context).send(b"db1\n")
        self.assertEqual((self.context.relayed, self.tunnels.reaches), (None, []))
