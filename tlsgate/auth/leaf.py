"""The X.509 certificate of somebody who is no authority."""

from __future__ import annotations

import datetime
from ipaddress import IPv4Address, IPv6Address
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

#: RFC 5280 appendix A.1, ub-common-name.
_COMMON_NAME: Final = 64

_CLAIMS: Final = x509.ObjectIdentifier(CLAIMS_OID)


@frozen(kw_only=True)
class Leaf:
    """What is to be signed.

    Attributes:
        not_before: seconds since the epoch.
        not_after: the same.
        claims: None: the certificate says nothing of the cluster, and *common_name* is there.
        common_name: instead of the name in *claims*.
        organizations: O of the subject; for people who read it, nobody decides by it.
        addresses: IP addresses beside the names.
        purposes: extended key usages.
    """

    claims: Claims | None
    common_name: str = ""
    key: PublicKey
    not_before: int
    not_after: int
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    purposes: tuple[x509.ObjectIdentifier, ...]


def sign_leaf(authority: X509Authority, leaf: Leaf) -> str:
    """Sign *leaf*; give its PEM.

    Raises:
        BadBytes: it says more than a certificate carries.
    """
    said = None
    if leaf.claims is not None:  # bounds every name first
        said = x509.UnrecognizedExtension(_CLAIMS, encode(leaf.claims))
    common_name = leaf.common_name or (leaf.claims.name if leaf.claims else "")
    if not 0 < len(common_name) <= _COMMON_NAME or not common_name.isprintable():
        raise BadBytes("common name", f"has to have 1 to {_COMMON_NAME} characters")
    names = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
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
    )
    if said is not None:
        builder = builder.add_extension(said, critical=False)
    if leaf.dns_names or leaf.addresses:
        others: list[x509.GeneralName] = [x509.DNSName(name) for name in leaf.dns_names]
        others += [x509.IPAddress(address) for address in leaf.addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    if len(certificate.public_bytes(Encoding.DER)) > _LEAF_BYTES:
        raise BadBytes("certificate claims", f"they make a certificate above {_LEAF_BYTES} bytes")
    return certificate.public_bytes(Encoding.PEM).decode()


def _time(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
