"""Tests for `tlsgate.tls.publickeys`."""

from __future__ import annotations

import base64
import warnings
from typing import Any

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support.authorities import Cluster, p256, spki, ssh_line
from tests.support.certs import pki
from tests.support.der import BIT_STRING, OCTET_STRING, SEQUENCE, integer, oid, tlv
from tlsgate.errors import BadBytes
from tlsgate.tls.publickeys import check_public_key, load_public_key, load_ssh_public_key


def good() -> list[ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey]:
    """One key of each kind that is taken."""
    return [
        p256(),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ]


def explicit() -> str:
    """P-256 with its curve given by numbers (CVE-2022-0778 was about these)."""
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    key = p256().public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    curve = tlv(
        SEQUENCE,
        integer(1),
        tlv(SEQUENCE, oid("1.2.840.10045.1.1"), integer(prime)),
        tlv(SEQUENCE, tlv(OCTET_STRING, b"\1" * 32), tlv(OCTET_STRING, b"\2" * 32)),
        tlv(OCTET_STRING, key),
        integer(prime),
    )
    whole = tlv(
        SEQUENCE, tlv(SEQUENCE, oid("1.2.840.10045.2.1"), curve), tlv(BIT_STRING, b"\0" + key)
    )
    text = base64.encodebytes(whole).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n"


class PemTests(SynchronousTestCase):
    """Tests for `load_public_key`."""

    def test_taken(self) -> None:
        """P-256, P-384, Ed25519 and RSA, as text or bytes."""
        for key in good():
            self.assertEqual(load_public_key(spki(key)), key.public_key())
            self.assertEqual(load_public_key(spki(key).encode()), key.public_key())

    def test_refused(self) -> None:
        """Small and odd keys, other curves, other kinds, private keys, certificates (S10, S15)."""
        with warnings.catch_warnings(action="ignore"):
            small = rsa.generate_private_key(65537, 1024).public_key()
            three = rsa.generate_private_key(3, 2048).public_key()
            other = dsa.generate_private_key(2048).public_key()
        keys: list[Any] = [
            ec.generate_private_key(ec.SECP521R1()).public_key(),
            ec.generate_private_key(ec.SECP256K1()).public_key(),
            ed448.Ed448PrivateKey.generate().public_key(),
            small,
            three,
            other,
        ]
        form = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        one = spki(p256())
        for bad in (
            *(key.public_bytes(*form) for key in keys),
            explicit(),
            pki().alice.key_pem,
            pki().alice.cert_pem,
            good()[3].public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1),
            one + one,
            one[:-40],
            one.replace("M", "", 1),
            one + "é",
            "",
            b"\xff",
            "x" * 9999,
        ):
            with self.assertRaises(BadBytes, msg=bad):
                load_public_key(bad)

    def test_big_rsa(self) -> None:
        """No key is taken that costs much to check; its numbers need not be made for it."""
        numbers = rsa.RSAPublicNumbers(65537, (1 << 4200) + 1)
        with self.assertRaises(BadBytes):
            check_public_key(numbers.public_key())

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """Foreign bytes raise our error or nothing."""
        for text in (data, b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(data)):
            with self.assertRaises(BadBytes):
                load_public_key(text)


class SshTests(SynchronousTestCase):
    """Tests for `load_ssh_public_key`."""

    def test_taken(self) -> None:
        """The same kinds; a comment is no part of a key."""
        for key in good():
            self.assertEqual(load_ssh_public_key(ssh_line(key)), key.public_key())
            line = f"{ssh_line(key)} alice@laptop and more\n"
            self.assertEqual(load_ssh_public_key(line.encode()), key.public_key())

    def test_refused(self) -> None:
        """Certificates, options before the key, two lines, other kinds."""
        cluster, key = Cluster(), p256()
        line = ssh_line(key)
        certificate = cluster.issuer.user_certificates(cluster.user(), spki(key), line).ssh
        assert certificate is not None
        for bad in (
            certificate,
            "",
            "ssh-ed25519",
            "ssh-ed25519 !",
            "ssh-ed25519 AAAA",
            line.replace("nistp256", "nistp384", 1),
            line + "\n" + line,
            f'command="x" {line}',
            ssh_line(ec.generate_private_key(ec.SECP521R1())),
            f"sk-{line}",
            "ssh-rsa " + "A" * 9999,
        ):
            with self.assertRaises(BadBytes, msg=bad):
                load_ssh_public_key(bad)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """Foreign bytes raise our error or nothing."""
        for text in (data, b"ssh-ed25519 " + base64.b64encode(data)):
            with self.assertRaises(BadBytes):
                load_ssh_public_key(text)
