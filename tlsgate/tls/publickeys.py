"""Public keys that somebody wants a certificate for: which ones are taken.

P-256, P-384, Ed25519, RSA of 2048 to 4096 bits (S15). Curves by numbers, DSA, keys in
certificates and everything else are refused before they cost anything.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tlsgate.errors import BadBytes

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_RSA_BITS: Final = range(2048, 4096 + 1)
#: RSA-4096 has 800 bytes of PEM; nothing that is taken comes near.
_TEXT_BYTES: Final = 4096
_PEM_HEAD: Final = b"-----BEGIN PUBLIC KEY-----"
_SSH_TYPES: Final = frozenset(
    (b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp384", b"ssh-ed25519", b"ssh-rsa")
)


def load_public_key(pem: str | bytes) -> PublicKey:
    """Read a SubjectPublicKeyInfo in PEM (RFC 7468 section 13).

    Raises:
        BadBytes: it is none, or of a kind, curve or size that is not taken.
    """
    text = _bounded(pem)
    if not text.startswith(_PEM_HEAD) or text.count(b"-----BEGIN") != 1:
        raise _bad("not one SubjectPublicKeyInfo in PEM (-----BEGIN PUBLIC KEY-----)")
    try:
        key = serialization.load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm, TypeError) as error:
        raise _bad("it cannot be read, or has a curve that is not named") from error
    return check_public_key(key)


def load_ssh_public_key(line: str | bytes) -> PublicKey:
    """Read a line of OpenSSH: type, base64, perhaps a comment.

    Raises:
        BadBytes: it is none, a certificate, or of a kind, curve or size that is not taken.
    """
    text = _bounded(line)
    words = text.split(b" ", 2)
    if len(words) < 2 or words[0] not in _SSH_TYPES or b"\n" in text:
        raise _bad("not one OpenSSH public key of a kind that is taken here")
    try:
        # The comment stays behind: it is nobody's business.
        key = serialization.load_ssh_public_key(b" ".join(words[:2]))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _bad("it cannot be read") from error
    return check_public_key(key)


def check_public_key(key: object) -> PublicKey:
    """Give *key* when it may have a certificate.

    Raises:
        BadBytes: it may not.
    """
    match key:
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1() | ec.SECP384R1()):
            return key
        case ed25519.Ed25519PublicKey():
            return key
        case rsa.RSAPublicKey(key_size=bits) if bits in _RSA_BITS:
            exponent = key.public_numbers().e
            if not (exponent & 1 and 65537 <= exponent < 1 << 32):
                raise _bad("an RSA key whose exponent is not 65537 or a little more")
            return key
    raise _bad("only P-256, P-384, Ed25519 and RSA of 2048 to 4096 bits are taken")


def _bounded(text: str | bytes) -> bytes:
    try:
        content = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise _bad("it is not ASCII") from None
    if len(content) > _TEXT_BYTES:
        raise _bad(f"it is longer than {_TEXT_BYTES} bytes")
    return content.strip()


def _bad(why: str) -> BadBytes:
    return BadBytes("public key", why)
