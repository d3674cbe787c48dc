"""Tests for `tls.contexts`: what our contexts take, offer and refuse.

One file: each class holds one side of the same contexts.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.support import der
from tests.support.certs import pki
from tests.support.handshake import (
    VERSIONS,
    Wire,
    client_context,
    client_end,
    server_end,
    shake,
)
from tlsgate.core.routing import CertRule
from tlsgate.errors import BadKeyPair, BadSettings
from tlsgate.tls import binding
from tlsgate.tls.authority import Authority
from tlsgate.tls.certs import CertificateStore
from tlsgate.tls.contexts import ContextStore, Shown, TlsPolicy, target_context

ANYONE = TlsPolicy(CertRule.NONE)


def ca() -> str:
    """The file of the CA that the gateway trusts."""
    return os.fspath(pki().file("ca.pem"))


def required() -> TlsPolicy:
    """The policy that demands a certificate of the test CA."""
    return TlsPolicy(CertRule.REQUIRED, (ca(),))


def contexts(*names: str) -> ContextStore:
    """A store over these pairs, or over the usual one."""
    keypairs = [pki().keypair(name) for name in names or ("server",)]
    return ContextStore(CertificateStore.load(keypairs))


class ServerContextTests(SynchronousTestCase):
    """Tests for `ContextStore.server`."""

    def test_one_context_for_each_policy_and_certificate(self) -> None:
        """The same policy and certificate give the same object, anything else another."""
        store = contexts("server", "server-b")
        optional = TlsPolicy(CertRule.OPTIONAL, (ca(),))
        first = store.server(required(), "gw.test")
        self.assertIs(store.server(required(), "x.gw.test"), first)
        self.assertIs(store.server(required(), None), first)
        others = [
            first,
            store.server(required(), "b.test"),
            store.server(optional, "gw.test"),
            store.server(ANYONE, "gw.test"),
        ]
        self.assertEqual(len({id(one) for one in others}), 4)

    def test_verify_modes(self) -> None:
        """Each rule has its mode in the context itself, where no switch can lose it (F1)."""
        store = contexts()
        for rule, mode in (
            (CertRule.NONE, SSL.VERIFY_NONE),
            (CertRule.OPTIONAL, SSL.VERIFY_PEER),
            (CertRule.REQUIRED, SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT),
        ):
            context = store.server(TlsPolicy(rule, (ca(),)), None)
            self.assertEqual((rule, context.get_verify_mode()), (rule, mode))
            self.assertEqual(context.get_verify_depth(), 4)
            self.assertEqual(context.get_session_cache_mode(), SSL.SESS_CACHE_OFF)

    def test_rules_and_certificates(self) -> None:
        """Each rule meets each client as it must, in both versions, with the right alert."""
        certs = pki()
        store = contexts()
        fine = None
        for rule, client, tls12, tls13 in (
            (CertRule.NONE, None, fine, fine),
            (CertRule.NONE, certs.alice, fine, fine),
            (CertRule.NONE, certs.mallory, fine, fine),  # never asked, so never sent
            (CertRule.OPTIONAL, None, fine, fine),
            (CertRule.OPTIONAL, certs.alice, fine, fine),
            (CertRule.OPTIONAL, certs.mallory, 48, 48),  # invalid is not none
            (CertRule.OPTIONAL, certs.expired, 45, 45),
            (CertRule.OPTIONAL, certs.host, 43, 43),
            (CertRule.REQUIRED, None, 40, 116),
            (CertRule.REQUIRED, certs.alice, fine, fine),
            (CertRule.REQUIRED, certs.deep, fine, fine),
            (CertRule.REQUIRED, certs.mallory, 48, 48),
            (CertRule.REQUIRED, certs.expired, 45, 45),
            (CertRule.REQUIRED, certs.host, 43, 43),
        ):
            for version, alert in zip(VERSIONS, (tls12, tls13), strict=True):
                context = store.server(TlsPolicy(rule, (ca(),)), None)
                wire = shake(client_context(client, version=version), context)
                case = (rule, client, version)
                self.assertEqual((case, wire.done, wire.alert), (case, alert is fine, alert))

    def test_the_same_without_the_private_binding(self) -> None:
        """On the public interface alone the same clients are taken and refused."""
        self.patch(binding, "PRIVATE", False)
        certs = pki()
        store = contexts()
        for rule, client, taken in (
            (CertRule.OPTIONAL, None, True),
            (CertRule.OPTIONAL, certs.mallory, False),
            (CertRule.REQUIRED, None, False),
            (CertRule.REQUIRED, certs.alice, True),
            (CertRule.REQUIRED, certs.deep, True),
            (CertRule.REQUIRED, certs.mallory, False),
            (CertRule.REQUIRED, certs.expired, False),
            (CertRule.REQUIRED, certs.host, False),
        ):
            for version in VERSIONS:
                context = store.server(TlsPolicy(rule, (ca(),)), None)
                wire = shake(client_context(client, version=version), context)
                case = (rule, client, version)
                self.assertEqual((case, wire.done), (case, taken))

    def test_ecdsa_and_rsa_in_one_context(self) -> None:
        """A client without ECDSA gets the RSA certificate, another one ECDSA."""
        context = contexts("server", "server-rsa").server(ANYONE, None)
        for ciphers, kind in (
            (b"ECDHE-RSA-AES128-GCM-SHA256", "RSA"),
            (b"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA"),
        ):
            client = client_context(version=SSL.TLS1_2_VERSION, ciphers=ciphers)
            wire = shake(client, context)
            self.assertTrue(wire.done)
            self.assertIn(kind, wire.client.get_cipher_name() or "")

    def test_each_pair_goes_with_its_own_chain(self) -> None:
        """Two pairs below different intermediates do not mix their chains."""
        certs = pki()
        folder = Path(self.mktemp())
        folder.mkdir()
        keypairs = []
        for number, kind in enumerate(("ec", "rsa")):
            below = certs.ca.intermediate(f"below {kind}")
            pair = below.issue("gw.test", dns=("gw.test",), server=True, key=kind)  # type: ignore[arg-type]
            keypair = type(certs.keypair("server"))(
                cert_file=folder / f"{number}.pem", key_file=folder / f"{number}-key.pem"
            )
            pair.write(keypair.cert_file, keypair.key_file)
            keypairs.append(keypair)
        context = ContextStore(CertificateStore.load(keypairs)).server(ANYONE, None)
        for ciphers, above in ((b"ECDHE-ECDSA-AES128-GCM-SHA256", "ec"), (b"aRSA", "rsa")):
            client = client_context(version=SSL.TLS1_2_VERSION, ciphers=ciphers)
            wire = shake(client, context)
            chain = wire.client.get_peer_cert_chain(as_cryptography=True) or []
            self.assertEqual(
                [one.subject.rfc4514_string() for one in chain], ["CN=gw.test", f"CN=below {above}"]
            )

    def test_versions(self) -> None:
        """TLS 1.0 and 1.1 are refused, with the alert that says so."""
        context = contexts().server(ANYONE, None)
        for version in (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                wire = shake(client_context(version=version, ciphers=b"ALL:@SECLEVEL=0"), context)
            self.assertFalse(wire.done)
            self.assertIsNotNone(wire.server_error)

    def test_aead_only(self) -> None:
        """Each suite that a TLS 1.2 client gets is ECDHE with AEAD (F19)."""
        context = contexts("server", "server-rsa").server(ANYONE, None)
        everything = SSL.Context(SSL.TLS_CLIENT_METHOD)
        everything.set_cipher_list(b"ALL:@SECLEVEL=0")
        taken = set()
        for suite in SSL.Connection(everything, None).get_cipher_list():
            if suite.startswith("TLS_"):
                continue
            client = client_context(
                version=SSL.TLS1_2_VERSION, ciphers=suite.encode() + b":@SECLEVEL=0"
            )
            if shake(client, context).done:
                taken.add(suite)
        self.assertEqual(
            taken,
            {
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
                "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE-RSA-AES256-GCM-SHA384",
                "ECDHE-RSA-CHACHA20-POLY1305",
            },
        )

    def test_preferences(self) -> None:
        """AES-128 wins by our order; a client that puts ChaCha20 first gets ChaCha20."""
        context = contexts().server(ANYONE, None)
        wire = shake(client_context(), context)
        self.assertEqual(wire.server.get_cipher_name(), "TLS_AES_128_GCM_SHA256")
        phone = client_context()
        phone.set_tls13_ciphersuites(b"TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256")
        wire = shake(phone, context)
        self.assertEqual(wire.server.get_cipher_name(), "TLS_CHACHA20_POLY1305_SHA256")

    def test_post_quantum_group_is_preferred(self) -> None:
        """A client that can do X25519MLKEM768 does, even if it has sent another share first."""
        if not binding.PRIVATE:
            raise AssertionError("the private binding of pyOpenSSL has changed")
        context = contexts().server(ANYONE, None)
        for offer, group in (
            (b"X25519MLKEM768:X25519", "X25519MLKEM768"),
            (b"X25519:X25519MLKEM768", "X25519MLKEM768"),
            (b"P-256:X25519", "secp256r1"),  # among the others no second round trip is asked for
            (b"X25519:P-256", "x25519"),
            (b"P-384", "secp384r1"),
        ):
            client = client_context()
            binding.set_groups(client, offer)
            wire = shake(client, context)
            self.assertEqual((offer, wire.server.get_group_name()), (offer, group))
        odd = client_context(version=SSL.TLS1_3_VERSION)
        binding.set_groups(odd, b"P-521")
        self.assertEqual(shake(odd, context).alert, 40)

    def test_ca_names_are_sent(self) -> None:
        """A client is told whose certificates are taken; of very many CAs none is named."""
        context = contexts().server(required(), None)
        for version in VERSIONS:
            wire = shake(client_context(pki().alice, version=version), context)
            names = wire.client.get_client_ca_list(as_cryptography=True)
            self.assertEqual([one.rfc4514_string() for one in names], ["CN=test ca"])
        many = Path(self.mktemp())
        authorities = (Authority.create(f"{number} {'x' * 50}") for number in range(130))
        many.write_bytes(b"".join(one.cert_pem for one in authorities) + pki().ca.cert_pem)
        context = contexts().server(TlsPolicy(CertRule.REQUIRED, (os.fspath(many),)), None)
        wire = shake(client_context(pki().alice), context)
        self.assertTrue(wire.done)
        self.assertEqual(wire.client.get_client_ca_list(as_cryptography=True), [])

    def test_an_intermediate_may_be_the_anchor(self) -> None:
        """Trusting an intermediate trusts its leaves, and not its root's others."""
        certs = pki()
        policy = TlsPolicy(CertRule.REQUIRED, (os.fspath(certs.file("sub-ca.pem")),))
        context = contexts().server(policy, None)
        self.assertTrue(shake(client_context(certs.deep), context).done)
        self.assertEqual(shake(client_context(certs.alice), context).alert, 48)

    def test_the_gateways_own_ca_is_not_trusted_by_the_way(self) -> None:
        """Only the CA files of the policy count, never the chain that we show ourselves."""
        certs = pki()
        policy = TlsPolicy(CertRule.REQUIRED, (os.fspath(certs.file("other-ca.pem")),))
        context = contexts().server(policy, None)
        self.assertEqual(shake(client_context(certs.alice), context).alert, 48)
        self.assertTrue(shake(client_context(certs.mallory), context).done)

    def test_depth(self) -> None:
        """Four intermediates are taken, five are not (S15)."""
        context = contexts().server(required(), None)
        authority = pki().ca
        for count in range(1, 6):
            authority = authority.intermediate(f"level {count}")
            wire = shake(client_context(authority.issue("deep", client=True)), context)
            self.assertEqual((count, wire.done), (count, count <= 4))

    def test_a_reload_takes_effect_and_drops_the_old(self) -> None:
        """After a reload new connections show the new certificate; old contexts go."""
        folder = Path(self.mktemp())
        folder.mkdir()
        keypair = type(pki().keypair("server"))(
            cert_file=folder / "c.pem", key_file=folder / "k.pem"
        )
        pki().server.write(keypair.cert_file, keypair.key_file)
        certificates = CertificateStore.load([keypair])
        store = ContextStore(certificates)
        store.prepare([required(), ANYONE])
        old = store.server(required(), None)
        store.server(ANYONE, None)
        pki().server_rsa.write(keypair.cert_file, keypair.key_file)
        self.assertTrue(certificates.reload())
        new = store.server(required(), None)
        self.assertIsNot(old, new)
        self.assertEqual(len(store._contexts), 1)
        wire = shake(client_context(pki().alice), new)
        shown = wire.client.get_peer_certificate(as_cryptography=True)
        assert shown is not None
        self.assertIsInstance(shown.public_key(), rsa.RSAPublicKey)


