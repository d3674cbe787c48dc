"""Tests for `tls.binding`: the private binding is there, and its fallbacks are as strict."""

from __future__ import annotations

import os

from OpenSSL import SSL
from OpenSSL.crypto import X509StoreFlags
from twisted.trial.unittest import SynchronousTestCase

from tests.support import der
from tests.support.certs import pki
from tests.support.handshake import VERSIONS, client_context, shake
from tlsgate.tls import binding
from tlsgate.tls.authority import Pair


def server(leaf: binding.Leaf, issuer: binding.Issuer, anchors: str | None = None) -> SSL.Context:
    """A server that asks these two; with *anchors* only they are trusted, at any strength."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(os.fspath(pki().file("server.pem")))
    context.use_privatekey_file(os.fspath(pki().file("server-key.pem")))
    context.load_verify_locations(anchors or os.fspath(pki().file("ca.pem")))
    if anchors is not None:
        store = context.get_cert_store()
        assert store is not None
        store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    binding.set_verify(context, SSL.VERIFY_PEER, leaf, issuer)
    return context


class BindingTests(SynchronousTestCase):
    """Tests for both ways to the same answers."""

    def test_the_binding_is_there(self) -> None:
        """With the pyOpenSSL that we name, the private way is the one that is taken."""
        self.assertTrue(binding.PRIVATE)

    def test_findings(self) -> None:
        """What the leaf's judge gives is kept for the connection, on either way."""
        marker = object()
        for private in (True, False):
            self.patch(binding, "PRIVATE", private)
            for version in VERSIONS:
                context = server(lambda _der: marker, lambda _kind, _bits: None)
                wire = shake(client_context(pki().deep, version=version), context)
                self.assertTrue(wire.done)
                self.assertIs(binding.finding(wire.server), marker)
                self.assertIsNone(binding.finding(wire.client))
                self.assertEqual(binding.peer_certificates(wire.server), 2)

    def test_the_same_facts(self) -> None:
        """Both ways show the judges the same bytes and keys, issuers first."""
        seen: list[list[object]] = []
        for private in (True, False):
            self.patch(binding, "PRIVATE", private)
            facts: list[object] = []

            def leaf(der: bytes, facts: list[object] = facts) -> object:
                facts.append(der)
                return None

            def issuer(kind: int, bits: int, facts: list[object] = facts) -> None:
                facts.append((kind, bits))

            self.assertTrue(shake(client_context(pki().deep), server(leaf, issuer)).done)
            seen.append(facts)
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(seen[0][:2], [(408, 256), (408, 256)])
        self.assertIsInstance(seen[0][2], bytes)

    def test_each_judge_can_refuse(self) -> None:
        """A sentence from either judge ends the handshake and is kept; alert 42 on our way."""
        for private in (True, False):
            self.patch(binding, "PRIVATE", private)
            for leaf, issuer in (
                (lambda _der: "no", lambda _kind, _bits: None),
                (lambda _der: 1, lambda _kind, _bits: "no"),
            ):
                wire = shake(client_context(pki().deep), server(leaf, issuer))
                self.assertFalse(wire.done)
                self.assertEqual(binding.finding(wire.server), "no")
                if private:
                    self.assertEqual(wire.alert, 42)

    def test_openssl_decides_first(self) -> None:
        """A chain that does not verify never reaches the judges."""

        def never(*_: object) -> None:
            raise AssertionError("asked")

        for private in (True, False):
            self.patch(binding, "PRIVATE", private)
            for pair in (pki().mallory, pki().host):
                wire = shake(client_context(pair), server(never, lambda _kind, _bits: None))
                self.assertFalse(wire.done)
                self.assertIsNone(binding.finding(wire.server))

    def test_keys_that_cannot_be_read(self) -> None:
        """An anchor or an intermediate whose key is garbage is refused, and crashes nobody."""
        garbage = der.tlv(
            der.SEQUENCE,
            der.tlv(der.SEQUENCE, der.oid("1.2.840.113549.1.1.1"), der.tlv(der.NULL)),
            der.tlv(der.BIT_STRING, b"\0garbage"),
        )
        sub = pki().sub_ca
        above = der.certificate(
            pki().ca,
            key=sub.key,
            public=garbage,
            subject=sub.certificate.subject.public_bytes(),
            extensions=(der.basic(ca=True),),
        )
        leaf = der.certificate(sub)
        own = leaf.cert_pem.partition(b"-----END CERTIFICATE-----\n")
        pair = Pair(own[0] + own[1] + above.cert_pem, leaf.key_pem)
        anchor = self.mktemp()
        with open(anchor, "wb") as file:
            file.write(above.cert_pem)
        for private in (True, False):
            self.patch(binding, "PRIVATE", private)
            for anchors in (None, anchor):
                context = server(lambda _der: 1, lambda _kind, _bits: None, anchors)
                self.assertFalse(shake(client_context(pair), context).done)

    def test_no_certificate(self) -> None:
        """A client without certificate leaves nothing behind."""
        context = server(lambda _der: 1, lambda _kind, _bits: None)
        wire = shake(client_context(), context)
        self.assertTrue(wire.done)
        self.assertIsNone(binding.finding(wire.server))

    def test_without_the_binding(self) -> None:
        """Groups stay OpenSSL's, and what cannot be known is not made up."""
        self.patch(binding, "PRIVATE", False)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.assertFalse(binding.set_groups(context, b"X25519"))
        connection = SSL.Connection(context, None)
        self.assertEqual(binding.verify_result(connection), -1)
        self.assertFalse(binding.resumed(connection))

    def test_groups_that_there_are_not(self) -> None:
        """An unknown group is said by False, and leaves no error behind for the next one."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.assertFalse(binding.set_groups(context, b"no-such-group"))
        self.assertTrue(binding.set_groups(context, b"X25519"))
