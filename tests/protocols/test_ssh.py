"""Tests for `tlsgate.protocols.ssh`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.access import Decision
from tlsgate.core.offers import Offer
from tlsgate.core.routing import CertRule
from tlsgate.core.sniff import Opening, Then, sniff
from tlsgate.core.wire import ssh
from tlsgate.errors import (
    AgentBusy,
    AgentRefused,
    BadName,
    GateError,
    NoAgent,
    NotOffered,
    NotServed,
    TargetRefused,
    TargetSilent,
    TunnelBroken,
)
from tlsgate.interfaces import RelayTo
from tlsgate.protocols.ssh import Ssh, answer
from tlsgate.testing import (
    Conversation,
    FakeCluster,
    FakeContext,
    FakeTunnels,
    connect,
    member,
    route,
)

DB1 = Offer(kind="node", name="db1", addresses=("127.0.0.1:22",))
ASK = b"CONNECT db1:22 HTTP/1.1\r\nHost: db1:22\r\n\r\n"


class SshTests(SynchronousTestCase):
    """SSH by its banner, and the port that only refuses."""

    def test_own_port(self) -> None:
        """The separate port speaks first: a disconnect with the way out."""
        protocol = Ssh()
        self.assertTrue(protocol.listener.speaks_first)
        error = NotServed("ssh", protocol.advice)
        self.assertEqual(protocol.refusal(error), ssh.disconnect(str(error)))

    def test_banner(self) -> None:
        """On a shared port the client's own banner leads to a route, untouched."""
        opening = sniff(b"SSH-2.0-OpenSSH_9.2p1\r\n", Ssh.openings)
        assert isinstance(opening, Opening)
        self.assertEqual(
            (opening.protocol, opening.then, opening.consumes, opening.answer),
            ("ssh", Then.TAKE, 0, b""),
        )

    def test_users_alone(self) -> None:
        """The token takes a certificate of the cluster's users, and of nobody else."""
        rules = (Ssh.client_cert, Ssh.holders, Ssh.shows_cluster, Ssh.stands_alone)
        self.assertEqual(rules, (CertRule.REQUIRED, ("user",), True, True))

    def test_static_route(self) -> None:
        """What a static route leads to is carried from the first byte."""
        context = FakeContext(route=route(target="tcp:10.0.0.5:22"))
        self.assertEqual(Ssh().build(context), RelayTo(target="tcp:10.0.0.5:22"))


class ConnectTests(SynchronousTestCase):
    """`tlsgate-ssh`: one CONNECT."""

    def setUp(self) -> None:
        self.tunnels, self.cluster = FakeTunnels(DB1), FakeCluster()
        self.context = FakeContext(
            identity=member("alice"), cluster=self.cluster, tunnels=self.tunnels, der=b"der"
        )

    def begin(self) -> Conversation:
        """A client that has said nothing yet."""
        return connect(Ssh(), self.context)

    def said(self, wire: bytes) -> tuple[int, str]:
        """Status and sentence of the refusal of *wire*."""
        self.begin().send(wire)
        assert self.context.refused is not None
        return read(self.context.refused[1])

    def test_relayed(self) -> None:
        """What follows the request is the target's, however the network cuts it."""
        for cut in range(len(ASK) + 1):
            self.tunnels.reaches.clear()
            talk = self.begin()
            talk.send(ASK[:cut])
            talk.send(ASK[cut:] + b"SSH-2.0-x\r\n")
            (reach,) = self.tunnels.reaches
            assert self.context.relayed is not None
            found, _, unread, target, limits = self.context.relayed
            # A request that was whole has handed over already; the transport has the rest.
            self.assertIs(found, reach)
            self.assertEqual(unread, b"" if cut == len(ASK) else b"SSH-2.0-x\r\n")
            self.assertEqual((target, limits), ("node/db1", self.cluster.decision))
        self.assertEqual(reach.asked.certificate, b"der")
        self.assertEqual(self.context.clock.getDelayedCalls(), [])

    def test_refused(self) -> None:
        """The answer is the sentence that the user reads."""
        self.assertEqual(
            self.said(b"CONNECT db2:22 HTTP/1.1\r\n\r\n"), (404, str(NoAgent("node", "db2")))
        )
        assert self.context.refused is not None
        self.assertEqual(self.context.refused[2], "node/db2")
        self.assertEqual(self.said(b"SSH-2.0-OpenSSH_9.2\r\n")[0], 400)
        self.assertEqual(self.said(b"CONNECT a_.:22 HTTP/1.1\r\n\r\n")[0], 404)
        self.assertEqual(self.said(b"CONNECT 10.0.0.5:22 HTTP/1.1\r\n\r\n")[0], 400)
        self.cluster.decision = Decision(False, "no role allows it")
        self.assertEqual(self.said(ASK), (403, "alice may not reach node db1: no role allows it"))
        self.context.identity = None
        self.assertEqual(self.said(ASK)[0], 503)
        self.assertIsNone(self.context.relayed)

    def test_too_late(self) -> None:
        """Who says nothing, or half of it, is told so after opening_seconds."""
        talk = self.begin()
        talk.send(ASK[:-1])
        self.context.clock.advance(9)
        self.assertIsNone(self.context.refused)
        self.context.clock.advance(1)
        assert self.context.refused is not None
        self.assertEqual(read(self.context.refused[1]), (408, "opening_seconds (10 s) passed"))
        talk.send(b"\n")
        self.assertIsNone(self.context.relayed)

    def test_gone(self) -> None:
        """A client that goes leaves no timer."""
        self.begin().hang_up()
        self.assertEqual(self.context.clock.getDelayedCalls(), [])


class AnswerTests(SynchronousTestCase):
    """Tests for `answer`."""

    def test_established(self) -> None:
        """Nothing but a 200 stands before the target's own bytes."""
        self.assertEqual(answer(None), b"HTTP/1.1 200 Connection established\r\n\r\n")

    def test_statuses(self) -> None:
        """A program can tell by the status who has to do something."""
        errors: tuple[tuple[GateError, int], ...] = (
            (AgentRefused("db1", "target_denied", "alice may not"), 403),
            (AgentRefused("db1", "target_refused", "sshd is away"), 502),
            (AgentBusy("db1", "all streams are taken"), 503),
            (NotOffered("db1", 23), 404),
            (BadName("name", "empty"), 400),
            (TunnelBroken("cut"), 502),
            (TargetRefused("x", "y"), 502),
            (TargetSilent("node/db1", 10), 504),
        )
        for error, status in errors:
            self.assertEqual(read(answer(error))[0], status, error)
        self.assertEqual(read(answer(errors[1][0]))[1], "sshd is away")


def read(wire: bytes) -> tuple[int, str]:
    """Status and sentence of an answer."""
    head, body = wire.split(b"\r\n\r\n", 1)
    return int(head.split(b" ", 2)[1]), body.decode().removesuffix("\n")