class ClusterTests(SynchronousTestCase):
    """Policies that show the cluster's certificate, and not the web one."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.keypair = type(pki().keypair("server"))(
            cert_file=folder / "c.pem", key_file=folder / "k.pem"
        )
        pki().server_rsa.write(self.keypair.cert_file, self.keypair.key_file)
        self.web = CertificateStore.load([pki().keypair("server")])
        self.cluster = CertificateStore.load([self.keypair])
        self.store = ContextStore(self.web, self.cluster)
        self.own = TlsPolicy(CertRule.REQUIRED, (ca(),), cluster=True)

    def key_of(self, context: SSL.Context) -> type:
        """The kind of key that is shown: the web one is ECDSA, the cluster's RSA."""
        wire = shake(client_context(pki().alice), context)
        shown = wire.client.get_peer_certificate(as_cryptography=True)
        assert shown is not None
        return type(shown.public_key())

    def test_which_is_shown(self) -> None:
        """By the policy alone, whatever name is asked for."""
        rsa_kind = self.key_of(self.store.server(self.own, None))
        self.assertTrue(issubclass(rsa_kind, rsa.RSAPublicKey))
        for name in ("gw.test", "elsewhere.test"):
            self.assertIs(self.key_of(self.store.server(self.own, name)), rsa_kind)
            web = self.key_of(self.store.server(required(), name))
            self.assertFalse(issubclass(web, rsa.RSAPublicKey))

    def test_each_has_its_own_context(self) -> None:
        """Policies that differ only in what is shown share no context, so no session either."""
        pair = [self.store.server(one, None) for one in (self.own, required())]
        self.assertIsNot(*pair)
        self.assertIs(self.store.server(self.own, "gw.test"), pair[0])
        self.assertEqual(pair[0].get_verify_mode(), pair[1].get_verify_mode())

    def test_s06_the_same_demand(self) -> None:
        """S06: who shows nothing, or something foreign, gets no further than elsewhere."""
        for pair in (None, pki().mallory, pki().expired):
            wire = shake(client_context(pair), self.store.server(self.own, None))
            self.assertIsNotNone(wire.server_error, pair)

    def test_renewed(self) -> None:
        """A new certificate of the cluster counts at once, and only its contexts go."""
        old, web = self.store.server(self.own, None), self.store.server(required(), None)
        self.store.server(TlsPolicy(CertRule.NONE, (), cluster=True), None)
        pki().server.write(self.keypair.cert_file, self.keypair.key_file)
        self.assertTrue(self.cluster.reload())
        new = self.store.server(self.own, None)
        self.assertIsNot(new, old)
        self.assertFalse(issubclass(self.key_of(new), rsa.RSAPublicKey))
        self.assertIs(self.store.server(required(), None), web)
        self.assertEqual(len(self.store._contexts), 2)

    def test_without_a_cluster(self) -> None:
        """Where there is none a web policy is as ever; one of the cluster's is our own bug."""
        store = contexts()
        store.prepare([required()])
        self.assertRaises(AssertionError, store.server, self.own, None)


