"""Tests for `tlsgate.targets.secure`: HTTPS applications, and whom an agent believes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.logger import globalLogPublisher

from tests.support.certs import pki
from tests.targets.rig import OpeningCase
from tlsgate.config.settings import OfferSettings, TargetTls
from tlsgate.errors import BadKeyPair, TargetRefused, TargetSilent, TargetUntrusted, TunnelBroken
from tlsgate.net.ends import PlainEnd, SecureEnd
from tlsgate.targets import check_files
from tlsgate.targets.base import nothing
from tlsgate.targets.secure import Web, make_context
from tlsgate.tls.fast import RECORD


class SecureTests(OpeningCase):
    """A target that speaks TLS."""

    def setUp(self) -> None:
        super().setUp()
        self.web = Web()
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.ca = Path(self.mktemp()).absolute()
        self.ca.write_bytes(pki().file("ca.pem").read_bytes())
        self.target.setblocking(False)
        self.server = self.served("target")

    def served(self, name: str) -> SSL.Connection:
        """The target's side, with one of the tests' certificates."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate_chain_file(str(pki().file(f"{name}.pem")))
        context.use_privatekey_file(str(pki().file(f"{name}-key.pem")))
        context.set_alpn_select_callback(self.choose)
        server = SSL.Connection(context, self.target)
        server.set_accept_state()
        return server

    def choose(self, _: SSL.Connection, offered: list[bytes]) -> bytes:
        """What the agent says that it speaks."""
        self.offered = offered
        return offered[0]

    def settings(self, **tls: Any) -> OfferSettings:
        """An application's part of the file."""
        made = TargetTls(**{"ca_file": str(self.ca), **tls})
        return OfferSettings(kind="app", name="wiki", protocol="http", tls=made)

    def open(self, host: str = "target.test", **tls: Any) -> Callable[[], None]:
        """Begin, and go on until nothing happens any more."""
        stop = self.web(self.arrived(self.settings(**tls), host))
        for _ in range(20):
            self.turn()
            try:
                self.server.do_handshake()
            except SSL.WantReadError:
                continue
            except SSL.Error:
                break
        self.turn()
        return stop

    def refusal(self) -> Any:
        """Why the client was refused; it has heard nothing before."""
        ((what, error),) = self.serving.said
        self.assertEqual(what, "refuse")
        return error

    def test_without_tls(self) -> None:
        """An http:// application is reached as it is."""
        settings = OfferSettings(kind="app", name="wiki", protocol="http")
        self.assertIs(self.web(self.arrived(settings)), nothing)
        self.assertIsInstance(self.serving.said[1][2], PlainEnd)

    def test_verified(self) -> None:
        """Its name is in the hello and in the certificate; then bytes go under TLS."""
        self.open()
        (accepted, (what, client, target, *rest)) = self.serving.said
        self.assertEqual((accepted, what, rest), (("accept",), "carry", [b"", b"", None]))
        self.assertIs(client, self.serving.client)
        self.assertIsInstance(target, SecureEnd)
        self.assertEqual(
            (self.server.get_servername(), self.offered), (b"target.test", [b"http/1.1"])
        )
        self.server.send(b"hello")
        slab = self.means.slab
        self.assertEqual(target.fill(slab, RECORD), 5)
        self.assertEqual(bytes(slab.view[:5]), b"hello")

    def test_by_another_name(self) -> None:
        """The file may say which name it is, and an address is held against addresses."""
        self.open(host="10.0.0.7", server_name="target.test")
        self.assertEqual(self.serving.said[0], ("accept",))
        self.setUp()
        self.open(host="127.0.0.1")
        self.assertEqual(self.serving.said[0], ("accept",))
        self.assertIsNone(self.server.get_servername())

    def test_another_name(self) -> None:
        """A certificate for another name is refused, and no byte of the client's goes there."""
        self.open(host="other.test")
        error = self.refusal()
        self.assertIsInstance(error, TargetUntrusted)
        self.assertIn("not for other.test", str(error))

    def test_another_authority(self) -> None:
        """So is one of an authority that the file does not name, and of nobody the system knows."""
        self.ca.write_bytes(pki().file("other-ca.pem").read_bytes())
        self.open()
        self.assertIsInstance(self.refusal(), TargetUntrusted)
        self.setUp()
        self.open(ca_file=None)
        self.assertIsInstance(self.refusal(), TargetUntrusted)

    def test_weaker(self) -> None:
        """Only what the file says: the authority alone, or nothing."""
        self.open(host="other.test", mode="verify-ca")
        self.assertEqual(self.serving.said[0], ("accept",))
        self.setUp()
        self.open(host="other.test", mode="insecure", ca_file=None)
        self.assertEqual(self.serving.said[0], ("accept",))

    def test_no_tls_there(self) -> None:
        """A target that speaks something else, or goes."""
        for words in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):
            self.setUp()
            self.web(self.arrived(self.settings()))
            self.target.sendall(words)
            self.target.shutdown(socket.SHUT_WR)
            self.turn()
            self.assertIsInstance(self.refusal(), TargetRefused)

    def test_a_silent_one(self) -> None:
        """The handshake has a deadline."""
        stop = self.web(self.arrived(self.settings()))
        self.assertIsNot(stop, nothing)
        self.turn()
        self.reactor.advance(12)
        self.assertIsInstance(self.refusal(), TargetSilent)

    def test_stopped(self) -> None:
        """A client that goes ends it; nothing is said afterwards."""
        stop = self.web(self.arrived(self.settings()))
        stop()
        self.reactor.advance(60)
        self.assertEqual(self.serving.said, [])

    def test_a_client_that_has_gone(self) -> None:
        """Nobody waits for the target that was reached."""

        def gone() -> Any:
            raise TunnelBroken("the client has gone")

        self.patch(self.serving, "accept", gone)
        self.open()
        self.assertIsInstance(self.refusal(), TunnelBroken)

    def test_the_file_changes(self) -> None:
        """Contexts are made once for a file; one that goes leaves the last good one in force."""
        self.open()
        web, (kept,) = self.web, self.web._contexts.values()
        pem = pki().file("ca.pem").read_bytes()
        for change, same in (
            (lambda: None, True),
            (lambda: self.ca.write_bytes(pem + b"\n"), False),
            (self.ca.unlink, True),
        ):
            change()
            self.again(web)
            self.assertEqual(self.serving.said[0], ("accept",))
            (now,) = web._contexts.values()
            self.assertEqual(now is kept, same)
            kept = now
        (line,) = [one for one in self.events if one["log_level"].name == "error"]
        self.assertIn("No such file", line["why"])

    def again(self, web: Web) -> None:
        """Another client at the same agent."""
        ca = self.ca
        super().setUp()
        self.web, self.ca = web, ca
        self.target.setblocking(False)
        self.server = self.served("target")
        self.open()

    def test_no_file(self) -> None:
        """Without its authorities nobody is believed, and the agent does not start."""
        self.ca.unlink()
        error = self.assertRaises(TargetUntrusted, self.web, self.arrived(self.settings()))
        self.assertNotIn(str(self.ca), str(error))
        self.assertRaises(BadKeyPair, check_files, [self.settings()])
        check_files([self.settings(ca_file=None), OfferSettings(kind="node", name="a")])
        self.assertRaises(BadKeyPair, make_context, TargetTls(ca_file=str(self.ca)))
