"""Tests for `tlsgate.auth.issue` and `tlsgate.auth.leaf`."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from tests.support.authorities import CLUSTER, Cluster, p256, spki, ssh_line
from tlsgate.auth.issue import (
    GATEWAY_SECONDS,
    HOST_SECONDS,
    USER_CAP_SECONDS,
    USER_SECONDS,
    check_not_public,
    host_names,
    ssh_extensions,
)
from tlsgate.core.claims import CLAIMS_OID, Claims, decode
from tlsgate.errors import BadAsk, BadBytes, BadName

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
KEY = p256()
PEM, LINE = spki(KEY), ssh_line(KEY)


def load(pem: str) -> x509.Certificate:
    """The first certificate of *pem*."""
    return x509.load_pem_x509_certificate(pem.encode())


def said(certificate: x509.Certificate) -> Claims:
    """What its extension says."""
    oid = x509.ObjectIdentifier(CLAIMS_OID)
    value = certificate.extensions.get_extension_for_oid(oid).value
    assert isinstance(value, x509.UnrecognizedExtension)
    return decode(value.value)


def purposes(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    """What it is good for."""
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def dns(certificate: x509.Certificate) -> list[str]:
    """Its DNS names."""
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return san.get_values_for_type(x509.DNSName)


def ssh(line: str | None) -> SSHCertificate:
    """A line's certificate, whose signature holds."""
    assert line is not None
    found = load_ssh_public_identity(line.encode())
    assert isinstance(found, SSHCertificate)
    found.verify_cert_signature()
    return found