class PairTests(SynchronousTestCase):
    """Tests for pairs that only OpenSSL finds fault with."""

    def test_found_before_a_connection(self) -> None:
        """A key that is too short for our security level fails the start, with the reason."""
        folder = Path(self.mktemp())
        folder.mkdir()
        weak = der.certificate(
            pki().ca,
            key=ec.generate_private_key(ec.SECP192R1()),
            extensions=(der.san((2, b"gw.test")),),
        )
        keypair = type(pki().keypair("server"))(
            cert_file=folder / "c.pem", key_file=folder / "k.pem"
        )
        weak.write(keypair.cert_file, keypair.key_file)
        store = ContextStore(CertificateStore.load([pki().keypair("server-b"), keypair]))
        error = self.assertRaises(BadSettings, store.prepare, [ANYONE])
        self.assertEqual(
            str(error), f"{keypair.cert_file}:1:1: OpenSSL does not take it: ee key too small"
        )

    def test_without_memfd(self) -> None:
        """Where there are no memory files the chain takes the way over a temporary one."""
        self.patch(os, "memfd_create", None)
        del os.memfd_create
        context = contexts("server").server(ANYONE, None)
        self.assertTrue(shake(client_context(), context).done)


class TrustTests(SynchronousTestCase):
    """Tests for CA files, S09: no fault in them ever opens a door."""

    def setUp(self) -> None:
        """Make a folder with CA files of each kind."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        old = Authority.create("old", days=-1)
        weak = rsa.generate_private_key(65537, 1024)
        certs = pki()
        for name, content in {
            "empty.pem": b"",
            "blank.pem": b" \n\n",
            "cut.pem": certs.ca.cert_pem[:200],
            "cut-second.pem": certs.ca.cert_pem + certs.other_ca.cert_pem[:-100],
            "key.pem": certs.ca.pair.key_pem,
            "garbage.pem": os.urandom(500),
            "expired.pem": old.cert_pem,
            "leaf.pem": certs.alice.cert_pem,
            "leaf-too.pem": certs.ca.cert_pem + certs.alice.cert_pem,
            "v1.pem": der.certificate(certs.ca, version=None, extensions=()).cert_pem,
            "weak.pem": der.certificate(
                certs.ca, key=weak, extensions=(der.basic(ca=True),)
            ).cert_pem,
            "twice.pem": der.certificate(
                certs.ca, extensions=(der.basic(ca=True), der.basic(ca=True))
            ).cert_pem,
            "huge.pem": b"#" * (2 << 20),
            "rotation.pem": old.cert_pem + certs.ca.cert_pem,
        }.items():
            (self.folder / name).write_bytes(content)

    FAULTS = (
        ("gone.pem", "No such file or directory"),
        ("empty.pem", "is empty"),
        ("blank.pem", "is empty"),
        ("cut.pem", "holds a certificate that is broken or cut short"),
        ("cut-second.pem", "holds a certificate that is broken or cut short"),
        ("key.pem", "holds no PEM certificate"),
        ("garbage.pem", "holds no PEM certificate"),
        ("expired.pem", "holds only certificates that have expired"),
        ("leaf.pem", "holds 'CN=alice', which is not a CA certificate (CA:FALSE)"),
        ("leaf-too.pem", "holds 'CN=alice', which is not a CA certificate (CA:FALSE)"),
        ("v1.pem", "holds 'CN=alice', which does not say that it is a CA (basic constraints)"),
        (
            "weak.pem",
            "holds 'CN=alice', which has an RSA key of 1024 bits; 2048 to 4096 are allowed",
        ),
        ("twice.pem", "holds 'CN=alice', which cannot be read"),
        ("huge.pem", "is longer than 1048576 bytes"),
    )

    def test_s09_a_ca_file_at_fault_stops_the_start(self) -> None:
        """S09: every fault of a CA file is found before a connection, all at once."""
        policies = [
            TlsPolicy(rule, (os.fspath(self.folder / name), ca()))
            for name, _ in self.FAULTS
            for rule in (CertRule.OPTIONAL, CertRule.REQUIRED)
        ]
        error = self.assertRaises(BadSettings, contexts().prepare, [ANYONE, *policies])
        self.assertEqual(
            [(one.place.file, one.message) for one in error.problems],
            [(os.fspath(self.folder / name), message) for name, message in self.FAULTS],
        )

    def test_s09_no_context_with_less_trust(self) -> None:
        """S09: without `prepare` too, a fault gives no context, now or at a second try."""
        store = contexts()
        for name, message in self.FAULTS:
            policy = TlsPolicy(CertRule.REQUIRED, (ca(), os.fspath(self.folder / name)))
            for _ in range(2):
                error = self.assertRaises(BadKeyPair, store.server, policy, None)
                self.assertEqual(error.why, message)
        for rule in (CertRule.OPTIONAL, CertRule.REQUIRED):
            self.assertRaises(BadKeyPair, store.server, TlsPolicy(rule), None)

    def test_s09_a_file_that_may_not_be_read(self) -> None:
        """S09: a CA file without permission is a fault (for root, a folder in its place)."""
        (self.folder / "secret.pem").mkdir()
        policy = TlsPolicy(CertRule.REQUIRED, (os.fspath(self.folder / "secret.pem"),))
        self.assertRaises(BadKeyPair, contexts().server, policy, None)

    def test_s09_a_public_ca_is_not_trusted(self) -> None:
        """S09: with every kind of file that does load, strangers' certificates are refused."""
        for name in ("rotation.pem",):
            store = contexts()
            policy = TlsPolicy(CertRule.REQUIRED, (os.fspath(self.folder / name),))
            context = store.server(policy, None)
            self.assertEqual(shake(client_context(pki().mallory), context).alert, 48)
            self.assertTrue(shake(client_context(pki().alice), context).done)
            self.assertEqual(
                store.notes, (f"{self.folder / name}: 'CN=old' has expired and is not trusted",)
            )

    def test_s09_a_changed_file_counts_after_a_reload_only(self) -> None:
        """S09: a store keeps the trust that it was made with; a bad new file hurts a new one."""
        file = self.folder / "ca.pem"
        file.write_bytes(pki().ca.cert_pem)
        policy = TlsPolicy(CertRule.REQUIRED, (os.fspath(file),))
        running = contexts()
        running.prepare([policy])
        file.write_bytes(b"")
        self.assertRaises(BadSettings, contexts().prepare, [policy])
        self.assertTrue(shake(client_context(pki().alice), running.server(policy, None)).done)


