"""One key of a cluster's authority: how it is made, written down and read back.

X.509 authorities (user, host, db) have P-256 keys and sign leaves only; the OpenSSH ones
(ssh_user, ssh_host) have Ed25519 keys; jwt has P-256 keys that sign what applications are told
of their users (`apptokens`). A private key leaves this module sealed only.
"""

from __future__ import annotations

import base64
import datetime
import secrets
from typing import Any, Final, Literal

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tlsgate.errors import BadSeal

Type = Literal["user", "host", "db", "ssh_user", "ssh_host", "jwt"]

X509_TYPES: Final[tuple[Type, ...]] = ("user", "host", "db")
SSH_TYPES: Final[tuple[Type, ...]] = ("ssh_user", "ssh_host")
#: Whose keys others have to trust where certificates are shown.
CA_TYPES: Final[tuple[Type, ...]] = (*X509_TYPES, *SSH_TYPES)
JWT: Final = "jwt"
TYPES: Final[tuple[Type, ...]] = (*CA_TYPES, JWT)

#: Ten years; rotation is an operator's decision, not a date's.
_LIFE: Final = datetime.timedelta(days=3650)
_BACKDATE: Final = datetime.timedelta(seconds=60)

#: What leaves of an authority may be for. A reader that looks at it takes no server's
#: certificate from the user authority, whatever the leaf says.
_PURPOSES: Final = {
    "user": [ExtendedKeyUsageOID.CLIENT_AUTH],
    "host": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    "db": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
}


@frozen(eq=False, kw_only=True)
class X509Authority:
    """A key that signs X.509 certificates.

    Attributes:
        id: 16 hex digits, unique.
        created: seconds since the epoch.
    """

    type: Type
    id: str
    created: float
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def trust(self) -> bytes:
        """What others need to trust it: PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def not_after(self) -> float:
        """When it ends; seconds since the epoch."""
        return self.certificate.not_valid_after_utc.timestamp()

    @property
    def secret(self) -> bytes:
        """The private key, to be sealed: PKCS #8 DER."""
        return _pkcs8(self.key)

    def public(self) -> dict[str, Any]:
        """What anybody may know of it."""
        return {"id": self.id, "created": self.created, "certificate": self.trust.decode()}


@frozen(eq=False, kw_only=True)
class SshAuthority:
    """A key that signs OpenSSH certificates."""

    type: Type
    id: str
    created: float
    key: ed25519.Ed25519PrivateKey = field(repr=False)

    @property
    def trust(self) -> bytes:
        """What others need to trust it: a line as in authorized_keys, without a comment."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )

    @property
    def secret(self) -> bytes:
        """The private key, to be sealed: PKCS #8 DER."""
        return _pkcs8(self.key)

    def public(self) -> dict[str, Any]:
        """What anybody may know of it."""
        return {"id": self.id, "created": self.created, "public_key": self.trust.decode()}


@frozen(eq=False, kw_only=True)
class JwtAuthority:
    """A key that signs JSON web tokens (ES256, RFC 7518 section 3.4)."""

    type: Type
    id: str
    created: float
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def trust(self) -> bytes:
        """What others need to trust it: PEM, SubjectPublicKeyInfo."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def secret(self) -> bytes:
        """The private key, to be sealed: PKCS #8 DER."""
        return _pkcs8(self.key)

    @property
    def jwk(self) -> dict[str, str]:
        """The public key as applications read it (RFC 7517, RFC 7518 section 6.2.1)."""
        numbers = self.key.public_key().public_numbers()
        return {
            "kty": "EC",
            "crv": "P-256",
            "x": _coordinate(numbers.x),
            "y": _coordinate(numbers.y),
            "use": "sig",
            "alg": "ES256",
            "kid": self.id,
        }

    def public(self) -> dict[str, Any]:
        """What anybody may know of it."""
        known = {"id": self.id, "created": self.created, "public_key": self.trust.decode()}
        return {**known, "jwk": self.jwk}


Authority = X509Authority | SshAuthority | JwtAuthority


def create(kind: Type, cluster: str, now: float) -> Authority:
    """Make a new key of *kind* for *cluster*."""
    name = secrets.token_hex(8)
    if kind == JWT:
        signs = ec.generate_private_key(ec.SECP256R1())
        return JwtAuthority(type=kind, id=name, created=now, key=signs)
    if kind in SSH_TYPES:
        return SshAuthority(
            type=kind, id=name, created=now, key=ed25519.Ed25519PrivateKey.generate()
        )
    key = ec.generate_private_key(ec.SECP256R1())
    # The id makes the subjects of an old and a new key two, so nobody mixes them up.
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{kind} authority"),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, name),
        ]
    )
    begins = datetime.datetime.fromtimestamp(int(now), datetime.UTC) - _BACKDATE
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(random_serial())
        .not_valid_before(begins)
        .not_valid_after(begins + _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(ca=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_PURPOSES[kind]), critical=False)
        .add_extension(key_id, critical=False)
        .sign(key, hashes.SHA256())
    )
    return X509Authority(type=kind, id=name, created=now, certificate=certificate, key=key)


def restore(kind: Type, document: dict[str, Any], secret: bytes, place: str) -> Authority:
    """Read back what `public` and `secret` gave.

    Raises:
        BadSeal: the two do not belong together.
    """
    try:
        key = serialization.load_der_private_key(secret, None)
        if isinstance(key, ed25519.Ed25519PrivateKey) and kind in SSH_TYPES:
            found: Authority = SshAuthority(
                type=kind, id=document["id"], created=document["created"], key=key
            )
            good = found.trust.decode() == document["public_key"]
        elif isinstance(key, ec.EllipticCurvePrivateKey) and kind in X509_TYPES:
            certificate = x509.load_pem_x509_certificate(document["certificate"].encode())
            found = X509Authority(
                type=kind,
                id=document["id"],
                created=document["created"],
                certificate=certificate,
                key=key,
            )
            good = certificate.public_key() == key.public_key()
        elif isinstance(key, ec.EllipticCurvePrivateKey) and kind == JWT:
            found = JwtAuthority(type=kind, id=document["id"], created=document["created"], key=key)
            good = found.trust.decode() == document["public_key"]
        else:
            good = False
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise BadSeal(place, "it is not what this version keeps there") from error
    if not good:
        raise BadSeal(place, "it is not the key of the authority that stands beside it")
    return found


def random_serial() -> int:
    """128 random bits, never 0 (RFC 5280 section 4.1.2.2)."""
    return secrets.randbits(128) or 1


def key_usage(*, ca: bool) -> x509.KeyUsage:
    """What a key may be used for: an authority's to sign certificates, a leaf's to sign."""
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _coordinate(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def _pkcs8(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
