"""Tests for `tlsgate.net.dial`: what a target's endpoint string leads to."""

from __future__ import annotations

import contextlib
import socket
from types import SimpleNamespace
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import succeed
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import FakeReactor, Rig
from tests.support.certs import pki
from tlsgate.errors import GateError, TargetRefused, TargetSilent, TargetUntrusted
from tlsgate.interfaces import IRouteContext, RelayTo
from tlsgate.net.dial import Dial, Target, parse_target
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import Poller
from tlsgate.net.wheel import Wheel
from tlsgate.protocols.raw import Raw


class NoContexts:
    """Stands for a context store where no `tls:` is parsed."""

    def client(self, ca_files: Any = (), alpn: Any = ()) -> Any:
        """Remember which files were asked for."""
        return ("context", tuple(ca_files))


class ParseTests(SynchronousTestCase):
    """Tests for `parse_target`."""

    def test_literals(self) -> None:
        """Addresses and paths are dialled without Twisted's endpoints."""
        for text, family, address in (
            ("tcp:127.0.0.1:5432", socket.AF_INET, ("127.0.0.1", 5432)),
            (r"tcp:\:\:1:5432", socket.AF_INET6, ("::1", 5432)),
            ("unix:/run/x.sock", socket.AF_UNIX, "/run/x.sock"),
        ):
            target = parse_target(text, NoContexts())
            self.assertEqual((target.family, target.address), (family, address))
            self.assertIsNone(target.context)

    def test_names_and_others(self) -> None:
        """Names are looked up by Twisted, and so is everything with options."""
        for text in ("tcp:db.internal:5432", "tcp:127.0.0.1:1:timeout=3"):
            target = parse_target(text, NoContexts())
            self.assertIsNone(target.address)
            self.assertIsNotNone(target.endpoint)

    def test_tls(self) -> None:
        """The name is verified; the address may be another one."""
        target = parse_target(r"tls:db.test:5432:endpoint=tcp\:127.0.0.1\:99", NoContexts())
        self.assertEqual(target.name, "db.test")
        self.assertEqual(target.address, ("127.0.0.1", 99))
        self.assertEqual(target.context, ("context", ()))
        target = parse_target("tls:127.0.0.1:5432:trustRoots=/etc/ca.pem", NoContexts())
        self.assertEqual(target.context, ("context", ("/etc/ca.pem",)))

    def test_nonsense(self) -> None:
        """What is no endpoint is a ValueError that says so."""
        self.assertRaises(ValueError, parse_target, "carrier-pigeon:1", NoContexts())


class DialTests(SynchronousTestCase):
    """Tests for `Dial`."""

    def setUp(self) -> None:
        """A poller that is turned by hand."""
        self.reactor = FakeReactor()
        self.poller = Poller(self.reactor)  # type: ignore[arg-type]
        self.addCleanup(self.poller.close)
        self.clock = Clock()
        self.wheel = Wheel(self.clock)
        self.reached: list[Lease] = []
        self.failed: list[GateError] = []

    def dial(self, target: Target, first: bytes = b"") -> Dial:
        """Begin."""
        dial = Dial(
            target,
            first,
            5.0,
            self.reactor,
            self.poller,
            self.wheel,
            lambda lease, tls: self.reached.append(lease),
            self.failed.append,
        )
        dial.start()
        return dial

    def turn(self) -> None:
        """Handle what is ready."""
        for _ in range(50):
            self.reactor.turn()

    def test_reached(self) -> None:
        """The first bytes leave before anything else."""
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(1)
            port = listening.getsockname()[1]
            self.dial(Target("x", socket.AF_INET, ("127.0.0.1", port)), b"first")
            self.turn()
            accepted, _ = listening.accept()
        self.assertEqual(accepted.recv(100), b"first")
        accepted.close()
        self.reached[0].close()
        self.assertEqual(self.wheel.waiting(), 0)

    def test_reached_by_an_endpoint(self) -> None:
        """A socket that Twisted connected may be any kind: `unix:` with options is no TCP."""
        for family in (socket.AF_UNIX, socket.AF_INET):
            ours = socket.socket(family)
            self.addCleanup(ours.close)

            def connect(factory: IProtocolFactory, ours: socket.socket = ours) -> Any:
                protocol = factory.buildProtocol(UNIXAddress(None))
                assert protocol is not None
                protocol.makeConnection(Owned(ours))  # type: ignore[arg-type]
                return succeed(protocol)

            endpoint = SimpleNamespace(connect=connect)
            self.dial(Target("x", endpoint=lambda reactor, found=endpoint: found))  # type: ignore[misc]
            self.assertIs(self.reached[-1].socket, ours)
        self.assertEqual(self.failed, [])

    def test_refused(self) -> None:
        """Nobody listens: the reason is the system's, at once."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            self.dial(Target("x", socket.AF_INET, ("127.0.0.1", port)))
            self.turn()
        (error,) = self.failed
        self.assertIsInstance(error, TargetRefused)
        self.assertIn("refused", str(error).lower())
        self.assertEqual(self.poller.watched(), 0)

    def full_backlog(self) -> Target:
        """A target that answers no more connections."""
        listening = socket.socket()
        self.addCleanup(listening.close)
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = socket.socket()
            waiting.setblocking(False)
            self.addCleanup(waiting.close)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listening.getsockname())
        return Target("x", socket.AF_INET, listening.getsockname())

    def test_silent(self) -> None:
        """A target that does not answer is given up after the dial's seconds."""
        self.dial(self.full_backlog())
        self.turn()
        self.clock.pump([0.25] * 24)
        (error,) = self.failed
        self.assertIsInstance(error, TargetSilent)
        self.assertEqual(self.poller.watched(), 0)

    def test_cancelled(self) -> None:
        """After `cancel` nobody is told anything."""
        dial = self.dial(self.full_backlog())
        dial.cancel()
        self.clock.pump([0.25] * 24)
        self.assertEqual((self.reached, self.failed), ([], []))
        self.assertEqual(self.poller.watched(), 0)


