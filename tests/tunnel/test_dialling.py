"""Tests for `tlsgate.tunnel.dialling`: real TLS over a socket pair, and no network."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import FakeReactor
from tests.support.authorities import Cluster, p256, spki
from tests.tunnel.agentside import hello
from tlsgate.config.settings import KeyPair
from tlsgate.core.frames import Frame, FrameKind, Frames, message, read_message
from tlsgate.core.greetings import AgentHello
from tlsgate.core.tunnelway import Way
from tlsgate.errors import GateError, TargetRefused, TargetSilent, TunnelBroken, Untrusted
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import Poller
from tlsgate.net.wheel import Wheel
from tlsgate.tls import peer
from tlsgate.tls.fast import Slab
from tlsgate.tls.keypair import load_pair
from tlsgate.tls.peer import load_cas
from tlsgate.tunnel import dialling
from tlsgate.tunnel.dialling import TOKEN, Badge, Dialling, Means

HELLO = AgentHello(kind="control", agent="db1", cluster="c", version="1", roles=("node",))


class FakeDial:
    """The dial of a socket; the test connects it."""

    made: FakeDial

    def __init__(self, target: Any, *args: Any) -> None:
        self.target = target
        self.then, self.failed = args[-2:]
        self.cancelled = False
        FakeDial.made = self

    def start(self) -> None:
        """Begin."""

    def cancel(self) -> None:
        """Give up."""
        self.cancelled = True


class DiallingTests(SynchronousTestCase):
    """Tests for `Dialling`."""

    def setUp(self) -> None:
        self.patch(dialling, "Dial", FakeDial)
        self.reactor = FakeReactor()
        self.cluster = Cluster()
        poller: Any = Poller(self.reactor)  # type: ignore[arg-type]
        self.addCleanup(poller.close)
        self.means = Means(
            reactor=self.reactor,
            poller=poller,
            wheel=Wheel(self.reactor),
            slab=Slab(),
            now=self.reactor.seconds,
            time=self.cluster.clock,
            environ={},
        )
        self.met: list[Any] = []
        self.failed: list[GateError] = []
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def pair(self, name: str, role: str) -> str:
        """The file of a key and of what the cluster has issued for it."""
        key = p256()
        claims = self.cluster.host(name, role)
        issued = self.cluster.issuer.host_certificate(claims, spki(key))
        file = self.folder / f"{name}.pem"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(pem + issued.tls_pem.encode())
        file.chmod(0o600)
        return str(file)

    def dial(
        self,
        *,
        alpn: bool = True,
        worker: str | None = None,
        role: str = "gateway",
        token: bytes | None = TOKEN,
    ) -> SSL.Connection:
        """Dial a gateway that has this certificate and confirms that token; its side of it."""
        file = self.pair("db1", "node")
        badge = Badge(
            pair=load_pair(KeyPair(cert_file=Path(file), key_file=Path(file))),
            cluster=self.cluster.name,
            cas=load_cas(self.cluster.authorities.cas()["host"]),
        )
        way = Way("gate.example.com", 443, alpn=alpn)
        self.dialling = Dialling(
            self.means,
            badge,
            way,
            worker,
            HELLO,
            lambda *met: self.met.append(met),
            self.failed.append,
        )
        self.dialling.start()
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        for one in (ours, theirs):
            one.setblocking(False)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        gate = self.pair("gw1", role)
        context.use_certificate_chain_file(gate)
        context.use_privatekey_file(gate, crypto.FILETYPE_PEM)
        self.offered: list[list[bytes]] = []

        def select(connection: Any, offered: list[bytes]) -> Any:
            self.offered.append(offered)
            return SSL.NO_OVERLAPPING_PROTOCOLS if token is None else token

        context.set_alpn_select_callback(select)
        side = SSL.Connection(context, theirs)
        side.set_accept_state()
        FakeDial.made.then(Lease(Owned(ours), self.means.poller), None)
        for _ in range(20):
            self.turn(side)
        return side

    def turn(self, side: SSL.Connection) -> None:
        """Let both sides go on."""
        with contextlib.suppress(SSL.Error):
            side.do_handshake()
        self.reactor.turn()

    def heard(self, side: SSL.Connection) -> list[Frame]:
        """What the gateway gets."""
        try:
            return Frames().feed(side.recv(65536))
        except SSL.Error:
            return []

    def answer(self, side: SSL.Connection, wire: bytes) -> None:
        """The gateway says something."""
        side.send(wire)
        self.reactor.turn()

    def test_a_gateway(self) -> None:
        """It is greeted, and its HELLO is given with the connection, paused right there."""
        side = self.dial()
        (said,) = self.heard(side)
        self.assertEqual(AgentHello.read(read_message(said)), HELLO)
        self.assertEqual(self.offered, [[TOKEN]])
        self.answer(side, message(FrameKind.HELLO, hello().told()) + b"more")
        ((greeting, speaking),) = self.met
        self.assertEqual((greeting, self.failed), (hello(), []))
        lease, session = speaking.release()
        slab = self.means.slab
        self.assertEqual(bytes(slab.view[: session.read(slab, 0, 100)]), b"more")
        lease.abort()

    def test_a_worker(self) -> None:
        """Its own token comes first, so that the socket is passed to it."""
        self.dial(worker="1", token=TOKEN + b"/1")
        self.assertEqual(self.offered, [[TOKEN + b"/1", TOKEN]])
        self.assertEqual(self.failed, [])
        self.dialling.cancel()

    def test_a_port_of_its_own(self) -> None:
        """Where nothing else is served the token need not be confirmed."""
        side = self.dial(alpn=False, token=None)
        self.assertEqual(len(self.heard(side)), 1)
        self.dialling.cancel()

    def test_a_port_that_serves_no_tunnels(self) -> None:
        """Without the token nothing is said to who shares the port with others."""
        side = self.dial(token=None)
        self.assertEqual(self.heard(side), [])
        self.assertIn("serves no tunnels", str(self.failed[0]))

    def test_s41_nobody_but_a_gateway(self) -> None:
        """Another host of the cluster, or a gateway of another one, gets not a byte."""
        side = self.dial(role="node")
        self.assertEqual(self.heard(side), [])
        self.assertIsInstance(self.failed[0], Untrusted)
        self.failed.clear()
        ours = self.cluster
        cas = load_cas(Cluster().authorities.cas()["host"])
        self.patch(peer, "check_gateway", self.with_cas(cas))
        side = self.dial()
        self.assertEqual(self.heard(side), [])
        self.assertIn("no authority of this cluster", str(self.failed[0]))
        self.assertIs(self.cluster, ours)

    def with_cas(self, cas: Any) -> Any:
        """The check, with other authorities."""
        check = peer.check_gateway
        return lambda chain, cluster, _, now: check(chain, cluster, cas, now)

    def test_refusals(self) -> None:
        """What the gateway says instead is told; an odd HELLO and an end, too."""
        for wire, said in (
            (message(FrameKind.HELLO, hello(error="you are locked").told()), "you are locked"),
            (message(FrameKind.HELLO, {"v": 9}), "version"),
            (b"HTTP/1.1 400", "type 72 is unknown"),
        ):
            self.failed.clear()
            side = self.dial()
            self.answer(side, wire)
            (error,) = self.failed
            self.assertIn(said, str(error))
        self.failed.clear()
        side = self.dial()
        side.shutdown()
        self.reactor.turn()
        self.assertIsInstance(self.failed[0], TunnelBroken)
        self.assertIn("refused our certificate", str(self.failed[0]))

    def test_it_takes_too_long(self) -> None:
        """All of it has one deadline; and who cancels hears nothing."""
        self.dial()
        self.reactor.pump([0.25] * 4 * 16)
        self.assertIsInstance(self.failed[0], TargetSilent)
        self.failed.clear()
        self.dial()
        self.dialling.cancel()
        self.dialling.cancel()
        self.reactor.pump([0.25] * 4 * 16)
        self.assertEqual((self.failed, self.met), ([], []))

    def test_nobody_there(self) -> None:
        """A refused connection is told as it is."""
        self.dial()
        self.failed.clear()
        again = Dialling(
            self.means,
            self.dialling._badge,
            Way("::1", 1, alpn=True),
            None,
            HELLO,
            lambda *_: None,
            self.failed.append,
        )
        again.start()
        FakeDial.made.failed(TargetRefused("x", "refused"))
        self.assertEqual(len(self.failed), 1)
        self.assertIsNotNone(FakeDial.made.target.endpoint(self.reactor))
        self.dialling.cancel()
