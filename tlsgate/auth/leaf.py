"""The X.509 certificate of somebody who is no authority."""

from __future__ import annotations

import datetime
from typing import Final

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tlsgate.auth.authority import X509Authority, key_usage, random_serial
from tlsgate.core.claims import CLAIMS_OID, Claims, encode
from tlsgate.errors import BadBytes
from tlsgate.tls.publickeys import PublicKey

#: What a reader takes (`tls.verify`).
_LEAF_BYTES: Final = 16 * 1024

_CLAIMS: Final = x509.ObjectIdentifier(CLAIMS_OID)


@frozen(kw_only=True)
class Leaf:
    """What is to be signed.

    Attributes:
        not_before: seconds since the epoch.
        not_after: the same.
        organizations: O of the subject; for people who read it, nobody decides by it.
        purposes: extended key usages.
    """

    claims: Claims
    key: PublicKey
    not_before: int
    not_after: int
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    purposes: tuple[x509.ObjectIdentifier, ...]


def sign_leaf(authority: X509Authority, leaf: Leaf) -> str:
    """Sign *leaf*; give its PEM.

    Raises:
        BadBytes: it says more than a certificate carries.
    """
    said = x509.UnrecognizedExtension(_CLAIMS, encode(leaf.claims))  # bounds every name first
    names = [x509.NameAttribute(NameOID.COMMON_NAME, leaf.claims.name)]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in leaf.organizations]
    own = x509.SubjectKeyIdentifier.from_public_key(leaf.key)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        x509.CertificateBuilder()
        .issuer_name(authority.certificate.subject)
        .subject_name(x509.Name(names))
        .public_key(leaf.key)
        .serial_number(random_serial())
        .not_valid_before(_time(leaf.not_before))
        .not_valid_after(_time(leaf.not_after))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(leaf.purposes), critical=False)
        .add_extension(own, critical=False)
        .add_extension(above, critical=False)
        .add_extension(said, critical=False)
    )
    if leaf.dns_names:
        san = x509.SubjectAlternativeName([x509.DNSName(name) for name in leaf.dns_names])
        builder = builder.add_extension(san, critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    if len(certificate.public_bytes(Encoding.DER)) > _LEAF_BYTES:
        raise BadBytes("certificate claims", f"they make a certificate above {_LEAF_BYTES} bytes")
    return certificate.public_bytes(Encoding.PEM).decode()


def _time(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