class UserTests(SynchronousTestCase):
    """Tests for `Issuer.user_certificates`."""

    def setUp(self) -> None:
        """A cluster."""
        self.cluster = Cluster()
        self.issue = self.cluster.issuer.user_certificates

    def test_x509(self) -> None:
        """The certificate says what the claims say, and is good for a client only."""
        claims = self.cluster.user(
            roles=("access", "editor"), traits={"logins": ("root",)}, pinned_address="192.0.2.7"
        )
        issued = self.issue(claims, PEM)
        found, authority = load(issued.tls_pem), self.cluster.authorities.x509("user")
        found.verify_directly_issued_by(authority.certificate)
        self.assertEqual(said(found), claims)
        self.assertEqual(found.subject.rfc4514_string(), "O=editor,O=access,CN=alice")
        self.assertEqual(purposes(found), [CLIENT])
        self.assertEqual(found.public_key(), KEY.public_key())
        self.assertEqual(found.not_valid_before_utc.timestamp(), self.cluster.now - 60)
        self.assertEqual(found.not_valid_after_utc.timestamp(), self.cluster.now + USER_SECONDS)
        extensions = found.extensions
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        self.assertTrue(usage.critical and usage.value.digital_signature)
        self.assertFalse(usage.value.key_cert_sign)
        basic = extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertEqual(basic.value, x509.BasicConstraints(ca=False, path_length=None))
        above = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        own = authority.certificate.extensions.get_extension_for_class(
            x509.SubjectKeyIdentifier
        ).value
        self.assertEqual(above.key_identifier, own.digest)
        extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        self.assertEqual(
            (issued.ssh, issued.not_before, issued.not_after, issued.names),
            (None, self.cluster.now - 60, self.cluster.now + USER_SECONDS, ()),
        )
        self.assertEqual(issued.cas, self.cluster.authorities.cas())
        self.assertEqual(issued.tls_cas, tuple(issued.cas["host"]))
        self.assertEqual(issued.ssh_cas, tuple(issued.cas["ssh_host"]))

    def test_ssh(self) -> None:
        """The OpenSSH certificate has one principal, the user, and no critical option."""
        issued = self.issue(self.cluster.user(), PEM, LINE)
        found = ssh(issued.ssh)
        self.assertEqual(found.type, SSHCertificateType.USER)
        self.assertEqual(found.valid_principals, [b"alice"])
        self.assertEqual(found.key_id, b"alice")
        self.assertEqual(found.critical_options, {})
        self.assertEqual(found.extensions, {b"permit-pty": b""})
        self.assertEqual(found.public_key(), KEY.public_key())
        self.assertEqual((found.valid_after, found.valid_before), self.life(issued))
        self.assertEqual(
            found.signature_key(), self.cluster.authorities.ssh("ssh_user").key.public_key()
        )

    def life(self, issued: Any) -> tuple[float, float]:
        """What the answer says."""
        return issued.not_before, issued.not_after

    def test_ssh_permits_what_the_roles_say(self) -> None:
        """Forwarding only where it is told, and nothing that we do not know."""
        for forwarding, agent, want in (
            (False, False, {b"permit-pty"}),
            (True, False, {b"permit-pty", b"permit-port-forwarding"}),
            (False, True, {b"permit-pty", b"permit-agent-forwarding"}),
            (True, True, {b"permit-pty", b"permit-port-forwarding", b"permit-agent-forwarding"}),
        ):
            words = ssh_extensions(port_forwarding=forwarding, forward_agent=agent)
            issued = self.issue(self.cluster.user(), PEM, LINE, extensions=words)
            self.assertEqual(set(ssh(issued.ssh).extensions), want)
        for word in ("permit-X11-forwarding", "permit-user-rc", "x" * 9999):
            with self.assertRaises(BadAsk) as caught:
                self.issue(self.cluster.user(), PEM, LINE, extensions=(word,))
            self.assertLess(len(str(caught.exception)), 200)

    def test_one_key(self) -> None:
        """Both certificates are of one key; another OpenSSH key is refused."""
        with self.assertRaises(BadBytes):
            self.issue(self.cluster.user(), PEM, ssh_line(p256()))

    def test_life(self) -> None:
        """Never below a minute, above the cap, or beyond who asks or who signs."""
        far = 1e9
        end = self.cluster.authorities.x509("user").not_after - self.cluster.now
        for ttl, more, want in (
            (None, {}, USER_SECONDS),
            (3600, {}, 3600),
            (1, {}, 60),
            (far, {}, USER_CAP_SECONDS),
            (None, {"cap_seconds": 600.0}, 600),
            (None, {"cap_seconds": 1.0}, 60),
            (far, {"cap_seconds": far}, end),
            (3600, {"not_after": self.cluster.now + 100}, 100),
            (3600, {"not_after": self.cluster.now + 7}, 7),
        ):
            issued = self.issue(self.cluster.user(), PEM, LINE, ttl, **more)  # type: ignore[arg-type]
            self.assertEqual(issued.not_after - self.cluster.now, want)
            self.assertEqual(load(issued.tls_pem).not_valid_after_utc.timestamp(), issued.not_after)
            self.assertEqual(ssh(issued.ssh).valid_before, issued.not_after)

    def test_no_life_left(self) -> None:
        """Nothing is signed that has ended already, nor for no time."""
        for ttl, not_after in ((60, self.cluster.now), (0, None), (-5, None), (float("nan"), None)):
            with self.assertRaises(BadAsk):
                self.issue(self.cluster.user(), PEM, None, ttl, not_after=not_after)
        self.cluster.now = self.cluster.authorities.x509("user").not_after
        with self.assertRaises(BadAsk):
            self.issue(self.cluster.user(), PEM)

    def test_of_this_cluster_and_kind_only(self) -> None:
        """Claims of another cluster, or of a host, are never signed by the user authority."""
        for claims in (Cluster(name="leaf.test").user(), self.cluster.host()):
            with self.assertRaises(BadBytes):
                self.issue(claims, PEM)

    def test_names(self) -> None:
        """64 bytes are the most, and what OpenSSH reads in another way is no principal."""
        self.issue(self.cluster.user("a" * 64), PEM, LINE)
        self.issue(self.cluster.user("alice.b+c@example.com"), PEM, LINE)
        self.issue(self.cluster.user("Zoë"), PEM, LINE)
        with self.assertRaises(BadBytes):
            self.issue(self.cluster.user("a" * 65), PEM)
        for name in ("a,b", "a b", "*", "!alice", "a=b", '"a"', "#alice"):
            with self.assertRaises(BadBytes, msg=name):
                self.issue(self.cluster.user(name), PEM, LINE)

    def test_too_many_roles(self) -> None:
        """A certificate that no reader of ours would take is not signed."""
        roles = tuple(f"{number:03d}{'r' * 32}" for number in range(256))
        with self.assertRaises(BadBytes) as caught:
            self.issue(self.cluster.user(roles=roles), PEM)
        self.assertIn("16384", str(caught.exception))

    def test_keys(self) -> None:
        """Each kind of key that is taken gets both certificates."""
        for key in (
            ec.generate_private_key(ec.SECP384R1()),
            ed25519.Ed25519PrivateKey.generate(),
            rsa.generate_private_key(65537, 2048),
        ):
            issued = self.issue(self.cluster.user(), spki(key), ssh_line(key))
            self.assertEqual(load(issued.tls_pem).public_key(), key.public_key())
            self.assertEqual(ssh(issued.ssh).public_key(), key.public_key())

    def test_serials(self) -> None:
        """Serial numbers are long and never twice the same."""
        found = {load(self.issue(self.cluster.user(), PEM).tls_pem).serial_number for _ in "x" * 50}
        self.assertEqual(len(found), 50)
        self.assertGreater(max(found).bit_length(), 110)
        self.assertLessEqual(max(found).bit_length(), 128)

    def test_rotation(self) -> None:
        """The signing key follows the phase, and answers carry all that is trusted."""
        before = self.cluster.authorities.x509("user").certificate
        self.cluster.rotate("user", "init")
        issued = self.issue(self.cluster.user(), PEM)
        load(issued.tls_pem).verify_directly_issued_by(before)
        self.assertEqual(len(issued.cas["user"]), 2)
        self.cluster.rotate("user", "update_clients")
        with self.assertRaises(ValueError):
            load(self.issue(self.cluster.user(), PEM).tls_pem).verify_directly_issued_by(before)


