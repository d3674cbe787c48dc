"""A small certificate authority: for the quickstart, `tgctl init` and tests.

It signs in memory and writes nothing; who asked for a pair decides where it goes.
Not the cluster's own authorities: those keep their keys in auth.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self, TypeVar

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tlsgate.errors import BadKeyPair, BadName

#: RFC 5280, upper bound ub-common-name; counted in bytes to be the stricter of two readings.
COMMON_NAME_BYTES = 64

#: Clocks that go wrong by less than this do not meet a certificate "from the future" (R16).
_BACKDATE = datetime.timedelta(seconds=60)

_T = TypeVar("_T")

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@frozen
class Pair:
    """A certificate with what leads from it to the root, and its key, as PEM.

    Attributes:
        cert_pem: leaf first, then the intermediates; the root is not in it.
        key_pem: PKCS #8, not encrypted.
    """

    cert_pem: bytes
    key_pem: bytes

    def write(self, cert_file: Path, key_file: Path) -> None:
        """Write both files; the key is readable by its owner only, from its first byte on."""
        write_secret(key_file, self.key_pem)
        cert_file.write_bytes(self.cert_pem)


def write_secret(path: Path, content: bytes) -> None:
    """Replace *path* by *content* as a whole, mode 0600 from the start."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    beside.touch(mode=0o600, exist_ok=False)
    beside.write_bytes(content)
    beside.replace(path)


@frozen
class Authority:
    """A CA certificate and its key.

    Attributes:
        chain_pem: intermediates that a leaf of this CA must bring along; b"" for a root.
    """

    certificate: x509.Certificate
    key: PrivateKey
    chain_pem: bytes = b""

    @classmethod
    def create(cls, name: str, *, days: float = 3650) -> Self:
        """Make a root of its own, P-256, that may have intermediates.

        Raises:
            BadName: *name* is empty or longer than 64 bytes.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(name)
        builder = _ca_builder(subject, key, days)
        certificate = builder.issuer_name(subject).sign(key, hashes.SHA256())
        return cls(certificate, key)

    @classmethod
    def load(cls, cert_file: Path | str, key_file: Path | str) -> Self:
        """Read what `Pair.write` or another tool has written.

        Raises:
            BadKeyPair: a file is missing or malformed, or the two do not belong together.
        """
        cert = _read(cert_file, x509.load_pem_x509_certificate)
        key = _read(key_file, lambda pem: serialization.load_pem_private_key(pem, password=None))
        if not isinstance(key, PrivateKey):
            raise BadKeyPair(str(key_file), "is not an EC or RSA key")
        if key.public_key() != cert.public_key():
            raise BadKeyPair(str(key_file), f"is not the key of {cert_file}")
        return cls(cert, key)

    @property
    def cert_pem(self) -> bytes:
        """The CA certificate itself."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def pair(self) -> Pair:
        """The CA's own certificate and key, to be kept."""
        return Pair(self.cert_pem, _key_pem(self.key))

    def intermediate(self, name: str, *, days: float = 3650) -> Authority:
        """Make a CA below this one; its leaves bring its certificate along."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _ca_builder(_subject(name), key, days)
        builder = builder.issuer_name(self.certificate.subject)
        builder = builder.add_extension(self._authority_key_id(), critical=False)
        signed = builder.sign(self.key, hashes.SHA256())
        own_pem = signed.public_bytes(serialization.Encoding.PEM)
        return Authority(signed, key, own_pem + self.chain_pem)

    def issue(
        self,
        common_name: str,
        *,
        dns: Sequence[str] = (),
        uris: Sequence[str] = (),
        ips: Sequence[str] = (),
        server: bool = False,
        client: bool = False,
        days: float = 365,
        key: Literal["ec", "rsa"] = "ec",
    ) -> Pair:
        """Issue a leaf with a new key.

        Args:
            common_name: 1 to 64 bytes.
            dns: names for the subject alternative name; A-labels.
            uris: such as "spiffe://…".
            ips: address literals.
            server: good for serverAuth.
            client: good for clientAuth.
            days: from now on; below 0 gives one that has expired already.
            key: "ec" is P-256, "rsa" has 2048 bits.

        Raises:
            BadName: the common name is empty or too long.
        """
        own: PrivateKey
        if key == "ec":
            own = ec.generate_private_key(ec.SECP256R1())
        else:
            own = rsa.generate_private_key(65537, 2048)
        cert_pem = self.sign(
            own,
            common_name,
            dns=dns,
            uris=uris,
            ips=ips,
            server=server,
            client=client,
            days=days,
        )
        return Pair(cert_pem, _key_pem(own))

    def sign(
        self,
        own: PrivateKey,
        common_name: str,
        *,
        dns: Sequence[str] = (),
        uris: Sequence[str] = (),
        ips: Sequence[str] = (),
        server: bool = False,
        client: bool = False,
        days: float = 365,
    ) -> bytes:
        """Issue a leaf for a key that is there already; gives its PEM with the chain."""
        builder = _builder(_subject(common_name), own, days)
        builder = builder.issuer_name(self.certificate.subject)
        for extension, critical in leaf_extensions(own, dns, uris, ips, server, client):
            builder = builder.add_extension(extension, critical)
        builder = builder.add_extension(self._authority_key_id(), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM) + self.chain_pem

    def _authority_key_id(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())


def self_signed(
    common_name: str,
    *,
    dns: Sequence[str],
    ips: Sequence[str] = (),
    days: float,
    key: PrivateKey | None = None,
) -> Pair:
    """A server certificate that only those who were given it can trust.

    Args:
        key: an earlier key to keep, so that pins by key outlive a renewal.
    """
    own = key if key is not None else ec.generate_private_key(ec.SECP256R1())
    subject = _subject(common_name)
    builder = _builder(subject, own, days).issuer_name(subject)
    for extension, critical in leaf_extensions(own, dns, (), ips, True, False):
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(own, hashes.SHA256())
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(own))


def leaf_extensions(
    own: PrivateKey,
    dns: Sequence[str],
    uris: Sequence[str],
    ips: Sequence[str],
    server: bool,
    client: bool,
) -> list[tuple[x509.ExtensionType, bool]]:
    """What a leaf carries: (extension, critical) each."""
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
    names += [x509.UniformResourceIdentifier(uri) for uri in uris]
    names += [x509.IPAddress(ip_address(literal)) for literal in ips]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(ca=False), True),
        (x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False),
    ]
    if usages:
        found.append((x509.ExtendedKeyUsage(usages), False))
    if names:
        found.append((x509.SubjectAlternativeName(names), False))
    return found


def _subject(common_name: str) -> x509.Name:
    length = len(common_name.encode())
    if not 1 <= length <= COMMON_NAME_BYTES:
        raise BadName("common name", f"has {length} bytes, 1 to {COMMON_NAME_BYTES} are allowed")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, own: PrivateKey, days: float) -> x509.CertificateBuilder:
    """Everything of a certificate but its issuer and extensions."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    ends = now + datetime.timedelta(days=days)
    begins = min(now, ends) - _BACKDATE
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _ca_builder(subject: x509.Name, own: PrivateKey, days: float) -> x509.CertificateBuilder:
    return (
        _builder(subject, own, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
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


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read(path: Path | str, parse: Callable[[bytes], _T]) -> _T:
    try:
        return parse(Path(path).read_bytes())
    except OSError as error:
        raise BadKeyPair(str(path), error.strerror or "cannot be read") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKeyPair(str(path), "is not an unencrypted PEM file of its kind") from error
