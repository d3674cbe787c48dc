"""Tests for `tls.reasons`: OpenSSL's words become ours."""

from __future__ import annotations

import contextlib
import os
import warnings

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.support import der
from tests.support.certs import pki
from tests.support.handshake import (
    VERSIONS,
    alert_of,
    client_context,
    client_end,
    server_end,
    shake,
)
from tlsgate.core.routing import CertRule
from tlsgate.errors import (
    BadCertificate,
    BadHello,
    BadKeyPair,
    Denied,
    Draining,
    GateError,
    HandshakeFailed,
    Hangup,
    NoCertificate,
    NoRoute,
    TargetRefused,
    TargetUntrusted,
    TooLate,
    TooMany,
)
from tlsgate.tls import binding, reasons
from tlsgate.tls.certs import CertificateStore
from tlsgate.tls.contexts import ContextStore, TlsPolicy


def context(rule: CertRule = CertRule.REQUIRED) -> SSL.Context:
    """A server with *rule* over the test CA."""
    store = ContextStore(CertificateStore.load([pki().keypair("server")]))
    return store.server(TlsPolicy(rule, (os.fspath(pki().file("ca.pem")),)), None)


def hello() -> bytes:
    """A client's first flight, one record."""
    client = client_end(client_context())
    with contextlib.suppress(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(65536)


class ExplainTests(SynchronousTestCase):
    """Tests for `explain`."""

    def feed(self, opening: bytes, end: bool = False) -> GateError:
        """How a server's failure on *opening* is explained."""
        server = server_end(context())
        if opening:
            server.bio_write(opening)
        if end:
            server.bio_shutdown()
        error = self.assertRaises(SSL.Error, server.do_handshake)
        return reasons.explain(error, server)

    def test_openings_that_are_not_tls(self) -> None:
        """What does not speak TLS is told from what speaks it badly."""
        whole = hello()
        short = whole[5:200]
        lying = b"\x01" + (len(short) - 4).to_bytes(3, "big") + short[4:]
        for opening, end, why in (
            (b"GET / HTTP/1.1\r\n\r\n", False, "the client speaks plain HTTP, and this port TLS"),
            (b"CONNECT a:1 HTTP/1.1\r\n", False, "the client takes this port for an HTTP proxy"),
            (
                b"SSH-2.0-OpenSSH_9.2\r\n",
                False,
                "the client does not speak TLS, or an old version of it",
            ),
            (
                b"\x17\x03\x03\x00\x05hello",
                False,
                "the client sent a message at the wrong moment",
            ),
            (
                b"\x16\x03\x01\xff\xff" + b"a" * 99,
                False,
                "the client sent a record that is too long",
            ),
            (
                b"\x16\x03\x01" + len(lying).to_bytes(2, "big") + lying,
                False,
                "the client sent a message whose length is wrong",
            ),
            (whole[:100], True, "the client went away"),
            (b"", True, "the client went away"),
        ):
            error = self.feed(opening, end)
            self.assertIsInstance(error, HandshakeFailed)
            self.assertEqual(
                (opening[:9], str(error)), (opening[:9], f"TLS handshake failed: {why}")
            )

    def test_nothing_in_common(self) -> None:
        """Versions, suites, groups and tokens without a common one are named."""
        no_group = client_context(version=SSL.TLS1_3_VERSION)
        binding.set_groups(no_group, b"P-521")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old = client_context(version=SSL.TLS1_1_VERSION, ciphers=b"ALL:@SECLEVEL=0")
        cbc = client_context(version=SSL.TLS1_2_VERSION, ciphers=b"AES128-SHA:@SECLEVEL=0")
        for client, token, why in (
            (old, None, "the client speaks no version of TLS from 1.2 on"),
            (
                cbc,
                None,
                "no cipher suite is common; TLS 1.2 ECDHE with AEAD or TLS 1.3 is needed",
            ),
            (no_group, None, "no key exchange group is common"),
            (
                client_context(alpn=(b"a",)),
                b"b",
                "the client does not offer the protocol that was chosen",
            ),
        ):
            wire = shake(client, context(CertRule.NONE), token)
            assert wire.server_error is not None
            error = reasons.explain(wire.server_error, wire.server)
            self.assertEqual(str(error), f"TLS handshake failed: {why}")

    def test_certificates(self) -> None:
        """A certificate that is missing or refused has its own error, with the cause."""
        certs = pki()
        two_sans = der.certificate(certs.ca, subject=der.name((der.COMMON_NAME, der.UTF8, b"\n")))
        for version in VERSIONS:
            for pair, kind, text in (
                (None, NoCertificate, "route ops needs a client certificate"),
                (
                    certs.mallory,
                    BadCertificate,
                    "client certificate refused: its issuer is not known here",
                ),
                (certs.expired, BadCertificate, "client certificate refused: it has expired"),
                (
                    certs.host,
                    BadCertificate,
                    (
                        "client certificate refused: "
                        "it is not made for this purpose (extended key usage)"
                    ),
                ),
                (
                    two_sans,
                    BadCertificate,
                    (
                        "client certificate refused: "
                        "its common name is empty or has characters that cannot be printed"
                    ),
                ),
            ):
                wire = shake(client_context(pair, version=version), context())
                assert wire.server_error is not None
                error = reasons.explain(wire.server_error, wire.server, route="ops")
                self.assertIsInstance(error, kind)
                self.assertEqual(str(error), text)

    def test_without_the_connection_or_the_binding(self) -> None:
        """Less is known then, and still said in a sentence."""
        wire = shake(client_context(pki().expired), context())
        assert wire.server_error is not None
        for known in (None, wire.server):
            self.patch(binding, "PRIVATE", False)
            error = reasons.explain(wire.server_error, known)
            self.assertEqual(str(error), "client certificate refused: it does not verify")

    def test_the_client_refuses_us(self) -> None:
        """A client's alert about our certificate is told from our own findings."""
        for version in VERSIONS:
            stranger = SSL.Context(SSL.TLS_CLIENT_METHOD)
            stranger.set_max_proto_version(version)
            stranger.set_verify(SSL.VERIFY_PEER)
            wire = shake(stranger, context(CertRule.NONE))
            assert wire.server_error is not None
            error = reasons.explain(wire.server_error, wire.server)
            self.assertEqual(
                str(error),
                "TLS handshake failed: "
                "the client does not know the authority of the gateway's certificate",
            )

    def test_bytes_changed_on_the_way(self) -> None:
        """A record that does not decrypt is told, though the cipher's own error comes first."""
        for at in (10, -3):
            client, server = client_end(client_context(pki().alice)), server_end(context())
            self.assertRaises(SSL.WantReadError, client.do_handshake)
            server.bio_write(client.bio_read(65536))
            self.assertRaises(SSL.WantReadError, server.do_handshake)
            client.bio_write(server.bio_read(65536))
            client.do_handshake()
            flight = bytearray(client.bio_read(65536))
            flight[at] ^= 1
            server.bio_write(bytes(flight))
            error = self.assertRaises(SSL.Error, server.do_handshake)
            self.assertIn(
                str(reasons.explain(error, server)),
                (
                    "TLS handshake failed: the client's bytes were changed on the way",
                    "TLS handshake failed: the client sent a message at the wrong moment",
                ),
            )

    def test_unknown_texts_are_quoted(self) -> None:
        """A reason or an alert that is not in the table appears as OpenSSL says it."""
        for reason, why in (
            ("flux capacitor empty", "OpenSSL says 'flux capacitor empty'"),
            ("tls alert flux capacitor", "the client sent alert 'flux capacitor'"),
            ("sslv3 alert bad certificate", "the client finds the gateway's certificate bad"),
            ("tlsv13 alert certificate required", "the client demands a client certificate"),
        ):
            error = SSL.Error([("SSL routines", "", reason)])
            self.assertEqual(reasons.explain(error).why, why)  # type: ignore[attr-defined]
        for empty in (SSL.Error(), SSL.Error([]), SSL.Error("x")):
            self.assertEqual(
                str(reasons.explain(empty)), "TLS handshake failed: OpenSSL gives no reason"
            )
        self.assertEqual(
            str(reasons.explain(SSL.ZeroReturnError())),
            "TLS handshake failed: the client ended it in good order",
        )


class ExplainTargetTests(SynchronousTestCase):
    """Tests for `explain_target`."""

    def test_untrusted_and_refused(self) -> None:
        """A target whose chain is unknown is untrusted; one that wants more from us refuses."""
        store = ContextStore(CertificateStore.load([pki().keypair("server")]))
        other = store.client((os.fspath(pki().file("other-ca.pem")),))
        wire = shake(other, context(CertRule.NONE))
        assert wire.client_error is not None
        error = reasons.explain_target(wire.client_error, "tls:t:1", wire.client)
        self.assertIsInstance(error, TargetUntrusted)
        self.assertEqual(str(error), "target tls:t:1 is not trusted: its issuer is not known here")
        known = store.client((os.fspath(pki().file("ca.pem")),))
        wire = shake(known, context(CertRule.REQUIRED))
        assert wire.client_error is not None
        error = reasons.explain_target(wire.client_error, "tls:t:1", wire.client)
        self.assertIsInstance(error, TargetRefused)
        self.assertEqual(
            str(error), "target tls:t:1 refused: the target demands a client certificate"
        )


class AlertTests(SynchronousTestCase):
    """Tests for alerts before there is TLS."""

    def test_record(self) -> None:
        """The record is a fatal alert that OpenSSL's client understands."""
        self.assertEqual(reasons.alert_record(112), bytes.fromhex("1503030002 02 70"))
        for number, text in ((112, "unrecognized name"), (120, "no application protocol")):
            client = client_end(client_context(alpn=(b"x",)))
            self.assertRaises(SSL.WantReadError, client.do_handshake)
            client.bio_write(reasons.alert_record(number))
            error = self.assertRaises(SSL.Error, client.do_handshake)
            self.assertIn(text, str(error))
            self.assertEqual(alert_of(reasons.alert_record(number)), number)

    def test_errors_have_their_alert(self) -> None:
        """Each refusal before TLS has its number."""
        for error, number in (
            (NoRoute("web", "x.test", (b"a",)), 120),
            (NoRoute("web", "x.test", (), name_unknown=True), 112),
            (BadHello("ClientHello", "cut short"), 50),
            (TooMany("connections", 1), 80),
            (Draining(), 80),
            (TooLate("prelude_seconds", 5), 90),
            (Denied("r", "alice", "no"), 49),
            (BadKeyPair("ca.pem", "is empty"), 80),
            (Hangup(3), 40),
        ):
            self.assertEqual((error.reason, reasons.alert_for(error)), (error.reason, number))

    def test_names(self) -> None:
        """The table gives each number its name."""
        self.assertEqual(reasons.ALERTS[116], "certificate_required")
