"""What a handshake would say to a client certificate, without a handshake.

For `tgctl explain`: whoever asks has the certificate and not its key. OpenSSL verifies the
chain with the trust of a server context; what it does only inside a handshake (purpose,
depth, security level) is done here in its place, and a test holds the two together.
"""

from __future__ import annotations

import time

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL.crypto import X509, X509Store, X509StoreContext, X509StoreContextError, X509StoreFlags

from tlsgate.core.access import Identity
from tlsgate.errors import BadCertificate
from tlsgate.tls import reasons, verify
from tlsgate.tls.keypair import read_certificates
from tlsgate.tls.reasons import Alert

#: X509_V_ERR numbers to alerts, as OpenSSL's ssl/statem/statem_lib.c maps them; others are 46.
_ALERTS = {
    2: Alert.UNKNOWN_CA,
    7: Alert.DECRYPT_ERROR,
    9: Alert.BAD_CERTIFICATE,
    10: Alert.CERTIFICATE_EXPIRED,
    18: Alert.UNKNOWN_CA,
    19: Alert.UNKNOWN_CA,
    20: Alert.UNKNOWN_CA,
    21: Alert.UNKNOWN_CA,
    22: Alert.UNKNOWN_CA,
    24: Alert.UNKNOWN_CA,
    25: Alert.UNKNOWN_CA,
    26: Alert.UNSUPPORTED_CERTIFICATE,
    28: Alert.BAD_CERTIFICATE,
    68: Alert.BAD_CERTIFICATE,
    79: Alert.UNKNOWN_CA,
}
_PURPOSE = 26
_TOO_LONG = 22
_WEAK = 68

#: Certificates between a leaf and its anchor; the depth of `contexts`.
_DEPTH = 4


def offered(cert_pem: str, ca_files: tuple[str, ...]) -> Identity | tuple[str, int]:
    """Whom a certificate names, or why it is refused and with which alert.

    Args:
        cert_pem: the client's certificate, then its intermediates.
        ca_files: whom the route trusts.

    Raises:
        BadCertificate: *cert_pem* holds no certificate.
        BadKeyPair: a CA file cannot be used.
    """
    leaf, *others = _parse(cert_pem)
    try:
        chain = _verified(leaf, others, ca_files)
    except X509StoreContextError as error:
        number = int(error.errors[0])
        return _refused(number)
    if len(chain) - 2 > _DEPTH:
        return _refused(_TOO_LONG)
    if any(is_weak(one) for one in chain[:-1]):
        return _refused(_WEAK)
    if not is_for_clients(leaf):
        return _refused(_PURPOSE)
    found = verify.judge_chain(chain)
    return (found, Alert.BAD_CERTIFICATE) if isinstance(found, str) else found


def _parse(cert_pem: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(cert_pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate("it is no PEM certificate") from error


def _verified(
    leaf: x509.Certificate, others: list[x509.Certificate], ca_files: tuple[str, ...]
) -> list[x509.Certificate]:
    """The chain from *leaf* to its anchor."""
    store = X509Store()
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    now = time.time()
    for file in ca_files:
        for anchor in read_certificates(file):
            if anchor.not_valid_after_utc.timestamp() > now:
                store.add_cert(X509.from_cryptography(anchor))
    context = X509StoreContext(
        store, X509.from_cryptography(leaf), [X509.from_cryptography(one) for one in others]
    )
    return [one.to_cryptography() for one in context.get_verified_chain()]


def _refused(number: int) -> tuple[str, int]:
    return reasons.not_good(number), _ALERTS.get(number, Alert.CERTIFICATE_UNKNOWN)


def is_weak(certificate: x509.Certificate) -> bool:
    """Signed in a way that security level 2 does not take."""
    try:
        return isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5)
    except UnsupportedAlgorithm:
        return True


def is_for_clients(leaf: x509.Certificate) -> bool:
    """X509_PURPOSE_SSL_CLIENT of x509_vfy: key usage and extended key usage, where they are."""
    for extension in leaf.extensions:
        match extension.value:
            case x509.ExtendedKeyUsage() as usages:
                if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
                    return False
            case x509.KeyUsage() as usage:
                if not (usage.digital_signature or usage.key_agreement):
                    return False
    return True
