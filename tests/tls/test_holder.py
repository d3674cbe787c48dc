"""Tests for `tlsgate.tls.holder`."""

from __future__ import annotations

import base64
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from tests.support.authorities import Cluster, p256, spki
from tlsgate.core.claims import Claims
from tlsgate.errors import BadCertificate
from tlsgate.tls.holder import user_of
from tlsgate.tls.peer import load_cas


def der_of(pem: str) -> bytes:
    """The first certificate of *pem*."""
    return x509.load_pem_x509_certificates(pem.encode())[0].public_bytes(Encoding.DER)


class HolderTests(SynchronousTestCase):
    """Tests for `user_of`."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.cas = load_cas(self.cluster.authorities.cas()["user"])

    def user(self, cluster: Cluster | None = None, claims: Claims | None = None) -> bytes:
        """A user's certificate."""
        made = cluster or self.cluster
        issued = made.issuer.user_certificates(claims or made.user(), spki(p256()))
        return der_of(issued.tls_pem)

    def refused(self, der: bytes, now: float | None = None) -> str:
        """Why it is none."""
        when = self.cluster.now if now is None else now
        return str(self.assertRaises(BadCertificate, user_of, der, self.cas, when))

    def test_a_user(self) -> None:
        """Name, roles and anchor are those of the certificate and of its authority."""
        claims = self.cluster.user(roles=("access",))
        found = user_of(self.user(claims=claims), self.cas, self.cluster.now)
        assert found.claims is not None
        self.assertEqual((found.claims.name, found.claims.roles), ("alice", ("access",)))
        anchor = hashlib.sha256(self.cas[0].public_bytes(Encoding.DER)).digest()
        self.assertEqual(found.anchor, anchor)

    def test_authorities_in_a_rotation(self) -> None:
        """Whichever of the trusted authorities has signed it, it is good."""
        before = self.user()
        self.cluster.rotate("user", "init")
        cas = load_cas(self.cluster.authorities.cas()["user"])
        self.assertEqual(len(cas), 2)
        user_of(before, cas, self.cluster.now)

    def test_somebody_elses(self) -> None:
        """Another cluster's user, a host, an authority itself: nobody here."""
        self.assertIn("no authority of this cluster", self.refused(self.user(Cluster())))
        host = self.cluster.issuer.host_certificate(self.cluster.host(), spki(p256()))
        self.assertIn("no authority of this cluster", self.refused(der_of(host.tls_pem)))
        authority = self.cas[0].public_bytes(Encoding.DER)
        self.refused(authority)
        hosts = load_cas(self.cluster.authorities.cas()["host"])
        error = self.assertRaises(
            BadCertificate, user_of, der_of(host.tls_pem), hosts, self.cluster.now
        )
        self.assertIn("not a user's", str(error))

    def test_times(self) -> None:
        """Before it begins and after its end it is not good."""
        der = self.user()
        for now in (self.cluster.now - 90000, self.cluster.now + 40 * 3600):
            self.assertIn("has ended, or has not begun", self.refused(der, now))

    def test_a_changed_byte(self) -> None:
        """Not one bit of what was signed may be another."""
        der = self.user()
        for at in range(40, len(der) - 40, len(der) // 40):
            changed = bytearray(der)
            changed[at] ^= 1
            self.refused(bytes(changed))

    def test_what_is_none(self) -> None:
        """Nothing, too much, and no certificate."""
        self.assertIn("there is none", self.refused(b""))
        self.assertIn("longer than any", self.refused(b"x" * 20000))
        self.assertIn("malformed", self.refused(base64.b64decode("AAAA")))
