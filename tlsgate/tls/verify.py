"""Whom a verified certificate names, and which certificates are too odd to name anyone."""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from tlsgate.core.access import Identity
from tlsgate.errors import BadCertificate


def judge(digest: bytes, depth: int, certificate: Callable[[], x509.Certificate]) -> str | None:
    """Refuse odd certificates inside the handshake, so that the client gets an alert."""
    return None


def identity_of(connection: SSL.Connection) -> Identity | None:
    """Who the peer of a finished handshake is; None when it has shown no certificate."""
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        return None
    try:
        return _read(certificate)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate("it cannot be read") from error


def _read(certificate: x509.Certificate) -> Identity:
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = tuple(san.get_values_for_type(x509.DNSName))
        uris = tuple(san.get_values_for_type(x509.UniformResourceIdentifier))
    except x509.ExtensionNotFound:
        dns = uris = ()
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Identity(
        common_names=tuple(str(one.value) for one in names),
        uris=uris,
        dns_names=dns,
        serial=certificate.serial_number,
        not_after=certificate.not_valid_after_utc.timestamp(),
    )
