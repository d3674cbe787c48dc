"""Tests for `tlsgate.tls.sshtrust`: signatures of OpenSSH certificates."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from twisted.trial.unittest import SynchronousTestCase

from tests.support.authorities import Cluster, p256, spki, ssh_line
from tests.support.sshwire import (
    blob_of,
    certificate,
    ed25519_signer,
    mpint,
    options,
    string,
)
from tlsgate.core.wire.sshcert import Kind, key_blob, parse, parse_line
from tlsgate.errors import BadBytes, Untrusted
from tlsgate.tls.sshtrust import check_ssh_certificate, verify_signature

Signer = Callable[[bytes], bytes]


def ec_signer(
    key: ec.EllipticCurvePrivateKey, name: bytes, digest: Any
) -> Callable[[bytes], bytes]:
    """Signs as OpenSSH does."""

    def sign(signed: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(digest)))
        return string(name) + string(mpint(r) + mpint(s))

    return sign


def rsa_signer(key: rsa.RSAPrivateKey, name: bytes, digest: Any) -> Callable[[bytes], bytes]:
    """The same for RSA."""
    return lambda signed: string(name) + string(key.sign(signed, padding.PKCS1v15(), digest))


class SignatureTests(SynchronousTestCase):
    """Tests for `verify_signature`."""

    def test_each_algorithm(self) -> None:
        """What each kind of authority signs is taken, and a changed bit is not."""
        small, big = p256(), ec.generate_private_key(ec.SECP384R1())
        own, numbers = (
            ed25519.Ed25519PrivateKey.generate(),
            rsa.generate_private_key(65537, 2048),
        )
        for key, sign in (
            (own, ed25519_signer(own)),
            (small, ec_signer(small, b"ecdsa-sha2-nistp256", hashes.SHA256())),
            (big, ec_signer(big, b"ecdsa-sha2-nistp384", hashes.SHA384())),
            (numbers, rsa_signer(numbers, b"rsa-sha2-256", hashes.SHA256())),
            (numbers, rsa_signer(numbers, b"rsa-sha2-512", hashes.SHA512())),
        ):
            good = certificate(authority=blob_of(key), signature=sign)
            verify_signature(parse(good))
            found = parse(good)
            moved = string(found.algorithm) + string(found.signature)
            for bad in (
                good.replace(b"alice", b"alicf"),
                good[:-1] + bytes((good[-1] ^ 1,)),
                certificate(authority=blob_of(key), signature=moved, serial=8),
            ):
                with self.assertRaises(Untrusted):
                    verify_signature(parse(bad))

    def test_odd_signatures(self) -> None:
        """Whatever stands in the place of a signature is refused as such."""
        key, own = p256(), ed25519.Ed25519PrivateKey.generate()
        r = mpint(1)
        for body in (
            b"",
            b"\0\0\0",
            r,
            r + r + b"\0",
            string(b"") + r,
            string(b"\xff") + r,
            mpint(0) + r,
            string(b"\0" * 65) + r,
            mpint(1 << 255) + mpint(1 << 255),
        ):
            signature = string(b"ecdsa-sha2-nistp256") + string(body)
            blob = certificate(authority=blob_of(key), signature=signature)
            with self.assertRaises(Untrusted):
                verify_signature(parse(blob))
        for body in (b"", b"s" * 63, b"s" * 65):
            signature = string(b"ssh-ed25519") + string(body)
            with self.assertRaises(Untrusted):
                verify_signature(parse(certificate(authority=blob_of(own), signature=signature)))

    def test_an_authority_that_is_no_point(self) -> None:
        """A key that is not on its curve is refused, not an error of its own."""
        bad = string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"\4" + b"k" * 64)
        signature = string(b"ecdsa-sha2-nistp256") + string(mpint(1) + mpint(1))
        with self.assertRaises(Untrusted):
            verify_signature(parse(certificate(authority=bad, signature=signature)))


class CheckTests(SynchronousTestCase):
    """Tests for `check_ssh_certificate`, all of it."""

    def test_ours(self) -> None:
        """What the issuer signs is good for its user, and for nobody else or nothing else."""
        cluster, key = Cluster(), p256()
        issued = cluster.issuer.user_certificates(cluster.user(), spki(key), ssh_line(key))
        assert issued.ssh is not None
        blob = base64.b64decode(issued.ssh.split()[1])
        trusted = [key_blob(one) for one in cluster.authorities.cas()["ssh_user"]]
        hosts = [key_blob(one) for one in cluster.authorities.cas()["ssh_host"]]
        found = check_ssh_certificate(
            blob,
            trusted,
            Kind.USER,
            cluster.now,
            "alice",
            outer=b"ecdsa-sha2-nistp256-cert-v01@openssh.com",
        )
        self.assertEqual(found, parse_line(issued.ssh))
        self.assertEqual(found.key, blob_of(key))
        for authorities, kind, now, name in (
            (trusted, Kind.USER, cluster.now, "root"),
            (trusted, Kind.HOST, cluster.now, "alice"),
            (trusted, Kind.USER, issued.not_after, "alice"),
            (hosts, Kind.USER, cluster.now, "alice"),
        ):
            with self.assertRaises(Untrusted):
                check_ssh_certificate(blob, authorities, kind, now, name)
        with self.assertRaises(BadBytes):
            check_ssh_certificate(
                blob, trusted, Kind.USER, cluster.now, "alice", outer=b"ecdsa-sha2-nistp256"
            )

    def test_a_forged_one(self) -> None:
        """To name the right authority is not to be signed by it."""
        own, thief = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
        blob = certificate(authority=blob_of(own), signature=ed25519_signer(thief))
        with self.assertRaises(Untrusted) as caught:
            check_ssh_certificate(blob, (blob_of(own),), Kind.USER, 1500, "alice")
        self.assertEqual(caught.exception.why, "its signature does not hold")

    def test_an_option_that_is_kept(self) -> None:
        """A critical option is taken where the caller says that it will be held to."""
        own = ed25519.Ed25519PrivateKey.generate()
        blob = certificate(
            authority=blob_of(own),
            signature=ed25519_signer(own),
            critical=options((b"verify-required", b"")),
        )
        trusted = (blob_of(own),)
        with self.assertRaises(Untrusted):
            check_ssh_certificate(blob, trusted, Kind.USER, 1500, "alice")
        check_ssh_certificate(blob, trusted, Kind.USER, 1500, "alice", options=("verify-required",))