class HostTests(SynchronousTestCase):
    """Tests for `Issuer.host_certificate`."""

    def setUp(self) -> None:
        """A cluster."""
        self.cluster = Cluster()
        self.issue = self.cluster.issuer.host_certificate

    def test_gateway(self) -> None:
        """A gateway dials and is dialled; its name is under its role and its cluster."""
        claims = self.cluster.host("gw1", "gateway")
        issued = self.issue(claims, PEM, ("GW.example.com",))
        found = load(issued.tls_pem)
        found.verify_directly_issued_by(self.cluster.authorities.x509("host").certificate)
        self.assertEqual(said(found), claims)
        self.assertEqual(dns(found), [f"gw1.gateway.{CLUSTER}", "gw.example.com"])
        self.assertEqual(issued.names, tuple(dns(found)))
        self.assertEqual(purposes(found), [SERVER, CLIENT])
        self.assertEqual(issued.not_after, self.cluster.now + HOST_SECONDS)
        self.assertEqual(found.subject.rfc4514_string(), "CN=gw1")

    def test_agents_are_no_servers(self) -> None:
        """An agent's certificate is of no use to one who shows it to a client."""
        for role in ("node", "db", "app", "kube"):
            issued = self.issue(self.cluster.host("n1", role), PEM)
            self.assertEqual(purposes(load(issued.tls_pem)), [CLIENT])
            self.assertEqual(dns(load(issued.tls_pem)), [f"n1.{role}.{CLUSTER}"])

    def test_two_roles(self) -> None:
        """A process with two roles has two names."""
        claims = self.cluster.host("a1", "auth", "gateway")
        want = (f"a1.auth.{CLUSTER}", f"a1.gateway.{CLUSTER}")
        self.assertEqual(self.issue(claims, PEM).names, want)
        self.assertEqual(host_names(claims), want)

    def test_ssh(self) -> None:
        """The key of its sshd gets a host certificate for the same names, and no options."""
        key = ed25519.Ed25519PrivateKey.generate()
        issued = self.issue(
            self.cluster.host("n1", "node"), PEM, ("n1.lan",), ssh_public_key=ssh_line(key)
        )
        found = ssh(issued.ssh)
        self.assertEqual(found.type, SSHCertificateType.HOST)
        self.assertEqual(found.valid_principals, [b"n1.node.gate.example.com", b"n1.lan"])
        self.assertEqual((found.critical_options, found.extensions), ({}, {}))
        self.assertEqual(found.public_key(), key.public_key())
        self.assertEqual(
            found.signature_key(), self.cluster.authorities.ssh("ssh_host").key.public_key()
        )

    def test_names(self) -> None:
        """What cannot be a name is refused, wherever it comes from."""
        for claims, names in (
            (self.cluster.host("n1", "node"), ("*.example.com",)),
            (self.cluster.host("n1", "node"), ("192.0.2.7",)),
            (self.cluster.host("n1", "node"), ("a b",)),
            (self.cluster.host("n 1", "node"), ()),
            (self.cluster.host("ñ", "node"), ()),
        ):
            with self.assertRaises(BadName):
                self.issue(claims, PEM, names)

    def test_users_are_no_hosts(self) -> None:
        """The host authority signs no user."""
        with self.assertRaises(BadBytes):
            self.issue(self.cluster.user(), PEM)

    def test_names_that_joining_never_gives(self) -> None:
        """A public address and all under it are the gateway's."""
        check_not_public(("n1.lan", "gate.example.org"), ("gate.example.com",))
        for name in ("gate.example.com", "GATE.example.com.", "pg.db.gate.example.com", "a b"):
            with self.assertRaises(BadName):
                check_not_public((name,), ("Gate.Example.com", "other.test"))


