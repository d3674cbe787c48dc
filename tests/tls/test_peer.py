"""Tests for `tlsgate.tls.peer`: who is no gateway for a client of ours."""

from __future__ import annotations

from attrs import evolve
from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from tests.support import der
from tests.support.authorities import Cluster, p256, spki
from tests.support.certs import pki
from tests.support.handshake import client_context, shake
from tests.tls.test_verify import required_context
from tlsgate.auth.leaf import Leaf, sign_leaf
from tlsgate.core.claims import CLAIMS_OID, Claims, encode
from tlsgate.errors import BadAsk, BadKeyPair, Untrusted
from tlsgate.tls.peer import check_gateway, check_host, load_cas, pinned, presented
from tlsgate.tls.pins import pin_of

SERVER = (x509.ObjectIdentifier(der.SERVER_AUTH),)


class CheckTests(SynchronousTestCase):
    """Tests for `check_gateway` and `check_host`."""

    def setUp(self) -> None:
        """A cluster, and another one that is a leaf of it."""
        self.cluster = Cluster()
        self.leaf_cluster = Cluster(name="leaf.test")
        self.cas = load_cas(self.cluster.authorities.cas()["host"])
        self.pem = spki(p256())

    def check(self, pem: str, **changes: object) -> Claims:
        """Check the first certificate of *pem* as a gateway's of the cluster."""
        chain = x509.load_pem_x509_certificates(pem.encode())
        asked = {"cluster": self.cluster.name, "cas": self.cas, "now": self.cluster.now, **changes}
        return check_gateway(chain, **asked)  # type: ignore[arg-type]

    def refused(self, pem: str, **changes: object) -> str:
        """Why it is refused."""
        with self.assertRaises(Untrusted) as caught:
            self.check(pem, **changes)
        why: str = caught.exception.why
        return why

    def sign(self, claims: Claims, kind: str = "host", purposes: object = SERVER) -> str:
        """What an authority gone wrong would sign."""
        now = int(self.cluster.now)
        leaf = Leaf(
            claims=claims,
            key=p256().public_key(),
            not_before=now - 60,
            not_after=now + 60,
            purposes=purposes,  # type: ignore[arg-type]
        )
        return sign_leaf(self.cluster.authorities.x509(kind), leaf)

    def test_a_gateway(self) -> None:
        """Its host certificate and those minted for its names are taken."""
        claims = self.cluster.host("gw1")
        issued = self.cluster.issuer.host_certificate(claims, self.pem)
        self.assertEqual(self.check(issued.tls_pem), claims)
        minted = self.cluster.issuer.gateway_certificate(("auth.gate.example.com",), self.pem)
        self.assertEqual(self.check(minted.tls_pem).name, "gateway")
        self.assertEqual(self.check(minted.tls_pem, cluster=None).cluster, self.cluster.name)

    def test_a_node(self) -> None:
        """A node's certificate presented as a gateway's is refused."""
        issued = self.cluster.issuer.host_certificate(self.cluster.host("n1", "node"), self.pem)
        why = "its certificate is that of a node, not of a gateway"
        self.assertEqual(self.refused(issued.tls_pem), why)
        self.assertEqual(self.refused(self.sign(self.cluster.host("n1", "node"))), why)

    def test_a_leaf_cluster(self) -> None:
        """A leaf cluster's gateway is refused, whatever cluster it says it is of."""
        there = self.leaf_cluster.issuer.host_certificate(self.leaf_cluster.host("gw1"), self.pem)
        self.assertIn("of the cluster leaf.test", self.refused(there.tls_pem))
        liar = Cluster(name=self.cluster.name)
        lied = liar.issuer.host_certificate(liar.host("gw1"), self.pem)
        self.assertIn("from no authority", self.refused(lied.tls_pem))
        self.assertIn("from no authority", self.refused(lied.tls_pem, cluster=None))
        self.assertIn("of the cluster", self.refused(self.sign(self.leaf_cluster.host("gw1"))))

    def test_an_expired_one(self) -> None:
        """A gateway's certificate that has ended, or not begun, is refused."""
        issued = self.cluster.issuer.host_certificate(self.cluster.host("gw1"), self.pem)
        self.check(issued.tls_pem, now=issued.not_after)
        self.check(issued.tls_pem, now=issued.not_before)
        for now in (issued.not_after + 1, issued.not_before - 1):
            self.assertIn("has ended", self.refused(issued.tls_pem, now=now))

    def test_a_user(self) -> None:
        """A user's certificate is refused, also one called gateway, whoever signed it."""
        claims = self.cluster.user("gateway", roles=("gateway",))
        issued = self.cluster.issuer.user_certificates(claims, self.pem)
        self.assertEqual(self.refused(issued.tls_pem), "its certificate is a user's (gateway)")
        self.assertIn("a user's", self.refused(self.sign(claims)))

    def test_other_authorities_of_the_cluster(self) -> None:
        """The user and db authorities vouch for no gateway."""
        for kind in ("user", "db"):
            signed = self.sign(self.cluster.host("gw1"), kind)
            self.assertIn("from no authority", self.refused(signed))

    def test_not_for_servers(self) -> None:
        """What is good for clients only is none."""
        purposes = (x509.ObjectIdentifier(der.CLIENT_AUTH),)
        signed = self.sign(self.cluster.host("gw1"), purposes=purposes)
        self.assertEqual(self.refused(signed), "its certificate is not for servers")

    def test_of_no_cluster(self) -> None:
        """A certificate of any other CA, right name or not, is refused; so is an odd one."""
        self.assertIn("of no cluster", self.refused(pki().server.cert_pem.decode()))
        odd = der.certificate(
            pki().ca, extensions=(der.basic(ca=False), der.extension(CLAIMS_OID, b"\x0c\x00"))
        )
        self.assertIn("is refused", self.refused(odd.cert_pem.decode()))
        with self.assertRaises(Untrusted):
            check_gateway((), self.cluster.name, self.cas, self.cluster.now)

    def test_no_purposes_at_all(self) -> None:
        """A certificate that does not say what it is for is none of ours."""
        claims = evolve(self.cluster.host("gw1"), name="gw1")
        made = der.certificate(
            pki().ca,
            subject=der.name((der.COMMON_NAME, der.UTF8, b"gw1")),
            extensions=(der.basic(ca=False), der.extension(CLAIMS_OID, encode(claims))),
        )
        now = pki().ca.certificate.not_valid_before_utc.timestamp() + 120
        why = self.refused(made.cert_pem.decode(), cas=(pki().ca.certificate,), now=now)
        self.assertEqual(why, "its certificate is not for servers")

    def test_an_authority_that_has_ended(self) -> None:
        """An authority's end is the end of what it signed; what is no authority signs nothing."""
        issued = self.cluster.issuer.host_certificate(self.cluster.host("gw1"), self.pem)
        chain = x509.load_pem_x509_certificates(issued.tls_pem.encode())
        old = Cluster(now=self.cluster.now - 4000 * 86400).authorities.x509("host")
        for cas in ((), (old.certificate,), chain):
            self.assertIn("from no authority", self.refused(issued.tls_pem, cas=cas))

    def test_rotation(self) -> None:
        """While a key is changed, both are taken by those who know both."""
        before = self.cluster.issuer.host_certificate(self.cluster.host("gw1"), self.pem)
        for phase in ("init", "update_clients", "update_servers"):
            self.cluster.rotate("host", phase)
        after = self.cluster.issuer.host_certificate(self.cluster.host("gw1"), self.pem)
        both = load_cas(self.cluster.authorities.cas()["host"])
        for issued in (before, after):
            self.check(issued.tls_pem, cas=both)
        self.assertIn("from no authority", self.refused(after.tls_pem))

    def test_auth(self) -> None:
        """Other roles are asked for by name."""
        issued = self.cluster.issuer.host_certificate(self.cluster.host("a1", "auth"), self.pem)
        chain = x509.load_pem_x509_certificates(issued.tls_pem.encode())
        asked = self.cluster.name, self.cas, self.cluster.now
        self.assertEqual(check_host(chain, "auth", *asked).name, "a1")
        with self.assertRaises(Untrusted):
            check_host(chain, "gateway", *asked)


