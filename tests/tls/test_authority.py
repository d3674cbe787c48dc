"""Tests for `tls.authority`."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certs import pki
from tlsgate.errors import BadKeyPair, BadName
from tlsgate.tls.authority import Authority, Pair, self_signed


def leaf_of(pair: Pair) -> x509.Certificate:
    """The first certificate of a pair."""
    return x509.load_pem_x509_certificate(pair.cert_pem)


class AuthorityTests(SynchronousTestCase):
    """Tests for `Authority`."""

    def test_issues_what_was_asked(self) -> None:
        """Names, addresses, usages and the key's kind arrive in the certificate."""
        pair = pki().ca.issue(
            "gw", dns=("gw.test",), uris=("spiffe://x/y",), ips=("::1",), server=True, client=True
        )
        leaf = leaf_of(pair)
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(san.get_values_for_type(x509.DNSName), ["gw.test"])
        self.assertEqual(san.get_values_for_type(x509.UniformResourceIdentifier), ["spiffe://x/y"])
        self.assertEqual([str(ip) for ip in san.get_values_for_type(x509.IPAddress)], ["::1"])
        self.assertEqual(
            list(usage), [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        )
        [name] = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        self.assertEqual(name.value, "gw")
        self.assertIsInstance(leaf.public_key(), ec.EllipticCurvePublicKey)
        rsa_leaf = leaf_of(pki().server_rsa)
        self.assertIsInstance(rsa_leaf.public_key(), rsa.RSAPublicKey)

    def test_a_second_reader_agrees(self) -> None:
        """An independent verifier with the web's rules takes server and client leaves."""
        store = Store([pki().ca.certificate])
        builder = PolicyBuilder().store(store)
        server = leaf_of(pki().server)
        builder.build_server_verifier(x509.DNSName("gw.test")).verify(server, [])
        found = builder.build_client_verifier().verify(leaf_of(pki().alice), [])
        self.assertEqual(len(found.chain), 2)

    def test_clocks_that_go_wrong(self) -> None:
        """A new certificate has been valid for a minute already (R16)."""
        begins = leaf_of(pki().ca.issue("now")).not_valid_before_utc.timestamp()
        self.assertTrue(55 <= time.time() - begins <= 75)

    def test_below_zero_days_has_expired(self) -> None:
        """A certificate for -1 days ended yesterday."""
        leaf = leaf_of(pki().expired)
        self.assertLess(leaf.not_valid_after_utc.timestamp(), time.time() - 86000)
        self.assertLess(leaf.not_valid_before_utc, leaf.not_valid_after_utc)

    def test_names_of_a_wrong_length(self) -> None:
        """A common name has 1 to 64 bytes, counted as UTF-8."""
        for name in ("", "a" * 65, "é" * 33):
            self.assertRaises(BadName, pki().ca.issue, name)
        pki().ca.issue("é" * 32)

    def test_intermediate_comes_along(self) -> None:
        """A leaf of an intermediate brings its certificate, and not the root's."""
        chain = x509.load_pem_x509_certificates(pki().deep.cert_pem)
        self.assertEqual(
            [one.subject.rfc4514_string() for one in chain], ["CN=deep", "CN=test sub ca"]
        )

    def test_written_and_loaded(self) -> None:
        """What is written can be loaded, and only its owner can read the key."""
        folder = Path(self.mktemp())
        folder.mkdir()
        old = os.umask(0)
        try:
            pki().ca.pair.write(folder / "ca.pem", folder / "ca-key.pem")
        finally:
            os.umask(old)
        self.assertEqual(stat.S_IMODE((folder / "ca-key.pem").stat().st_mode), 0o600)
        again = Authority.load(folder / "ca.pem", folder / "ca-key.pem")
        self.assertEqual(again.certificate, pki().ca.certificate)
        leaf_of(again.issue("x")).verify_directly_issued_by(pki().ca.certificate)

    def test_load_says_which_file(self) -> None:
        """A missing, broken or foreign file is named."""
        certs = pki()
        ca, key = certs.file("ca.pem"), certs.file("ca-key.pem")
        for pair, file in (
            ((Path("/nowhere/ca.pem"), key), "/nowhere/ca.pem"),
            ((key, key), str(key)),
            ((ca, ca), str(ca)),
            ((ca, certs.file("other-ca-key.pem")), str(certs.file("other-ca-key.pem"))),
        ):
            error = self.assertRaises(BadKeyPair, Authority.load, *pair)
            self.assertEqual(error.file, file)


class SelfSignedTests(SynchronousTestCase):
    """Tests for `self_signed`."""

    def test_keeps_the_key(self) -> None:
        """A renewal on the same key has the same public half and another certificate."""
        first = self_signed("x", dns=("x",), days=1)
        key = load_pem_private_key(first.key_pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        second = self_signed("x", dns=("x",), days=1, key=key)
        self.assertEqual(leaf_of(first).public_key(), leaf_of(second).public_key())
        self.assertNotEqual(first.cert_pem, second.cert_pem)
