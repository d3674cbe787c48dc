"""The gateway's side in one piece: real TLS, a real gate, and an agent made by hand."""

from __future__ import annotations

import hashlib
import socket
import time
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Client, Rig, read_some
from tests.support.authorities import CLUSTER, Cluster, p256, spki
from tests.tunnel.gateside import asked, greeting, hello, node
from tlsgate.core.frames import Frame, FrameKind, Frames, frame, message, numbered, read_message
from tlsgate.core.greetings import AgentHello, Drain, GatewayHello, Reconnect, read_said
from tlsgate.core.locks import Lock
from tlsgate.core.offers import Answered, Asked
from tlsgate.errors import GateError
from tlsgate.net.ends import PlainEnd
from tlsgate.net.gate import Gate, Trust
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.relay import Pair
from tlsgate.service.tunnels import OwnTunnels
from tlsgate.testing import FakeCluster


class FakeView(FakeCluster):
    """A cluster that gateways watch."""

    state: Any = None
    moves: Any = None

    def on_change(self, listener: Any) -> None:
        """Nothing changes."""


class Agent:
    """One connection of an agent, which says what the test wants."""

    def __init__(self, case: WholeCase, who: str, listener: str, *alpn: bytes) -> None:
        self.client = Client(
            case.rig,
            case.rig.connect(listener),
            alpn=alpn,
            name="gw.test",
            cert=None,
            version=0x0304,
        )
        certificate, key = case.pair(who)
        self.client.tls.use_certificate(certificate)
        self.client.tls.use_privatekey(key)
        self.client.shake()
        self._frames = Frames()
        self._heard: list[Frame] = []

    def say(self, wire: bytes) -> None:
        self.client.write(wire)

    def next(self, *passed_over: FrameKind) -> Frame:
        """The next frame but of these kinds."""
        while True:
            while not self._heard:
                self._heard += self._frames.feed(self.client._receive(65536))
            found = self._heard.pop(0)
            if found.kind not in passed_over:
                return found

    def hello(self, said: AgentHello) -> GatewayHello:
        self.say(message(FrameKind.HELLO, said.told()))
        return greeting(self.next())


class WholeCase(SynchronousTestCase):
    """A gateway in a cluster."""

    def setUp(self) -> None:
        self.cluster = Cluster(time.time())
        self.rig = Rig(extra='  tunnel_listen_addr: "127.0.0.1:3024"', version="v1")
        self.addCleanup(self.rig.close)
        authorities = self.cluster.authorities.cas()["host"]
        file = self.rig.folder / "host.pem"
        file.write_text("".join(authorities))
        gateway, settings = self.rig.gateway, self.rig.settings
        trust = Trust(ca_files={"user": str(file), "host": str(file)}, keypairs=settings.keypairs)
        gateway.take(Gate.build(settings, gateway.gate.protocols, trust))
        self.view = FakeView(CLUSTER)
        view: Any = self.view  # the part of a ClusterView that counts here
        ca = x509.load_pem_x509_certificate(authorities[0].encode())
        self.view.anchor = hashlib.sha256(ca.public_bytes(Encoding.DER)).digest()
        gateway.cluster = view
        self.own = OwnTunnels(self.rig.reactor, gateway, view, 0)
        self.addCleanup(self.own.stop)
        self.own.tunnels.changed = lambda: None
        gateway.tunnels = self.own.tunnels
        self.folder = Path(self.rig.folder)

    def pair(self, name: str) -> tuple[x509.Certificate, Any]:
        """An agent's certificate and key."""
        key = p256()
        issued = self.cluster.issuer.host_certificate(self.cluster.host(name, "node"), spki(key))
        return x509.load_pem_x509_certificate(issued.tls_pem.encode()), key

    def agent(
        self, who: str = "db1", listener: str = "web", alpn: bytes = b"tlsgate-reversetunnel"
    ) -> Agent:
        """An agent connects."""
        return Agent(self, who, listener, *([alpn] if alpn else []))

    def control(self, who: str = "db1") -> tuple[Agent, str]:
        """An agent serves."""
        agent = self.agent(who)
        said = agent.hello(AgentHello(**{**fields(who), "kind": "control"}))
        self.assertEqual(said.error, "")
        return agent, said.session

    def stream(self, session: str, who: str = "db1") -> Agent:
        """With one stream."""
        agent = self.agent(who)
        said = agent.hello(
            AgentHello(**{**fields(who), "kind": "stream", "session": session, "offers": ()})
        )
        self.assertEqual((said.error, said.session), ("", session))
        return agent

    def client(self) -> tuple[socket.socket, list[Any]]:
        """A client goes out to db1; its socket, and what came of it."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        for one in (ours, theirs):
            one.setblocking(False)
        gateway = self.rig.gateway
        came: list[Any] = []

        def reached(end: Any) -> None:
            lease = Lease(Owned(theirs), gateway.poller)
            pair = Pair(
                PlainEnd(lease),
                end,
                gateway.slab,
                gateway.gate.entrances["web"].waits,
                gateway.wheel,
                gateway.now,
            )
            came.append(pair)
            pair.start()

        def missed(error: GateError) -> None:
            theirs.close()
            came.append(error)

        self.own.tunnels.reach(asked()).start(reached, missed)
        return ours, came

    def until_over(self, came: list[Any]) -> None:
        """Turn until the pair of a client is closed."""
        self.rig.until(lambda: not came[0].open)

    def idle(self, who: str) -> int:
        """How many streams of an agent are idle."""
        session = self.own.tunnels.agents.serving(who)
        assert session is not None
        return session.pool.idle

    def listed(self) -> list[tuple[object, object, object]]:
        """What `tgctl connections` would show."""
        return [
            (one["stage"], one["route"], one["identity"]) for one in self.rig.gateway.connections()
        ]


def fields(who: str) -> dict[str, Any]:
    """Of an agent's HELLO."""
    said = hello(who, node(who))
    return {
        "agent": who,
        "cluster": CLUSTER,
        "version": "1.0.0",
        "roles": said.roles,
        "offers": said.offers,
    }


