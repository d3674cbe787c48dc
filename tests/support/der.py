"""Certificates written byte by byte, for those that no library would sign.

A certificate is (TBS, algorithm, signature); everything here gives DER.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tlsgate.tls.authority import Authority, Pair

# Universal tags of X.690.
BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 1, 2, 3, 4, 5, 6
UTF8, PRINTABLE, T61, IA5, UTC_TIME, GENERALIZED_TIME = 12, 19, 20, 22, 23, 24
UNIVERSAL, BMP, SEQUENCE, SET = 28, 30, 0x30, 0x31

COMMON_NAME, ORGANIZATION = "2.5.4.3", "2.5.4.10"
ECDSA_SHA256, ECDSA_SHA1 = "1.2.840.10045.4.3.2", "1.2.840.10045.4.1"
RSA_SHA256, RSA_SHA1, RSA_MD5 = (
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.5",
    "1.2.840.113549.1.1.4",
)
SAN, EKU, BASIC, KEY_USAGE, NAME_CONSTRAINTS = (
    "2.5.29.17",
    "2.5.29.37",
    "2.5.29.19",
    "2.5.29.15",
    "2.5.29.30",
)
CLIENT_AUTH, SERVER_AUTH, ANY_USAGE = (
    "1.3.6.1.5.5.7.3.2",
    "1.3.6.1.5.5.7.3.1",
    "2.5.29.37.0",
)


def tlv(tag: int, *parts: bytes) -> bytes:
    """One element with the DER length of its content."""
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def oid(dotted: str) -> bytes:
    """An object identifier."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    content = b""
    for arc in (first * 40 + second, *rest):
        piece = bytes((arc & 0x7F,))
        while arc := arc >> 7:
            piece = bytes((0x80 | arc & 0x7F,)) + piece
        content += piece
    return tlv(OID, content)


def integer(value: int) -> bytes:
    """A signed integer."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def name(*attributes: tuple[str, int, bytes]) -> bytes:
    """A distinguished name of (type, string tag, content) each."""
    return tlv(
        SEQUENCE,
        *(tlv(SET, tlv(SEQUENCE, oid(kind), tlv(tag, text))) for kind, tag, text in attributes),
    )


def extension(kind: str, value: bytes, critical: bool = False) -> bytes:
    """One extension; *value* is what its OCTET STRING holds."""
    flag = tlv(BOOLEAN, b"\xff") if critical else b""
    return tlv(SEQUENCE, oid(kind), flag, tlv(OCTET_STRING, value))


def san(*names: tuple[int, bytes], critical: bool = False) -> bytes:
    """A subject alternative name of (context tag, content); 2 is DNS, 6 is a URI."""
    return extension(SAN, tlv(SEQUENCE, *(tlv(0x80 | t, text) for t, text in names)), critical)


def usage(*kinds: str) -> bytes:
    """An extended key usage."""
    return extension(EKU, tlv(SEQUENCE, *map(oid, kinds)))


def basic(ca: bool, path_length: int | None = None) -> bytes:
    """Basic constraints, critical."""
    parts = tlv(BOOLEAN, b"\xff") if ca else b""
    if path_length is not None:
        parts += integer(path_length)
    return extension(BASIC, tlv(SEQUENCE, parts), critical=True)


def spki(key: Any) -> bytes:
    """The public half of *key*, with its curve by name."""
    public = key.public_key() if hasattr(key, "public_key") else key
    der: bytes = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return der


def _explicit_kind() -> bytes:
    """The algorithm of an EC key on P-256, with the curve's numbers (RFC 3279, 2.3.5)."""
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    g = bytes.fromhex(
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    curve = tlv(
        SEQUENCE,
        tlv(OCTET_STRING, (p - 3).to_bytes(32, "big")),
        tlv(OCTET_STRING, b.to_bytes(32, "big")),
    )
    field = tlv(SEQUENCE, oid("1.2.840.10045.1.1"), integer(p))
    numbers = tlv(
        SEQUENCE, integer(1), field, curve, tlv(OCTET_STRING, g), integer(order), integer(1)
    )
    return tlv(SEQUENCE, oid("1.2.840.10045.2.1"), numbers)


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )


