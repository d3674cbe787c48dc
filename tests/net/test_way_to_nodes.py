"""A user with a certificate, `tlsgate-ssh` and a node: protocol and net together.

Sockets and TLS are real; the agents and the cluster are not.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Client, Rig, read_some
from tests.net.test_pinging import FramedTls
from tests.support.certs import pki
from tlsgate import registry
from tlsgate.core.access import Decision
from tlsgate.core.offers import Asked, Offer
from tlsgate.errors import AgentRefused, TunnelBroken
from tlsgate.interfaces import IReach
from tlsgate.net.dial import DialReach, parse_target
from tlsgate.net.gate import Gate, Trust
from tlsgate.testing import FakeCluster, FakeTunnels

DB1 = Offer(kind="node", name="db1", addresses=("127.0.0.1:22",))
ASK = b"CONNECT db1.prod:22 HTTP/1.1\r\nHost: db1.prod:22\r\n\r\n"
OK = b"HTTP/1.1 200 Connection established\r\n"


class Dialled(FakeTunnels):
    """Agents that are reached by dialling the rig's target, where the test does not hold them."""

    held = False

    def __init__(self, rig: Rig) -> None:
        super().__init__(DB1)
        self.rig = rig

    def reach(self, asked: Asked, beside: Any = None) -> Any:
        """See `ITunnels`."""
        held = super().reach(asked)
        if self.held:
            return held
        gateway = self.rig.gateway
        target = parse_target(f"unix:{self.rig.path}", gateway.gate.contexts)
        reach: IReach = DialReach(
            target, 5, gateway.reactor, gateway.poller, gateway.wheel, binding=gateway.binding
        )
        return reach


class NodeCase(SynchronousTestCase):
    """A gateway of a cluster with one node."""

    def setUp(self) -> None:
        self.rig = Rig(extra="  timeouts: {idle_seconds: 1000}")
        self.addCleanup(self.rig.close)
        files = {kind: str(self.rig.folder / f"{kind}.pem") for kind in ("user", "host")}
        for file in files.values():
            Path(file).write_bytes(pki().file("ca.pem").read_bytes())
        trust = Trust(ca_files=files, keypairs=(pki().keypair("server"),))
        settings = evolve(self.rig.settings, client_ca_files=())
        gateway = self.rig.gateway
        gateway.take(Gate.build(settings, registry.load(None).protocols, trust))
        self.cluster, self.tunnels = FakeCluster(), Dialled(self.rig)
        gateway.cluster, gateway.tunnels = self.cluster, self.tunnels

    def client(self, *tokens: bytes) -> Client:
        """A client of alice's."""
        return self.rig.secure(alpn=tokens or (b"tlsgate-ssh",)).shake()

    def ended(self) -> dict[str, Any]:
        """The log line of the only connection."""
        self.rig.until(lambda: self.rig.journal)
        return dict(self.rig.journal[-1])