class PinnedTests(SynchronousTestCase):
    """Tests for `pinned`, `presented` and `load_cas`."""

    def test_first_login(self) -> None:
        """The pin finds the authority in the chain; with it the gateway is checked."""
        cluster = Cluster()
        minted = cluster.issuer.gateway_certificate(("gate.example.com",), spki(p256()))
        chain = x509.load_pem_x509_certificates(minted.tls_pem.encode())
        found = pinned(chain, cluster.authorities.pins())
        check_gateway(chain, None, (found,), cluster.now)

    def test_another_pin(self) -> None:
        """No authority with that key, no login; nor by the pin of the leaf's own key."""
        cluster = Cluster()
        minted = cluster.issuer.gateway_certificate(("gate.example.com",), spki(p256()))
        chain = x509.load_pem_x509_certificates(minted.tls_pem.encode())
        for pins in (Cluster().authorities.pins(), (pin_of(chain[0]),), ()):
            with self.assertRaises(Untrusted):
                pinned(chain, pins)
        with self.assertRaises(BadAsk):
            pinned(chain, ("sha256:short",))

    def test_a_pinned_authority_is_no_proof(self) -> None:
        """Whoever shows the right authority behind a certificate of his own is refused."""
        cluster, thief = Cluster(), Cluster()
        stolen = thief.issuer.gateway_certificate(("gate.example.com",), spki(p256()))
        chain = [
            x509.load_pem_x509_certificate(stolen.tls_pem.encode()),
            cluster.authorities.x509("host").certificate,
        ]
        found = pinned(chain, cluster.authorities.pins())
        with self.assertRaises(Untrusted):
            check_gateway(chain, None, (found,), cluster.now)

    def test_presented(self) -> None:
        """What a server shows comes leaf first; nothing is shown before the handshake."""
        wire = shake(client_context(pki().alice), required_context())
        leaf = presented(wire.client)[0]
        self.assertEqual(leaf, x509.load_pem_x509_certificate(pki().server.cert_pem))
        with self.assertRaises(Untrusted):
            presented(shake(client_context(), required_context()).server)

    def test_cas(self) -> None:
        """Texts with one or several certificates are read, broken ones refused."""
        one, two = pki().ca.cert_pem, pki().other_ca.cert_pem
        want = (pki().ca.certificate, pki().other_ca.certificate)
        self.assertEqual(load_cas((one.decode(), two)), want)
        self.assertEqual(load_cas((one + two,)), want)
        for bad in ("", "x", one[:-60]):
            with self.assertRaises(BadKeyPair):
                load_cas((bad,))
