"""Tests for `tls.verify`: whom certificates name, and S10, the odd ones."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.support import der
from tests.support.certs import pki
from tests.support.der import (
    ANY_USAGE,
    BMP,
    CLIENT_AUTH,
    COMMON_NAME,
    IA5,
    INTEGER,
    OCTET_STRING,
    ORGANIZATION,
    PRINTABLE,
    SERVER_AUTH,
    T61,
    UNIVERSAL,
    UTF8,
    basic,
    extension,
    integer,
    name,
    san,
    tlv,
    usage,
)
from tests.support.handshake import VERSIONS, Wire, client_context, client_end, server_end, shake
from tlsgate.core.access import Identity, Kind, Rule, decide
from tlsgate.core.routing import CertRule
from tlsgate.errors import TargetUntrusted
from tlsgate.tls import binding, verify
from tlsgate.tls.authority import Authority, Pair
from tlsgate.tls.certs import CertificateStore
from tlsgate.tls.contexts import ContextStore, TlsPolicy

CLIENT = (basic(ca=False), usage(CLIENT_AUTH))


def cn(text: str, tag: int = UTF8) -> bytes:
    """A subject with one common name."""
    return name((COMMON_NAME, tag, text.encode()))


def required_context() -> SSL.Context:
    """A server that demands a certificate of the test CA."""
    store = ContextStore(CertificateStore.load([pki().keypair("server")]))
    policy = TlsPolicy(CertRule.REQUIRED, (os.fspath(pki().file("ca.pem")),))
    return store.server(policy, None)


def says(common: tuple[str, ...] = ("alice",), **more: tuple[str, ...]) -> dict[str, object]:
    """What an accepted certificate says."""
    return {"common_names": common, "uris": (), "dns_names": (), **more}


#: What is odd, how it is made, and what comes of it: the names, or the alert. Frozen: a
#: change in a library that moves a line is looked at before it is believed.
ODD: tuple[tuple[str, dict[str, Any], dict[str, object] | int], ...] = (
    ("nothing", {}, says()),
    # -- the subject --
    ("no name at all", {"subject": name()}, says(())),
    ("an organisation only", {"subject": name((ORGANIZATION, UTF8, b"ops"))}, says(())),
    (
        "two common names",  # no rule by CN ever matches; see below
        {"subject": name((COMMON_NAME, UTF8, b"alice"), (COMMON_NAME, UTF8, b"bob"))},
        says(("alice", "bob")),
    ),
    ("NUL in the common name", {"subject": cn("alice\0.evil")}, 42),
    ("line end in the common name", {"subject": cn("alice\nbob")}, 42),
    ("escape in the common name", {"subject": cn("\x1b]0;alice")}, 42),
    ("right-to-left override in the common name", {"subject": cn("\u202eecila")}, 42),
    ("empty common name", {"subject": cn("")}, 42),
    ("64 bytes of common name", {"subject": cn("a" * 64)}, says(("a" * 64,))),
    ("65 bytes of common name", {"subject": cn("a" * 65)}, 42),
    ("33 letters of two bytes", {"subject": cn("é" * 33)}, 42),
    ("letters beyond ASCII", {"subject": cn("Zoë 山田")}, says(("Zoë 山田",))),
    ("PrintableString", {"subject": cn("alice", PRINTABLE)}, says()),
    ("PrintableString with a letter that it has not", {"subject": cn("al@ce", PRINTABLE)}, 42),
    ("IA5String", {"subject": cn("alice", IA5)}, says()),
    ("IA5String beyond ASCII", {"subject": name((COMMON_NAME, IA5, b"al\xe9ce"))}, 42),
    ("T61String in ASCII", {"subject": cn("alice", T61)}, says()),
    ("T61String beyond ASCII", {"subject": name((COMMON_NAME, T61, b"al\xe9ce"))}, 42),
    ("BMPString", {"subject": name((COMMON_NAME, BMP, "alice".encode("utf-16-be")))}, says()),
    (
        "UniversalString",
        {"subject": name((COMMON_NAME, UNIVERSAL, "alice".encode("utf-32-be")))},
        says(),
    ),
    # -- the alternative names --
    (
        "names of three kinds",
        {"extensions": (*CLIENT, san((2, b"A.test"), (6, b"spiffe://x/y"), (1, b"a@b.test")))},
        says(dns_names=("A.test",), uris=("spiffe://x/y",)),
    ),
    (
        "wildcard",  # accepted, and no rule ever matches it
        {"extensions": (*CLIENT, san((2, b"*.ops.test")))},
        says(dns_names=("*.ops.test",)),
    ),
    (
        "two alternative names extensions",
        {"extensions": (*CLIENT, san((2, b"a")), san((2, b"b")))},
        48,
    ),
    ("NUL in a DNS name", {"extensions": (*CLIENT, san((2, b"a.test\0.evil")))}, 42),
    ("NUL in a URI", {"extensions": (*CLIENT, san((6, b"spiffe://a\0b")))}, 42),
    ("space in a DNS name", {"extensions": (*CLIENT, san((2, b"a test")))}, 42),
    ("line end in a URI", {"extensions": (*CLIENT, san((6, b"spiffe://a\r\nb")))}, 42),
    ("DNS name beyond ASCII", {"extensions": (*CLIENT, san((2, "ö.test".encode())))}, 42),
    ("empty DNS name", {"extensions": (*CLIENT, san((2, b"")))}, 42),
    ("no alternative name in the extension", {"extensions": (*CLIENT, san())}, says()),
    ("64 names", {"extensions": (*CLIENT, san(*((2, b"a"),) * 64))}, says(dns_names=("a",) * 64)),
    ("65 names", {"extensions": (*CLIENT, san(*((2, b"a"),) * 65))}, 42),
    ("64 KiB of names", {"extensions": (*CLIENT, san(*((2, b"a" * 60),) * 1050))}, 42),
    ("a kind of name that there is not", {"extensions": (*CLIENT, san((9, b"x")))}, 48),
    ("names cut short", {"extensions": (*CLIENT, extension(der.SAN, b"\x30\x05abc"))}, 48),
    (
        "bytes after the names",
        {"extensions": (*CLIENT, extension(der.SAN, tlv(0x30, tlv(0x82, b"a.test")) + b"xx"))},
        42,
    ),
    (
        "critical names",
        {"extensions": (*CLIENT, san((2, b"a"), critical=True))},
        says(dns_names=("a",)),
    ),
    # -- what it is for --
    ("no extended key usage", {"extensions": (basic(ca=False),)}, says()),
    ("an empty one", {"extensions": (basic(ca=False), usage())}, 43),
    ("any usage", {"extensions": (basic(ca=False), usage(ANY_USAGE))}, 43),
    ("servers only", {"extensions": (basic(ca=False), usage(SERVER_AUTH))}, 43),
    ("both", {"extensions": (basic(ca=False), usage(SERVER_AUTH, CLIENT_AUTH))}, says()),
    ("two extended key usages", {"extensions": (*CLIENT, usage(SERVER_AUTH))}, 48),
    (
        "not for signatures",
        {"extensions": (*CLIENT, extension(der.KEY_USAGE, tlv(3, b"\1\6"), critical=True))},
        43,
    ),
    # -- what it is --
    ("a CA", {"extensions": (basic(ca=True), usage(CLIENT_AUTH))}, 42),
    ("a path length without a CA", {"extensions": (basic(ca=False, path_length=3),)}, 42),
    ("two basic constraints", {"extensions": (*CLIENT, basic(ca=True))}, 48),
    (
        "an unknown critical extension",
        {"extensions": (*CLIENT, extension("1.2.3.4", b"\5\0", True))},
        46,
    ),
    (
        "an unknown other extension",
        {"extensions": (*CLIENT, extension("1.2.3.4", b"\5\0"))},
        says(),
    ),
    ("version 1", {"version": None, "extensions": ()}, says()),
    ("version 1 with extensions", {"version": None}, 42),
    ("version 2", {"version": 2, "extensions": ()}, 42),
    ("version 4", {"version": 4}, 42),
    ("serial number 0", {"serial": integer(0)}, 42),
    ("serial number below 0", {"serial": integer(-5)}, 42),
    ("serial number of 26 bytes", {"serial": integer(1 << 200)}, 42),
    # -- times --
    ("not valid yet", {"days": (1, 2)}, 42),
    ("expired", {"days": (-2, -1)}, 45),
    ("ends before it begins", {"days": (2, 1)}, 42),
    # -- keys and signatures --
    ("signed with SHA-1", {"algorithm": der.ECDSA_SHA1}, 42),
    ("RSA 1024", {"key": lambda: rsa.generate_private_key(65537, 1024)}, 42),
    ("RSA 2048", {"key": lambda: rsa.generate_private_key(65537, 2048)}, says()),
    ("P-384", {"key": lambda: ec.generate_private_key(ec.SECP384R1())}, says()),
    ("Ed25519", {"key": ed25519.Ed25519PrivateKey.generate}, says()),
    ("Ed448", {"key": ed448.Ed448PrivateKey.generate}, says()),
)


class OddCertificateTests(SynchronousTestCase):
    """S10: certificates on which two readers could disagree."""

    def test_s10_table(self) -> None:
        """S10: each odd certificate meets the frozen outcome, in both versions."""
        context = required_context()
        for what, how, expected in ODD:
            made = {key: value() if callable(value) else value for key, value in how.items()}
            pair = der.certificate(pki().ca, **made)
            for version in VERSIONS:
                wire = shake(client_context(pair, version=version), context)
                self.assertEqual((what, outcome(wire)), (what, expected))

    def test_s10_both_bindings_agree(self) -> None:
        """S10: on the public interface the same ones are refused, and none more."""
        self.patch(binding, "PRIVATE", False)
        context = required_context()
        for what, how, expected in ODD:
            made = {key: value() if callable(value) else value for key, value in how.items()}
            pair = der.certificate(pki().ca, **made)
            got = outcome(shake(client_context(pair), context))
            self.assertEqual((what, isinstance(got, dict)), (what, isinstance(expected, dict)))
            if isinstance(expected, dict):
                self.assertEqual((what, got), (what, expected))

    def test_s10_chains(self) -> None:
        """S10: what is odd above the leaf is refused too."""
        certs = pki()
        sub = certs.ca.intermediate("sub")
        narrow = x509.load_pem_x509_certificate(
            der.certificate(
                certs.ca,
                key=sub.key,
                subject=name((COMMON_NAME, UTF8, b"narrow")),
                extensions=(basic(ca=True, path_length=0),),
            ).cert_pem
        )
        two_below = Authority(narrow, sub.key, _pem(narrow)).intermediate("too deep")
        past = certs.ca.intermediate("past", days=-1)
        fake = Authority(
            x509.load_pem_x509_certificate(certs.alice.cert_pem), _key(certs.alice), b""
        )
        by_leaf = fake.issue("eve", client=True)
        constrained = der.certificate(
            certs.ca,
            key=sub.key,
            subject=name((COMMON_NAME, UTF8, b"only a.test")),
            extensions=(
                basic(ca=True),
                extension(
                    der.NAME_CONSTRAINTS,
                    tlv(0x30, tlv(0xA0, tlv(0x30, tlv(0x82, b"a.test")))),
                    critical=True,
                ),
            ),
        )
        names_a = Authority(
            x509.load_pem_x509_certificate(constrained.cert_pem), sub.key, constrained.cert_pem
        )
        context = required_context()
        for what, pair, expected in (
            ("path length 0, one CA below", two_below.issue("x", client=True), 48),
            ("an expired intermediate", past.issue("x", client=True), 45),
            (
                "issued by a leaf",
                Pair(by_leaf.cert_pem + certs.alice.cert_pem, by_leaf.key_pem),
                48,
            ),
            (
                "a name that the CA may give",
                names_a.issue("x", dns=("b.a.test",)),
                says(("x",), dns_names=("b.a.test",)),
            ),
            ("a name that it may not give", names_a.issue("x", dns=("b.test",)), 46),
        ):
            wire = shake(client_context(pair), context)
            self.assertEqual((what, outcome(wire)), (what, expected))

    def test_s10_what_no_client_can_send(self) -> None:
        """S10: bytes that OpenSSL itself does not read are refused by our reader as well."""
        for subject in (
            name((COMMON_NAME, UTF8, b"al\xffce")),
            name((COMMON_NAME, INTEGER, b"\1")),
            name((COMMON_NAME, OCTET_STRING, b"\xff\xfe")),
            b"\x30\x03abc",
        ):
            pem = der.certificate(pki().ca, subject=subject).cert_pem
            found = verify.judge_leaf(_der_of(pem))
            self.assertIsInstance(found, str)
        for bytes_ in (b"", b"\x30", b"\x30\x80", b"\0" * 100, b"\x30\x84\xff\xff\xff\xff"):
            self.assertEqual(verify.judge_leaf(bytes_), "it is malformed")

    def test_s10_keys_of_other_kinds(self) -> None:
        """S10: a key that is neither RSA, EC nor Ed25519/Ed448 is refused, leaf or issuer."""
        old = dsa.generate_private_key(2048)
        pem = der.certificate(pki().ca, key=old).cert_pem
        self.assertEqual(
            verify.judge_leaf(_der_of(pem)), "its key is of a kind that is not used here"
        )
        dsa_kind, rsa_kind, pss_kind, ec_kind = 116, 6, 912, 408
        for kind, bits, good in (
            (dsa_kind, 2048, False),
            (rsa_kind, 2047, False),
            (rsa_kind, 2048, True),
            (pss_kind, 4096, True),
            (rsa_kind, 4097, False),
            (ec_kind, 256, True),
            (1087, 256, True),
        ):
            self.assertEqual((kind, verify.judge_issuer(kind, bits) is None), (kind, good))

    def test_s10_two_names_are_nobody(self) -> None:
        """S10: no rule matches one of two common names, nor a wildcard in a certificate."""
        rules = [Rule(Kind.CN, "alice"), Rule(Kind.CN, "bob"), Rule(Kind.DNS, "*.ops.test")]
        two = Identity(common_names=("alice", "bob"), dns_names=("*.ops.test",))
        self.assertFalse(decide(rules, two).allowed)

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def test_s10_any_bytes(self, data: st.DataObject) -> None:
        """S10: whatever bytes come, the reader gives an identity or a sentence."""
        good = bytearray(_der_of(pki().alice.cert_pem))
        for _ in range(data.draw(st.integers(1, 4))):
            good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, len(good)))
        for candidate in (bytes(good), bytes(good[:cut])):
            self.assertIsInstance(verify.judge_leaf(candidate), Identity | str)


def outcome(wire: Wire) -> dict[str, object] | int | None:
    """What the server knows of a client, or the alert that the client got."""
    if not wire.done:
        return wire.alert
    identity = verify.identity_of(wire.server)
    assert identity is not None
    return {
        "common_names": identity.common_names,
        "uris": identity.uris,
        "dns_names": identity.dns_names,
    }


def _der_of(pem: bytes) -> bytes:
    body = pem.partition(b"-----BEGIN CERTIFICATE-----")[2].partition(b"-----END")[0]
    return base64.b64decode(body)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key(pair: Pair) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pair.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


class IdentityTests(SynchronousTestCase):
    """Tests for `identity_of`."""

    def test_whole(self) -> None:
        """A good certificate gives all of its names, its serial number and its end."""
        alice = x509.load_pem_x509_certificate(pki().alice.cert_pem)
        wire = shake(client_context(pki().alice), required_context())
        self.assertEqual(
            verify.identity_of(wire.server),
            Identity(
                common_names=("alice",),
                uris=("spiffe://test/alice",),
                dns_names=("alice.ops.test",),
                serial=alice.serial_number,
                not_after=alice.not_valid_after_utc.timestamp(),
            ),
        )

    def test_none_without_certificate(self) -> None:
        """Where none was shown, or none is asked for, there is nobody."""
        store = ContextStore(CertificateStore.load([pki().keypair("server")]))
        ca = os.fspath(pki().file("ca.pem"))
        for rule, pair in ((CertRule.OPTIONAL, None), (CertRule.NONE, pki().alice)):
            wire = shake(client_context(pair), store.server(TlsPolicy(rule, (ca,)), None))
            self.assertTrue(wire.done)
            self.assertIsNone(verify.identity_of(wire.server))

    def test_nobody_before_the_end(self) -> None:
        """A client that has not proven that it holds the key has no finished handshake."""
        context = required_context()
        client, server = client_end(client_context(pki().alice)), server_end(context)
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        server.bio_write(client.bio_read(65536))
        self.assertRaises(SSL.WantReadError, server.do_handshake)
        self.assertIsNone(verify.identity_of(server))

    def test_remembered(self) -> None:
        """The second handshake of a certificate does not read it again."""
        context = required_context()
        client = client_context(pki().bob)
        first = verify.identity_of(shake(client, context).server)

        def never(_certificate: x509.Certificate) -> Identity:
            raise AssertionError("read again")

        self.patch(verify, "_read", never)
        self.assertIs(verify.identity_of(shake(client, context).server), first)

    def test_memory_is_bounded(self) -> None:
        """What is remembered stays below twice its size, and what is used stays."""
        memory: verify._Recent[int] = verify._Recent(10)
        for number in range(1000):
            memory.put(b"%d" % number, number)
            memory.put(b"kept", -1) if number == 0 else self.assertEqual(memory.get(b"kept"), -1)
        self.assertLessEqual(len(memory._young) + len(memory._old), 20)
        self.assertEqual(memory.get(b"999"), 999)
        self.assertIsNone(memory.get(b"1"))


class CheckServerTests(SynchronousTestCase):
    """Tests for `check_server`."""

    def target(self, pair: str = "server") -> SSL.Connection:
        """A finished connection to a target that shows *pair*."""
        store = ContextStore(CertificateStore.load([pki().keypair(pair)]))
        client = client_end(store.client((os.fspath(pki().file("ca.pem")),)))
        server = server_end(store.server(TlsPolicy(CertRule.NONE), None))
        wire = Wire(client, server).handshake()
        self.assertTrue(wire.done)
        return wire.client

    def test_names(self) -> None:
        """Exact names, one-label wildcards and addresses are found, others are not."""
        connection = self.target()
        for server_name, good in (
            ("gw.test", True),
            ("GW.test", True),
            ("a.gw.test", True),
            ("a.b.gw.test", False),
            ("localhost", True),
            ("127.0.0.1", True),
            ("::1", True),
            ("127.0.0.2", False),
            ("gw.test.evil", False),
            ("evil.test", False),
        ):
            if good:
                verify.check_server(connection, server_name)
            else:
                error = self.assertRaises(
                    TargetUntrusted, verify.check_server, connection, server_name, target="tls:x"
                )
                self.assertEqual(
                    str(error),
                    f"target tls:x is not trusted: its certificate is not for {server_name}",
                )

    def test_the_common_name_does_not_count(self) -> None:
        """A certificate without alternative names names no server."""
        folder = self.mktemp()
        os.mkdir(folder)
        pair = pki().ca.issue("gw.test", server=True)
        keypair = type(pki().keypair("server"))
        files = keypair(cert_file=Path(folder) / "c.pem", key_file=Path(folder) / "k.pem")
        pair.write(files.cert_file, files.key_file)
        store = ContextStore(CertificateStore.load([files]))
        client = client_end(store.client((os.fspath(pki().file("ca.pem")),)))
        wire = Wire(client, server_end(store.server(TlsPolicy(CertRule.NONE), None))).handshake()
        error = self.assertRaises(TargetUntrusted, verify.check_server, wire.client, "gw.test")
        self.assertIn("names no server", str(error))

    def test_no_certificate_at_all(self) -> None:
        """A connection that is not finished is not trusted either."""
        client = client_end(client_context())
        self.assertRaises(TargetUntrusted, verify.check_server, client, "gw.test")
