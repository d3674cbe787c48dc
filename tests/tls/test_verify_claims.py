"""Tests for `tls.verify`: what the cluster's extension adds to an identity."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.support import der
from tests.support.authorities import Cluster, p256, spki
from tests.support.certs import pki
from tests.support.handshake import VERSIONS, client_context, shake
from tlsgate.core.access import Identity
from tlsgate.core.claims import CLAIMS_OID, Claims, encode
from tlsgate.core.routing import CertRule
from tlsgate.errors import BadCertificate
from tlsgate.tls import binding, verify
from tlsgate.tls.authority import Authority, Pair
from tlsgate.tls.certs import CertificateStore
from tlsgate.tls.contexts import ContextStore, TlsPolicy
from tlsgate.tls.handshake import Handshake

ALICE = Claims(cluster="gate.example.com", kind="user", name="alice", roles=("access",))
CLIENT = (der.basic(ca=False), der.usage(der.CLIENT_AUTH))


def extension(claims: Claims = ALICE) -> bytes:
    """The cluster's extension."""
    return der.extension(CLAIMS_OID, encode(claims))


def digest(authority: Authority) -> bytes:
    """What `Identity.anchor` is for it."""
    return authority.certificate.fingerprint(hashes.SHA256())


class ClaimsTests(SynchronousTestCase):
    """Certificates with the extension, in real handshakes."""

    def context(self, *authorities: bytes) -> SSL.Context:
        """A server that demands a certificate of one of *authorities* (PEM)."""
        file = Path(self.mktemp())
        file.write_bytes(b"".join(authorities))
        store = ContextStore(CertificateStore.load([pki().keypair("server")]))
        return store.server(TlsPolicy(CertRule.REQUIRED, (os.fspath(file),)), None)

    def identity(self, pair: Pair, context: SSL.Context) -> Identity:
        """Who the server finds, the same in both versions and on both bindings."""
        found = set()
        for private in (binding.PRIVATE, False):
            self.patch(binding, "PRIVATE", private)
            for version in VERSIONS:
                wire = shake(client_context(pair, version=version), context)
                assert wire.done, wire.server_error
                found.add(verify.identity_of(wire.server))
        (one,) = found
        assert one is not None
        return one

    def test_of_the_cluster(self) -> None:
        """Claims as they were issued, and the anchor is the cluster's user authority."""
        cluster = Cluster(now=float(int(pki().ca.certificate.not_valid_before_utc.timestamp())))
        key, claims = p256(), cluster.user(roles=("access",), pinned_address="192.0.2.7")
        issued = cluster.issuer.user_certificates(claims, spki(key))
        key_pem = Authority(cluster.authorities.x509("user").certificate, key).pair.key_pem
        pair = Pair(issued.tls_pem.encode(), key_pem)
        context = self.context(cluster.authorities.trusted("user")[0], pki().ca.cert_pem)
        found = self.identity(pair, context)
        self.assertEqual(found.claims, claims)
        self.assertEqual({found.anchor}, set(cluster.authorities.anchors("user")))
        self.assertEqual((found.name, found.common_names), ("alice", ("alice",)))
        shown = x509.load_pem_x509_certificate(pair.cert_pem)
        self.assertEqual(found.fingerprint, shown.fingerprint(hashes.SHA256()).hex())

    def test_of_another_ca(self) -> None:
        """Whoever else is trusted may write the extension; the anchor tells it apart."""
        pair = der.certificate(pki().ca, extensions=(*CLIENT, extension()))
        found = self.identity(pair, self.context(pki().ca.cert_pem))
        self.assertEqual((found.claims, found.anchor), (ALICE, digest(pki().ca)))

    def test_without_it(self) -> None:
        """A certificate without the extension has neither, and costs nothing more."""
        asked: list[object] = []
        self.patch(binding, "anchor_der", asked.append)
        wire = shake(client_context(pki().alice), self.context(pki().ca.cert_pem))
        found = verify.identity_of(wire.server)
        assert found is not None
        self.assertEqual((found.claims, found.anchor, asked), (None, b"", []))

    def test_the_last_of_the_verified_chain(self) -> None:
        """The anchor is where trust begins here, not what the client has sent."""
        made = der.certificate(pki().sub_ca, extensions=(*CLIENT, extension()))
        pair = Pair(made.cert_pem + pki().sub_ca.cert_pem + pki().other_ca.cert_pem, made.key_pem)
        root = self.identity(pair, self.context(pki().ca.cert_pem))
        self.assertEqual(root.anchor, digest(pki().ca))
        # The same leaf again, from what is remembered, and another anchor.
        part = self.identity(pair, self.context(pki().sub_ca.cert_pem))
        self.assertEqual(part.anchor, digest(pki().sub_ca))
        self.assertEqual(evolve(part, anchor=root.anchor), root)

    def test_s10_malformed(self) -> None:
        """S10: an extension that could be read in two ways refuses the certificate."""
        good = encode(ALICE)
        bob = evolve(ALICE, name="bob")
        context = self.context(pki().ca.cert_pem)
        for extensions in (
            (der.extension(CLAIMS_OID, b""),),
            (der.extension(CLAIMS_OID, b"\x0c\x00"),),
            (der.extension(CLAIMS_OID, good + b"\0"),),
            (der.extension(CLAIMS_OID, good[:-1]),),
            (extension(), extension()),
            (extension(), extension(bob)),
            (extension(bob),),  # the common name is alice
            (der.extension(CLAIMS_OID, good, critical=True),),
        ):
            pair = der.certificate(pki().ca, extensions=(*CLIENT, *extensions))
            for version in VERSIONS:
                wire = shake(client_context(pair, version=version), context)
                self.assertIn(wire.alert, (42, 46, 48, 43), extensions)
            leaf = x509.load_pem_x509_certificate(pair.cert_pem)
            if not extensions[0].count(b"\xff"):
                self.assertIsInstance(verify.judge_leaf(leaf.public_bytes(_DER)), str)

    def test_s10_two_names(self) -> None:
        """S10: two common names beside the extension are a question, not an identity."""
        subject = der.name((der.COMMON_NAME, der.UTF8, b"alice"), (der.COMMON_NAME, 12, b"bob"))
        for one in (subject, der.name()):
            pair = der.certificate(pki().ca, subject=one, extensions=(*CLIENT, extension()))
            wire = shake(client_context(pair), self.context(pki().ca.cert_pem))
            self.assertEqual(wire.alert, 42)

    def test_why(self) -> None:
        """The reason that a log gets is a sentence about the extension."""
        pair = der.certificate(
            pki().ca, extensions=(*CLIENT, der.extension(CLAIMS_OID, b"\x0c\x02[]"))
        )
        leaf = x509.load_pem_x509_certificate(pair.cert_pem)
        self.assertEqual(
            verify.judge_leaf(leaf.public_bytes(_DER)),
            "the cluster's extension in it cannot be taken: not a JSON object",
        )

    def test_without_a_chain(self) -> None:
        """No anchor, no identity: claims are never given without where they come from."""
        pair = der.certificate(pki().ca, extensions=(*CLIENT, extension()))
        wire = shake(client_context(pair), self.context(pki().ca.cert_pem))
        self.patch(binding, "anchor_der", lambda _connection: None)
        with self.assertRaises(BadCertificate):
            verify.identity_of(wire.server)

    def test_judged_without_a_handshake(self) -> None:
        """`judge_chain` says the same of a chain as a handshake does."""
        pair = der.certificate(pki().ca, extensions=(*CLIENT, extension()))
        chain = [x509.load_pem_x509_certificate(pair.cert_pem), pki().ca.certificate]
        found = verify.judge_chain(chain)
        self.assertEqual(found, self.identity(pair, self.context(pki().ca.cert_pem)))

    def test_nothing_before_the_handshake(self) -> None:
        """A connection without a verified chain has no anchor on either binding."""
        for private in (binding.PRIVATE, False):
            self.patch(binding, "PRIVATE", private)
            connection = SSL.Connection(self.context(pki().ca.cert_pem), None)
            connection.set_accept_state()
            self.assertIsNone(binding.anchor_der(connection))

    def test_handshakes_give_them(self) -> None:
        """`Handshake.recheck`, which the gateway calls, passes them on."""
        pair = der.certificate(pki().ca, extensions=(*CLIENT, extension()))
        wire = shake(client_context(pair), self.context(pki().ca.cert_pem))
        handshake = Handshake(wire.server, None, "route", serving=True)
        found = handshake.recheck(CertRule.REQUIRED, "gw.test")
        assert found is not None
        self.assertEqual((found.claims, found.anchor), (ALICE, digest(pki().ca)))


_DER = Encoding.DER
