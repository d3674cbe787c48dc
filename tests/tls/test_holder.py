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
from tlsgate.tls import holder
from tlsgate.tls.holder import Users, user_of
from tlsgate.tls.peer import load_cas
from tlsgate.tls.verify import judge_chain


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


class UsersTests(HolderTests):
    """Tests for `Users`: all that is refused by `user_of`, and what is remembered."""

    def setUp(self) -> None:
        super().setUp()
        self.pems = self.cluster.authorities.cas()["user"]
        self.users = Users(limit=2)
        self.verified = 0
        self.patch(holder, "judge_chain", self.judge)

    def judge(self, chain: list[x509.Certificate]) -> object:
        """Count who is verified."""
        self.verified += 1
        return judge_chain(chain)

    def refused(self, der: bytes, now: float | None = None) -> str:
        """Why it is none."""
        when = self.cluster.now if now is None else now
        return str(self.assertRaises(BadCertificate, self.users.user, der, self.pems, when))

    def test_once(self) -> None:
        """The same bytes are verified once, and another user's by themselves."""
        alice = self.user()
        first = self.users.user(alice, self.pems, self.cluster.now)
        self.assertIs(self.users.user(alice, list(self.pems), self.cluster.now), first)
        self.assertEqual(self.verified, 1)
        bob = self.users.user(
            self.user(claims=self.cluster.user("bob")), self.pems, self.cluster.now
        )
        assert bob.claims is not None
        self.assertEqual((bob.claims.name, self.verified), ("bob", 2))

    def test_the_time_counts_each_time(self) -> None:
        """Who is known has no longer than the certificate says, and no earlier."""
        der = self.user()
        self.users.user(der, self.pems, self.cluster.now)
        for now in (self.cluster.now - 90000, self.cluster.now + 40 * 3600):
            self.assertIn("has ended, or has not begun", self.refused(der, now))
        self.users.user(der, self.pems, self.cluster.now)
        self.assertEqual(self.verified, 1)

    def test_other_authorities(self) -> None:
        """Whom an authority has signed that is trusted no more is not known any more."""
        der = self.user()
        self.users.user(der, self.pems, self.cluster.now)
        self.pems = Cluster().authorities.cas()["user"]
        self.assertIn("no authority of this cluster", self.refused(der))
        self.pems = []
        self.assertIn("no authority of this cluster", self.refused(der))

    def test_bounded(self) -> None:
        """The one that came first is forgotten first; whoever is refused takes no place."""
        ders = [self.user() for _ in range(3)]
        for der in ders:
            self.users.user(der, self.pems, self.cluster.now)
        self.refused(b"x")
        self.users.user(ders[2], self.pems, self.cluster.now)
        self.users.user(ders[1], self.pems, self.cluster.now)
        self.assertEqual(self.verified, 3)
        self.users.user(ders[0], self.pems, self.cluster.now)
        self.assertEqual(self.verified, 4)
