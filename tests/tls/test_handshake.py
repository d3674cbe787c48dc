"""Tests for `tlsgate.tls.handshake`, over socket pairs."""

from __future__ import annotations

import contextlib
import gc
import socket

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import client_context, client_pair
from tests.support.certs import pki
from tlsgate.core.routing import CertRule
from tlsgate.errors import (
    BadCertificate,
    GateError,
    HandshakeFailed,
    NoCertificate,
    TargetUntrusted,
)
from tlsgate.tls import binding
from tlsgate.tls.certs import CertificateStore
from tlsgate.tls.contexts import ContextStore, TlsPolicy
from tlsgate.tls.fast import AGAIN, ENDED, Slab
from tlsgate.tls.handshake import DONE, Handshake


class HandshakeCase(SynchronousTestCase):
    """Both sides of a connection."""

    def setUp(self) -> None:
        """Make contexts and a socket pair."""
        self.contexts = ContextStore(CertificateStore.load([pki().keypair("server")]))
        self.required = self.contexts.server(
            TlsPolicy(CertRule.REQUIRED, (str(pki().file("ca.pem")),)), None
        )
        self.ours, self.theirs = socket.socketpair()
        for one in (self.ours, self.theirs):
            one.setblocking(False)
            self.addCleanup(one.close)

    def client(self, cert: str | None = "alice", name: bytes = b"gw.test") -> SSL.Connection:
        """A client that has not begun."""
        client = SSL.Connection(client_context(SSL.TLS1_3_VERSION), self.theirs)
        client.set_alpn_protos([b"a", b"b"])
        client.set_tlsext_host_name(name)
        if cert is not None:
            certificate, key = client_pair(cert)
            client.use_certificate(certificate)
            client.use_privatekey(key)
        client.set_connect_state()
        return client

    def shake(self, ours: Handshake, client: SSL.Connection) -> int:
        """Bring both to their end; what our side gave."""
        for _ in range(10):
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
            if (outcome := ours.step()) == DONE:
                return outcome
        return AGAIN

    def accept(self, token: bytes | None = b"b") -> Handshake:
        """Our side of a connection to a route that requires a certificate."""
        return Handshake.accept(self.required, self.ours, token, "the route")


class AcceptTests(HandshakeCase):
    """Tests for the server's side."""

    def test_good(self) -> None:
        """The token is confirmed, the identity known, and bytes go through the session."""
        ours, client = self.accept(), self.client()
        self.assertEqual(ours.step(), AGAIN)
        self.assertEqual(self.shake(ours, client), DONE)
        identity = ours.recheck(CertRule.REQUIRED, "gw.test")
        assert identity is not None
        self.assertEqual(identity.common_names, ("alice",))
        self.assertIsNotNone(ours.certificate)
        self.assertEqual(ours.der, client_pair("alice")[0].public_bytes(Encoding.DER))
        self.assertEqual(ours.negotiated, b"b")
        client.send(b"hello")
        slab = Slab()
        session = ours.session()
        self.assertEqual(session.read(slab, 0, 100), 5)
        self.assertEqual(bytes(slab.view[:5]), b"hello")
        self.assertEqual(session.read(slab, 0, 100), AGAIN)
        self.assertEqual(session.pending(), 0)
        self.assertEqual(session.write(slab, 0, 5), 5)
        self.assertEqual(client.recv(5), b"hello")
        self.assertEqual(session.end(), ENDED)
        self.assertRaises(SSL.ZeroReturnError, client.recv, 1)

    def test_certificate(self) -> None:
        """The certificate is the same by either way; nothing is there before the handshake."""
        shown = client_pair("alice")[0].public_bytes(Encoding.DER)
        ours, client = self.accept(), self.client()
        ours.step()
        self.assertEqual(ours.der, b"")
        self.shake(ours, client)
        for private in (binding.PRIVATE, False):
            self.patch(binding, "PRIVATE", private)
            self.assertEqual(ours.der, shown)

    def test_refusals_name_the_route(self) -> None:
        """Each refusal is one of our errors, with the route's name where it helps."""
        ours = self.accept()
        error = self.assertRaises(NoCertificate, self.shake, ours, self.client(None))
        self.assertEqual(error.route, "the route")

    def test_expired(self) -> None:
        """An expired certificate ends the handshake with its reason."""
        error = self.assertRaises(BadCertificate, self.shake, self.accept(), self.client("expired"))
        self.assertIn("expired", str(error))

    def test_garbage(self) -> None:
        """What is no TLS is a failed handshake, never an OpenSSL error."""
        self.theirs.send(b"\x16\x03\x01\x00\x05hello")
        self.assertRaises(HandshakeFailed, self.accept().step)

    def test_f3_name_and_s02_token(self) -> None:
        """Another name than the one that was routed by is refused after the handshake."""
        ours = self.accept()
        self.shake(ours, self.client())
        self.assertRaises(HandshakeFailed, ours.recheck, CertRule.REQUIRED, "other.test")
        ours.token = b"a"
        self.assertRaises(HandshakeFailed, ours.recheck, CertRule.REQUIRED, "gw.test")

    def test_last_words(self) -> None:
        """Words and close_notify arrive; a broken socket is no error any more."""
        ours, client = self.accept(), self.client()
        self.shake(ours, client)
        ours.say(b"sorry")
        self.assertEqual(client.recv(100), b"sorry")
        self.assertRaises(SSL.ZeroReturnError, client.recv, 1)
        self.theirs.close()
        ours.say(b"too late")

    def test_s57_no_cycle(self) -> None:
        """A finished or failed handshake is freed without the collector."""
        gc.collect()
        gc.disable()
        try:
            for cert in ("alice", "expired"):
                ours, client = self.accept(), self.client(cert)
                with contextlib.suppress(GateError):
                    self.shake(ours, client)
                del ours, client
                self.ours.close()
                self.theirs.close()
                self.ours, self.theirs = socket.socketpair()
                self.ours.setblocking(False)
                self.theirs.setblocking(False)
                self.addCleanup(self.ours.close)
                self.addCleanup(self.theirs.close)
            left = [one for one in gc.get_objects() if isinstance(one, Handshake)]
        finally:
            gc.enable()
        self.assertEqual(left, [])


class DialTests(HandshakeCase):
    """Tests for the client's side."""

    def test_server_is_checked(self) -> None:
        """The name is sent, and held against the certificate."""
        context = self.contexts.client((str(pki().file("ca.pem")),))
        ours = Handshake.dial(context, self.ours, "gw.test", "tls:gw.test:1")
        server = SSL.Connection(self.contexts.server(TlsPolicy(CertRule.NONE), None), self.theirs)
        server.set_accept_state()
        self.shake(ours, server)
        self.assertEqual(server.get_servername(), b"gw.test")
        ours.check_server("gw.test")
        self.assertEqual(ours.negotiated, b"")
        self.assertEqual(server.get_certificate(as_cryptography=True), ours.chain[0])
        error = self.assertRaises(TargetUntrusted, ours.check_server, "other.example")
        self.assertEqual(error.target, "tls:gw.test:1")