class ClientContextTests(SynchronousTestCase):
    """Tests for `ContextStore.client`, for targets."""

    def dial(self, client: SSL.Context, pair: str = "server") -> Wire:
        """Shake hands with a target that shows *pair*."""
        return Wire(
            client_end(client), server_end(contexts(pair).server(ANYONE, None), b"h2")
        ).handshake()

    def test_the_chain_is_verified(self) -> None:
        """A target of the named CA is taken; of another, or of the system's, it is not."""
        store = contexts()
        self.assertTrue(self.dial(store.client((ca(),))).done)
        other = store.client((os.fspath(pki().file("other-ca.pem")),))
        for client in (other, store.client()):
            self.assertFalse(self.dial(client).done)

    def test_purpose(self) -> None:
        """A client's certificate does not serve a target."""
        self.assertFalse(self.dial(contexts().client((ca(),)), "alice").done)

    def test_alpn(self) -> None:
        """What is to be offered is offered."""
        wire = self.dial(contexts().client((ca(),), (b"http/1.1", b"h2")))
        self.assertEqual(wire.client.get_alpn_proto_negotiated(), b"h2")

    def test_made_once(self) -> None:
        """The same files and tokens give the same context."""
        store = contexts()
        self.assertIs(store.client((ca(),)), store.client((ca(),)))
        self.assertIsNot(store.client((ca(),)), store.client((ca(),), (b"h2",)))

    def test_a_ca_file_at_fault(self) -> None:
        """A target's CA file that cannot be used is an error, not the system's trust."""
        self.assertRaises(BadKeyPair, contexts().client, ("/nowhere/ca.pem",))


