"""What the database authority signs, beside what an agent asks for."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import BEGIN, PEM, Cluster
from tlsgate.auth import dbcerts
from tlsgate.errors import BadAsk, BadBytes, BadName


class ServerTests(SynchronousTestCase):
    """Tests for `for_server`."""

    def setUp(self) -> None:
        self.authorities = Cluster(self).parts.authorities

    def signed(self, *hosts: str, ttl: float | None = None) -> x509.Certificate:
        found = dbcerts.for_server(self.authorities, hosts, PEM, BEGIN, ttl)
        return x509.load_pem_x509_certificate(found.pem.encode())

    def test_names_and_addresses(self) -> None:
        """It is for all that it is dialled by, and for servers only."""
        found = self.signed("PG.internal", "10.0.0.5", "[::1]", "pg.internal", ttl=600)
        san = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(san.get_values_for_type(x509.DNSName), ["pg.internal"])
        addresses = [str(one) for one in san.get_values_for_type(x509.IPAddress)]
        self.assertEqual(addresses, ["10.0.0.5", "::1"])
        usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(list(usage), [ExtendedKeyUsageOID.SERVER_AUTH])
        self.assertEqual(found.subject.rfc4514_string(), "CN=pg.internal")
        self.assertEqual(found.not_valid_after_utc.timestamp(), BEGIN + 600)

    def test_ninety_days(self) -> None:
        """Where nobody says otherwise; and never longer than the authority."""
        self.assertEqual(self.signed("db").not_valid_after_utc.timestamp(), BEGIN + 90 * 86400)
        authority = self.authorities.x509("db")
        found = self.signed("db", ttl=1e10)
        self.assertEqual(found.not_valid_after_utc.timestamp(), authority.not_after)

    def test_long(self) -> None:
        """A name that is no common name is an alternative name alone."""
        name = f"{'a' * 60}.{'b' * 60}"
        self.assertEqual(self.signed(name).subject.rfc4514_string(), "CN=database")

    def test_no_host(self) -> None:
        """What is no name and no address is refused, and so is nothing."""
        for hosts in ((), ("no name",)):
            self.assertRaises(BadName, self.signed, *hosts)


class ClientTests(SynchronousTestCase):
    """Tests for `for_client`."""

    def test_bounds(self) -> None:
        """No name that a server cuts or a certificate lacks, and no life that is over."""
        authorities = Cluster(self).parts.authorities
        for user, ends, error in (
            ("a" * 64, BEGIN + 60, BadName),
            ("", BEGIN + 60, BadBytes),
            ("app", BEGIN, BadAsk),
        ):
            with self.assertRaises(error):
                dbcerts.for_client(authorities, user, PEM, BEGIN, ends)