def explicit_p256(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public half of a P-256 key, with the curve's numbers instead of its name."""
    return tlv(SEQUENCE, _explicit_kind(), tlv(BIT_STRING, b"\0", _point(key)))


def explicit_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key itself in that form, PKCS #8."""
    secret = key.private_numbers().private_value.to_bytes(32, "big")
    inner = tlv(
        SEQUENCE,
        integer(1),
        tlv(OCTET_STRING, secret),
        tlv(0xA1, tlv(BIT_STRING, b"\0", _point(key))),
    )
    return _pem(
        b"PRIVATE KEY", tlv(SEQUENCE, integer(0), _explicit_kind(), tlv(OCTET_STRING, inner))
    )


def certificate(
    authority: Authority,
    *,
    subject: bytes | None = None,
    extensions: Sequence[bytes] | None = None,
    key: Any = None,
    public: bytes | None = None,
    serial: bytes | None = None,
    version: int | None = 3,
    days: tuple[float, float] = (-1, 30),
    algorithm: str = ECDSA_SHA256,
) -> Pair:
    """A certificate signed by *authority*; without arguments a good client's, alice.

    Args:
        subject: DER of a name.
        extensions: DER each; None: a client's, () none at all.
        key: the subject's private key.
        public: DER of its public half, when it must not be the usual one.
        serial: DER of an integer.
        version: None leaves it out, which means 1.
        days: from and to, counted from now.
        algorithm: of the signature, by object identifier.
    """
    own = key if key is not None else ec.generate_private_key(ec.SECP256R1())
    if extensions is None:
        extensions = (basic(ca=False), usage(CLIENT_AUTH))
    now = datetime.datetime.now(datetime.UTC)
    times = [
        tlv(
            GENERALIZED_TIME,
            (now + datetime.timedelta(days=day)).strftime("%Y%m%d%H%M%SZ").encode(),
        )
        if (now + datetime.timedelta(days=day)).year >= 2050
        else tlv(UTC_TIME, (now + datetime.timedelta(days=day)).strftime("%y%m%d%H%M%SZ").encode())
        for day in days
    ]
    parameters = tlv(NULL) if algorithm.startswith("1.2.840.113549") else b""
    signature_kind = tlv(SEQUENCE, oid(algorithm), parameters)
    tbs = tlv(
        SEQUENCE,
        b"" if version is None else tlv(0xA0, integer(version - 1)),
        serial if serial is not None else integer(4711),
        signature_kind,
        authority.certificate.subject.public_bytes(),
        tlv(SEQUENCE, *times),
        subject if subject is not None else name((COMMON_NAME, UTF8, b"alice")),
        public if public is not None else spki(own),
        tlv(0xA3, tlv(SEQUENCE, *extensions)) if extensions else b"",
    )
    der = tlv(
        SEQUENCE, tbs, signature_kind, tlv(BIT_STRING, b"\0", _sign(authority.key, tbs, algorithm))
    )
    return Pair(pem(der) + authority.chain_pem, key_pem(own))


def pem(der: bytes) -> bytes:
    """A certificate's PEM."""
    return _pem(b"CERTIFICATE", der)


def _pem(label: bytes, der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join((b"-----BEGIN %s-----" % label, *lines, b"-----END %s-----" % label, b""))


def key_pem(key: Any) -> bytes:
    """A private key's PEM, PKCS #8."""
    text: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return text


def _sign(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, tbs: bytes, algorithm: str) -> bytes:
    digest: hashes.HashAlgorithm = {
        ECDSA_SHA1: hashes.SHA1(),
        RSA_SHA1: hashes.SHA1(),
        RSA_MD5: hashes.MD5(),
    }.get(algorithm, hashes.SHA256())
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(tbs, padding.PKCS1v15(), digest)
    return key.sign(tbs, ec.ECDSA(digest))
