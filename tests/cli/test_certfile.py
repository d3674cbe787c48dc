"""Tests for `cli.certfile`: the small reader agrees with the library, and never breaks."""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import NOW, Authority
from tests.support.certs import pki
from tlsgate.cli.certfile import pem_blocks, read_certificate, to_pem
from tlsgate.cli.der import LIMIT_BYTES
from tlsgate.core.claims import CLAIMS_OID, Claims, encode
from tlsgate.errors import BadBytes

CLAIMS = Claims(cluster="example", kind="user", name="alice", roles=("access",))
DER = Authority().issue(CLAIMS).public_bytes(Encoding.DER)


class ReadCertificateTests(SynchronousTestCase):
    """Tests for `read_certificate`."""

    def test_ours(self) -> None:
        """The name, the times, the pin and our extension."""
        read = read_certificate(DER)
        key = x509.load_der_x509_certificate(DER).public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.assertEqual(
            (read.common_name, read.not_before, read.not_after, read.pin),
            ("alice", NOW - 60, NOW + 43200, f"sha256:{hashlib.sha256(spki).hexdigest()}"),
        )
        self.assertEqual(read.extensions[CLAIMS_OID], encode(CLAIMS))

    def test_others(self) -> None:
        """Certificates of other makers, RSA keys and far years among them."""
        for name in ("ca.pem", "alice.pem"):
            pem = pki().file(name).read_text()
            library = x509.load_pem_x509_certificate(pem.encode())
            read = read_certificate(pem_blocks(pem)[0])
            self.assertEqual(read.not_after, int(library.not_valid_after_utc.timestamp()))
        far = Authority().issue(None, end=4102444800.0)  # 2100, a GeneralizedTime
        read = read_certificate(far.public_bytes(Encoding.DER))
        self.assertEqual((read.not_after, read.common_name), (4102444800, "x"))

    def test_every_cut(self) -> None:
        """Cut short anywhere it is no certificate."""
        for end in range(len(DER)):
            self.assertRaises(BadBytes, read_certificate, DER[:end])
        self.assertRaises(BadBytes, read_certificate, bytes(LIMIT_BYTES + 1))

    @given(st.integers(0, len(DER) - 1), st.integers(0, 255))
    def test_any_byte(self, at: int, value: int) -> None:
        """With any byte changed it is read or refused; nothing else is raised."""
        try:
            read_certificate(DER[:at] + bytes((value,)) + DER[at + 1 :])
        except BadBytes:
            return


class PemTests(SynchronousTestCase):
    """Tests for `pem_blocks` and `to_pem`."""

    def test_round_trip(self) -> None:
        """What is written is read, and is what the library writes."""
        pem = to_pem(DER)
        self.assertEqual(pem_blocks(f"key\n{pem}x\n{pem}"), [DER, DER])
        library = x509.load_der_x509_certificate(DER).public_bytes(Encoding.PEM).decode()
        self.assertEqual(pem, library)

    def test_broken(self) -> None:
        """What is no base64 is refused."""
        broken = "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----"
        self.assertRaises(BadBytes, pem_blocks, broken)
