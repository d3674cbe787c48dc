"""Whether an OpenSSH certificate is to be believed: its form, its claims, its signature."""

from __future__ import annotations

import base64
from collections.abc import Collection

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from tlsgate.core.wire.sshcert import Kind, SshCertificate, judge, parse
from tlsgate.errors import Untrusted

_HASHES: dict[bytes, type[hashes.HashAlgorithm]] = {
    b"rsa-sha2-256": hashes.SHA256,
    b"rsa-sha2-512": hashes.SHA512,
    b"ecdsa-sha2-nistp256": hashes.SHA256,
    b"ecdsa-sha2-nistp384": hashes.SHA384,
}


def check_ssh_certificate(
    blob: bytes,
    trusted: Collection[bytes],
    kind: Kind,
    now: float,
    principal: str,
    *,
    outer: bytes | None = None,
    options: Collection[str] = (),
) -> SshCertificate:
    """Read, judge and verify a certificate; see `core.wire.sshcert.judge` for the arguments.

    That its holder has the private key is for the caller to find out (S37).

    Raises:
        BadBytes: it is malformed.
        Untrusted: it is not good for this, or its signature does not hold.
    """
    certificate = parse(blob, outer)
    judge(certificate, trusted, kind, now, principal, options=options)
    verify_signature(certificate)
    return certificate


def verify_signature(certificate: SshCertificate) -> None:
    """Make sure that the authority named in *certificate* has signed it.

    Raises:
        Untrusted: it has not.
    """
    check_signature(
        certificate.authority, certificate.algorithm, certificate.signature, certificate.signed
    )


def check_signature(key: bytes, algorithm: bytes, signature: bytes, signed: bytes) -> None:
    """Make sure that a plain key has signed.

    Args:
        key: the blob of a kind that `core.wire.sshcert` reads.
        algorithm: one that goes with it, as who asks has checked: "rsa-sha2-512".
        signature: its own part.

    Raises:
        Untrusted: it has not.
    """
    try:
        _verify(key, algorithm, signature, signed)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm) as error:
        raise Untrusted("the OpenSSH certificate", "its signature does not hold") from error


def _verify(blob: bytes, algorithm: bytes, signature: bytes, signed: bytes) -> None:
    """Raise anything but return when the signature does not hold."""
    kind = blob[4 : 4 + int.from_bytes(blob[:4], "big")]
    match load_ssh_public_key(kind + b" " + base64.b64encode(blob)):
        case ed25519.Ed25519PublicKey() as key:
            key.verify(signature, signed)
        case rsa.RSAPublicKey() as key:
            # OpenSSH takes signatures without their leading zeroes.
            whole = signature.rjust((key.key_size + 7) // 8, b"\0")
            key.verify(whole, signed, padding.PKCS1v15(), _HASHES[algorithm]())
        case ec.EllipticCurvePublicKey() as key:
            whole = encode_dss_signature(*_two_numbers(signature))
            key.verify(whole, signed, ec.ECDSA(_HASHES[algorithm]()))
        case _:  # `parse` lets no other type through
            raise AssertionError(kind)


def _two_numbers(signature: bytes) -> tuple[int, int]:
    """r and s of RFC 5656 section 3.1.2."""
    found = []
    for _ in range(2):
        length = int.from_bytes(signature[:4], "big")
        if len(signature) < 4 + length or not 1 <= length <= 64:
            raise ValueError(length)
        found.append(int.from_bytes(signature[4 : 4 + length], "big", signed=True))
        signature = signature[4 + length :]
    if signature or min(found) < 1:
        raise ValueError(len(signature))
    return found[0], found[1]
