"""Tests for `tls.offered`: what it says is what a handshake says."""

from __future__ import annotations

import datetime
from types import SimpleNamespace

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certs import pki
from tests.support.handshake import Wire, alert_of
from tlsgate.core.access import Identity
from tlsgate.core.routing import CertRule
from tlsgate.errors import BadCertificate
from tlsgate.tls import verify
from tlsgate.tls.authority import Pair
from tlsgate.tls.certs import CertificateStore
from tlsgate.tls.contexts import ContextStore, TlsPolicy
from tlsgate.tls.offered import offered


def shaken(pair: Pair, ca_file: str) -> Identity | int | None:
    """What a server of ours says to *pair* in TLS 1.2: an identity, or the alert's number."""
    store = ContextStore(CertificateStore.load([pki().keypair("server")]))
    context = store.server(TlsPolicy(CertRule.REQUIRED, (ca_file,)), "gw.test")
    server = SSL.Connection(context, None)
    server.set_app_data(SimpleNamespace(token=None))
    server.set_accept_state()
    dialling = SSL.Context(SSL.TLS_CLIENT_METHOD)
    dialling.set_max_proto_version(SSL.TLS1_2_VERSION)  # its alerts are in the clear
    dialling.set_cipher_list(b"DEFAULT@SECLEVEL=0")
    leaf, *others = x509.load_pem_x509_certificates(pair.cert_pem)
    dialling.use_certificate(crypto.X509.from_cryptography(leaf))
    for other in others:
        dialling.add_extra_chain_cert(crypto.X509.from_cryptography(other))
    key = serialization.load_pem_private_key(pair.key_pem, password=None)
    dialling.use_privatekey(crypto.PKey.from_cryptography_key(key))  # type: ignore[arg-type]
    client = SSL.Connection(dialling, None)
    client.set_connect_state()
    wire = Wire(client, server).handshake()
    if wire.done:
        try:
            return verify.identity_of(server)
        except BadCertificate:
            return 42
    return alert_of(wire.to_client)


def odd(**what: object) -> Pair:
    """A certificate for alice of the trusted CA, with something odd about it."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    begins = now + datetime.timedelta(days=1 if what.get("early") else -1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")]))
        .issuer_name(pki().ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(now + datetime.timedelta(days=9))
    )
    for extension in what.get("extensions", ()):  # type: ignore[attr-defined]
        builder = builder.add_extension(extension, critical=False)
    signer = key if what.get("own_signature") else pki().ca.key
    certificate = builder.sign(signer, hashes.SHA256())
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def below(levels: int) -> Pair:
    """A client certificate below that many intermediates."""
    authority = pki().ca
    for level in range(levels):
        authority = authority.intermediate(f"level {level}")
    return authority.issue("alice", client=True)


USAGES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=True,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


class OfferedTests(SynchronousTestCase):
    """Tests for `offered`."""

    def test_agrees_with_handshakes(self) -> None:
        """Each certificate, good or bad, meets the verdict and the alert of a handshake."""
        certs = pki()
        ca = str(certs.file("ca.pem"))
        for name, pair, want in (
            ("alice", certs.alice, "alice"),
            ("below an intermediate", certs.deep, "deep"),
            ("no extension at all", odd(), "alice"),
            ("another authority's", certs.mallory, 48),
            ("expired", certs.expired, 45),
            ("a host's", certs.host, 43),
            ("not valid yet", odd(early=True), 42),
            ("not for signatures", odd(extensions=(USAGES,)), 43),
            ("signed by its own key", odd(own_signature=True), 51),
            ("a CA's", odd(extensions=(x509.BasicConstraints(ca=True, path_length=None),)), 42),
            ("four levels below", below(4), "alice"),
            ("five levels below", below(5), None),
        ):
            told = offered(pair.cert_pem.decode(), (ca,))
            heard = shaken(pair, ca)
            if isinstance(told, Identity):
                self.assertEqual((name, told), (name, heard))
                self.assertEqual((name, told.name), (name, want))
            else:
                self.assertEqual((name, told[1]), (name, heard))
                if want is not None:
                    self.assertEqual((name, heard), (name, want))
                self.assertIn(" ", told[0])

    def test_an_intermediate_that_is_missing(self) -> None:
        """A leaf without what leads to the anchor is not verified by luck."""
        leaf = pki().deep.cert_pem.decode().partition("-----END CERTIFICATE-----\n")
        told = offered(leaf[0] + leaf[1], (str(pki().file("ca.pem")),))
        self.assertEqual(told, ("its issuer is not known here", 48))

    def test_no_certificate(self) -> None:
        """What is no PEM is said to be none."""
        for text in ("", "hello", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"):
            self.assertRaises(BadCertificate, offered, text, (str(pki().file("ca.pem")),))