class WayTests(NodeCase):
    """What becomes of it."""

    def test_through(self) -> None:
        """SSH flows both ways; the log and the audit trail know to what, and how much."""
        client = self.client()
        client.write(ASK + b"SSH-2.0-client\r\n")
        node = self.rig.accept()
        self.assertEqual(read_some(self.rig, node, 16), b"SSH-2.0-client\r\n")
        node.send(b"SSH-2.0-node\r\n")
        self.assertEqual(client.read(len(OK) + 16), OK + b"\r\nSSH-2.0-node\r\n")
        (one,) = self.rig.gateway.connections()
        self.assertEqual((one["target"], one["identity"]), ("node/db1", "alice"))
        asked = self.tunnels.reaches[0].asked
        self.assertEqual(asked.trace, one["trace"])
        self.assertIn(b"alice", asked.certificate)
        client.tls.shutdown()
        self.rig.settle()
        node.close()
        line = self.ended()
        self.assertEqual(
            [line[key] for key in ("target", "route", "to_target", "to_client", "cause")],
            ["node/db1", "ssh", 16, 14, "client_ended"],
        )
        events = [name for name, _ in self.rig.witness.events]
        self.assertEqual(events, ["route.connect", "session.start", "route.end", "session.end"])

    def test_pinged(self) -> None:
        """With the ping variant all of it is framed, and the answer tells the interval."""
        self.cluster.ping_seconds = 20.0
        client = self.client(b"tlsgate-ssh-ping", b"tlsgate-ssh")
        framed: Any = FramedTls(client.tls)
        client.tls = framed
        client.write(ASK)
        node = self.rig.accept()
        told = OK + b"tlsgate-ping-seconds: 20\r\n\r\n"
        self.assertEqual(client.read(len(told)), told)
        node.send(b"SSH-2.0-node\r\n")
        self.assertEqual(client.read(14), b"SSH-2.0-node\r\n")
        self.rig.advance(22)
        node.send(b"x")
        self.assertEqual(client.read(1), b"x")
        self.assertEqual(framed.unframe.pings, 1)

    def test_denied(self) -> None:
        """The sentence of a denial is the answer's body."""
        self.cluster.decision = Decision(False, "no role allows it")
        client = self.client()
        client.write(ASK)
        head, body = client.read_end().split(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 403 Forbidden\r\n"), head)
        self.assertEqual(body, b"alice may not reach node db1: no role allows it\n")
        client.sock.close()
        self.assertEqual(self.ended()["cause"], "target_denied")
        self.assertEqual(self.rig.witness.events[-1][0], "session.rejected")

    def test_the_agents_own_no(self) -> None:
        """What the agent says is what the user reads, with the status of what it is."""
        self.tunnels.held = True
        for error, status in (
            (AgentRefused("db1", "target_denied", "alice is locked"), b"403"),
            (AgentRefused("db1", "target_refused", "sshd does not answer"), b"502"),
            (TunnelBroken("the agent is gone"), b"502"),
        ):
            client = self.client()
            client.write(ASK)
            self.rig.until(lambda: self.tunnels.reaches and self.tunnels.reaches[-1].missed)
            self.tunnels.reaches.pop().missed(error)
            head, body = client.read_end().split(b"\r\n\r\n")
            self.assertEqual((head.split()[1], body), (status, str(error).encode() + b"\n"))

    def test_gone_while_the_agent_dials(self) -> None:
        """The agent's work is cancelled when nobody waits for it any more."""
        self.tunnels.held = True
        client = self.client()
        client.write(ASK)
        self.rig.until(lambda: self.tunnels.reaches)
        client.sock.close()
        self.rig.until(lambda: self.tunnels.reaches[0].cancelled)

    def test_locked(self) -> None:
        """A lock ends a session at once, and the node's side too."""
        client = self.client()
        client.write(ASK)
        node = self.rig.accept()
        client.read(len(OK) + 2)
        self.rig.gateway.end_those(lambda identity: identity.name == "alice")
        self.assertEqual(self.ended()["cause"], "locked")
        self.assertEqual(node.recv(1), b"")  # a UNIX socket knows no reset

    def test_limits(self) -> None:
        """A role's idle time and the certificate's end hold for the session."""
        now = time.time()
        self.patch(time, "time", lambda: now)
        for decision, seconds, cause in (
            (Decision(True, "role", 30.0, None), 45, "idle"),
            (Decision(True, "role", None, now + 20.0), 21, "lifetime"),
        ):
            self.rig.journal.clear()
            self.cluster.decision = decision
            client = self.client()
            client.write(ASK)
            self.rig.accept()
            client.read(len(OK) + 2)
            self.rig.advance(seconds)
            self.assertEqual(self.ended()["cause"], cause)

    def test_no_certificate(self) -> None:
        """Nobody comes without a certificate of the cluster's users, whatever the token."""
        for token in (b"tlsgate-ssh", b"tlsgate-ssh-ping"):
            client = self.rig.secure(alpn=(token,), cert=None)
            self.assertIn("certificate required", client.alert())