class TargetContextTests(SynchronousTestCase):
    """Tests for `target_context`, for what an agent dials."""

    def dial(self, client: SSL.Context, policy: TlsPolicy = ANYONE) -> Wire:
        """Shake hands with a target of *policy*."""
        server = contexts().server(policy, None)
        return Wire(client_end(client), server_end(server, b"postgresql")).handshake()

    def test_trust(self) -> None:
        """Only the given authorities are trusted; nobody where none is given."""
        for good, client in (
            (True, target_context([pki().ca.certificate], alpn=(b"postgresql",))),
            (True, target_context(ca_file=ca(), alpn=(b"postgresql",))),
            (True, target_context(alpn=(b"postgresql",), unsafe_unverified=True)),
            (False, target_context([pki().other_ca.certificate], alpn=(b"postgresql",))),
            (False, target_context(alpn=(b"postgresql",))),
            (False, target_context(system=True, alpn=(b"postgresql",))),
        ):
            self.assertIs(self.dial(client).done, good)

    def test_shown(self) -> None:
        """What is shown is a certificate from memory, which the target verifies."""
        pair = pki().file("alice.pem"), pki().file("alice-key.pem")
        key = Authority.load(*pair).key
        shown = Shown(pair[0].read_bytes(), key)
        for given, good in ((shown, True), (None, False)):
            client = target_context(ca_file=ca(), alpn=(b"postgresql",), shown=given)
            self.assertIs(self.dial(client, required()).done, good)
        self.assertNotIn("BEGIN", repr(shown))

    def test_at_fault(self) -> None:
        """A file, or a pair, that cannot be used is an error of ours."""
        self.assertRaises(BadKeyPair, target_context, ca_file="/nowhere/ca.pem")
        alice = pki().file("alice.pem").read_bytes()
        shown = Shown(alice, ec.generate_private_key(ec.SECP256R1()))
        self.assertRaises(BadKeyPair, target_context, shown=shown)