class GatewayTests(SynchronousTestCase):
    """Tests for `Issuer.gateway_certificate`."""

    def setUp(self) -> None:
        """A cluster."""
        self.cluster = Cluster()
        self.issue = self.cluster.issuer.gateway_certificate

    def test_whole(self) -> None:
        """For servers only, with the authority in the chain, and a gateway's claims."""
        issued = self.issue(
            ("auth.gate.example.com", "*.db.gate.example.com"), PEM, public=(CLUSTER,)
        )
        leaf, above = x509.load_pem_x509_certificates(issued.tls_pem.encode())
        leaf.verify_directly_issued_by(above)
        self.assertEqual(above, self.cluster.authorities.x509("host").certificate)
        self.assertEqual(dns(leaf), ["auth.gate.example.com", "*.db.gate.example.com"])
        self.assertEqual(purposes(leaf), [SERVER])
        self.assertEqual(said(leaf), self.cluster.host("gateway", "gateway"))
        self.assertEqual(issued.not_after, self.cluster.now + GATEWAY_SECONDS)

    def test_names(self) -> None:
        """Names of others, wild ones near the top, and none at all are refused."""
        for names in (
            (),
            ("example.com",),
            ("auth.gate.example.com", "evilgate.example.com"),
            ("*.example.com",),
            ("*.*.gate.example.com",),
            ("a.*.gate.example.com",),
            ("*",),
            ("192.0.2.7",),
        ):
            with self.assertRaises(BadName, msg=repr(names)):
                self.issue(names, PEM, public=("gate.example.com",))

    def test_without_a_list(self) -> None:
        """Who has looked at the names before gives none."""
        self.assertEqual(self.issue(("a.test",), PEM).names, ("a.test",))
        with self.assertRaises(BadName):
            self.issue(("*.test",), PEM)