class SecureTargetTests(SynchronousTestCase):
    """A target that is reached over TLS and verified."""

    def connect(self, name: str) -> tuple[Rig, Any, SSL.Connection]:
        """A client at the gateway, and the target's side of what the gateway dials."""
        ca = pki().file("ca.pem")
        route = (
            "[{name: t, alpn: [t], client_cert: none, unsafe_anyone: yes, target: "
            f"'tls:{name}:1:trustRoots={ca}:endpoint=unix\\:{{path}}'}}]"
        )
        folder = Rig()
        self.addCleanup(folder.close)
        rig = Rig(route.replace("{path}", folder.path))
        self.addCleanup(rig.close)
        rig.listening.close()
        rig.listening = folder.listening
        client = rig.secure(alpn=(b"t",), cert=None).shake()
        sock = rig.accept()
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate_chain_file(str(pki().file("target.pem")))
        context.use_privatekey_file(str(pki().file("target-key.pem")))
        server = SSL.Connection(context, sock)
        server.set_accept_state()
        return rig, client, server

    def test_verified(self) -> None:
        """Bytes arrive when the certificate is for the name; the name is sent as SNI."""
        rig, client, server = self.connect("target.test")
        rig.until(lambda: _try(server.do_handshake) is not False)
        self.assertEqual(server.get_servername(), b"target.test")
        client.write(b"hello")
        self.assertEqual(rig.until(lambda: _try(lambda: server.recv(100))), b"hello")
        server.send(b"answer")
        self.assertEqual(client.read(6), b"answer")

    def test_first_bytes_are_under_tls(self) -> None:
        """What a protocol says to its target before the client leaves only under TLS."""

        def build(protocol: object, context: IRouteContext) -> RelayTo:
            assert context.route.target is not None
            return RelayTo(target=context.route.target, first=b"secret ")

        self.patch(Raw, "build", build)  # any protocol may
        rig, client, server = self.connect("target.test")
        rig.until(lambda: _try(server.do_handshake) is not False)
        self.assertEqual(rig.until(lambda: _try(lambda: server.recv(100))), b"secret ")
        client.write(b"hello")
        self.assertEqual(rig.until(lambda: _try(lambda: server.recv(100))), b"hello")

    def test_wrong_name(self) -> None:
        """A certificate for another name gets no byte, and the client an end in order."""
        rig, client, server = self.connect("other.test")

        def shaken() -> bool:
            try:
                server.do_handshake()
            except SSL.WantReadError:
                return False
            except SSL.Error:
                return True
            return True

        rig.until(shaken)
        self.assertEqual(client.read_end(), b"")
        rig.advance(3)
        self.assertEqual(rig.journal[-1]["cause"], TargetUntrusted.reason)


def _try(call: Any) -> Any:
    try:
        return call()
    except SSL.WantReadError:
        return False