class WholeTests(WholeCase):
    """Agents and clients of one gateway."""

    def test_one_after_another(self) -> None:
        """Two clients go out by one stream, one after the other, and their bytes arrive."""
        _, session = self.control()
        stream = self.stream(session)
        for number in (1, 2):
            client, came = self.client()
            request = read_message(stream.next())
            self.assertEqual(request["n"], number)
            self.assertEqual(Asked.read(request["asked"]), asked())
            yes = {"n": number, "answered": Answered().told()}
            stream.say(message(FrameKind.STATUS, yes) + frame(FrameKind.DATA, b"banner"))
            self.assertEqual(read_some(self.rig, client, 6), b"banner")
            client.send(b"hello")
            self.assertEqual(stream.next(), Frame(FrameKind.DATA, b"hello"))
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(stream.next().kind, FrameKind.END)
            stream.say(numbered(FrameKind.END, number))
            self.until_over(came)
            stream.say(numbered(FrameKind.ENDED, number))
            self.rig.until(lambda: self.idle("db1") == 1)
        self.assertEqual(len(self.own.tunnels.sessions()), 1)

    def test_refused(self) -> None:
        """The agent's sentence reaches the client, and the stream serves on."""
        _, session = self.control()
        stream = self.stream(session)
        _, came = self.client()
        stream.next()
        no = Answered(reason="denied", message="no role of yours lets you")
        stream.say(message(FrameKind.STATUS, {"n": 1, "answered": no.told()}))
        self.rig.until(lambda: came)
        self.assertEqual(str(came[0]), "no role of yours lets you")
        self.client()
        self.assertEqual(read_message(stream.next())["n"], 2)

    def test_dies_before_its_status(self) -> None:
        """A stream that dies is replaced, and the client knows nothing of it."""
        _, session = self.control()
        first, second = self.stream(session), self.stream(session)
        _, came = self.client()
        second.next()
        second.client.sock.close()
        self.assertEqual(Asked.read(read_message(first.next())["asked"]), asked())
        self.assertEqual(came, [])

    def test_tunnel_port(self) -> None:
        """On its own port agents need no token; who offers HTTP is told where to go."""
        said = self.agent("db1", "tunnel", b"").hello(
            AgentHello(**{**fields("db1"), "kind": "control"})
        )
        self.assertEqual((said.error, said.gateway), ("", self.rig.settings.node_name))
        self.assertEqual(self.own.tunnels.sessions()[0]["transport"], "tls")
        stranger = self.agent("db1", "tunnel", b"http/1.1")
        self.assertIn(b"ask the web port", stranger.client.read_end())

    def test_theft(self) -> None:
        """S41: who offers another's name reads why not, and the audit trail has it."""
        thief = self.agent("evil")
        said = thief.hello(AgentHello(**{**fields("evil"), "kind": "control", "agent": "db1"}))
        self.assertIn("it says that it is agent 'db1'", said.error)
        thief.client.read_end()
        self.rig.advance(3)
        [denied] = [more for event, more in self.rig.witness.events if event == "route.deny"]
        self.assertIn("it says that it is agent 'db1'", str(denied["error"]))
        self.assertEqual(denied["route"], "tunnel")

    def test_locked(self) -> None:
        """A lock ends an agent's connections at once, and lets none in."""
        control, session = self.control()
        stream = self.stream(session)
        client, came = self.client()
        stream.next()
        yes = {"n": 1, "answered": Answered().told()}
        stream.say(message(FrameKind.STATUS, yes))
        self.rig.until(lambda: came)
        kinds = sorted(stage for stage, _, _ in self.listed() if isinstance(stage, str))
        self.assertEqual(kinds, ["serving", "tunnel"])
        self.view.lock = Lock(name="l1", target={"agent": "db1"})
        self.rig.gateway.end_those(lambda who: who.claims is not None, "locked")
        self.until_over(came)
        self.rig.advance(3)
        self.assertEqual((self.listed(), self.own.tunnels.sessions()), ([], []))
        causes = [one["cause"] for one in self.rig.journal]
        self.assertEqual(causes, ["locked", "locked"])
        late = self.agent()
        self.assertIn("lock l1", greeting(late.next()).error)
        del control, client

    def test_silent(self) -> None:
        """An agent that answers no ping is gone after three, streams and all."""
        _, session = self.control()
        self.stream(session)
        self.assertEqual(len(self.listed()), 2)
        self.rig.advance(29)  # the first ping goes out at once
        self.assertEqual(len(self.listed()), 2)
        self.rig.advance(5)
        self.assertEqual((self.listed(), self.own.tunnels.offers("node")), ([], []))

    def test_drain(self) -> None:
        """A gateway that stops tells agents first; who is served goes on to the end."""
        control, session = self.control()
        busy, idle = self.stream(session), self.stream(session)
        client, came = self.client()
        idle.next()
        busy, idle = idle, busy
        yes = {"n": 1, "answered": Answered().told()}
        busy.say(message(FrameKind.STATUS, yes))
        self.rig.until(lambda: came)
        self.own.drain()
        done: list[int] = []
        self.rig.gateway.drain(60.0).addCallback(done.append)
        word = control.next(FrameKind.PING)
        self.assertEqual(read_said(read_message(word)), Reconnect("the gateway stops"))
        self.rig.advance(8)
        self.assertEqual([stage for stage, _, _ in self.listed()], ["tunnel"])
        client.send(b"still here")
        self.assertEqual(busy.next(), Frame(FrameKind.DATA, b"still here"))
        client.shutdown(socket.SHUT_WR)
        busy.next()
        busy.say(numbered(FrameKind.END, 1))
        self.until_over(came)
        busy.say(numbered(FrameKind.ENDED, 1))
        self.rig.advance(5)
        self.assertEqual((self.listed(), done), ([], [0]))

    def test_newest_wins(self) -> None:
        """A second registration takes over from the first."""
        older, _ = self.control()
        newer, _ = self.control()
        ping = newer.next()
        self.assertEqual(ping.kind, FrameKind.PING)
        newer.say(frame(FrameKind.PONG, ping.body))
        word = older.next(FrameKind.PING)
        self.assertEqual(read_said(read_message(word)), Drain())
        older.client.read_end()
        self.assertEqual(len(self.own.tunnels.sessions()), 1)
