"""Whom a verified certificate names, and which certificates are too odd to name anyone.

1. OpenSSL verifies the chain: issuer, times, purpose, signatures, depth.
2. `judge_leaf` and `judge_issuer` look at its certificates, inside the handshake, so that
   a client whose certificate is odd (S10) or too expensive (S15) gets an alert.
3. `recheck`, after the handshake, makes sure that all this has happened.

What a certificate says is read once and remembered by its bytes.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Hashable, Sequence
from ipaddress import ip_address
from typing import Generic, TypeVar

import service_identity
from attrs import evolve
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)

from tlsgate.core.access import Identity
from tlsgate.core.claims import CLAIMS_OID, Claims, decode
from tlsgate.core.routing import CertRule
from tlsgate.errors import (
    BadBytes,
    BadCertificate,
    HandshakeFailed,
    NoCertificate,
    TargetUntrusted,
)
from tlsgate.tls import binding

#: RFC 5280, ub-common-name, counted in bytes.
_COMMON_NAME_BYTES = 64
#: RFC 5280 section 4.1.2.2: serial numbers have at most 20 octets.
_SERIAL_BITS = 160
#: No certificate of a person or a program comes near these.
_LEAF_BYTES = 16 * 1024
_NAMES = 64
#: All certificates that a client may send, its own and those that lead to the anchor or
#: nowhere (S15).
_CERTIFICATES = 8
_RSA_BITS = range(2048, 4096 + 1)
#: OpenSSL's NIDs: rsaEncryption, rsassaPss; the same, EC, Ed25519 and Ed448 (obj_mac.h).
_RSA_KINDS = frozenset((6, 912))
_KINDS = _RSA_KINDS | {408, 1087, 1088}

#: What cryptography raises for bytes that are not a certificate.
_MALFORMED = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

_CLAIMS = x509.ObjectIdentifier(CLAIMS_OID)

#: How many certificates are remembered, at the least.
_REMEMBERED = 2048


_T = TypeVar("_T")


class _Odd(Exception):
    """What is wrong with a certificate, as a sentence."""


class _Recent(Generic[_T]):
    """A map that keeps at least the *size* entries that were used last, and at most twice that.

    Two generations: what is used moves to the young one; when that is full, the
    old one is dropped. A look-up costs one dict access most of the time.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: dict[Hashable, _T] = {}
        self._old: dict[Hashable, _T] = {}

    def get(self, key: Hashable) -> _T | None:
        """The value of *key*, or None."""
        if (value := self._young.get(key)) is not None:
            return value
        if (value := self._old.get(key)) is not None:
            self.put(key, value)
        return value

    def put(self, key: Hashable, value: _T) -> None:
        """Remember *value*."""
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[key] = value


#: By DER: whom a certificate names, or why it is refused.
_known: _Recent[Identity | str] = _Recent(_REMEMBERED)

#: By an identity's place in memory and its anchor's DER: that very identity, and the same
#: with the anchor. The first is kept, or another could come to stand in its place.
_anchored: _Recent[tuple[Identity, Identity]] = _Recent(_REMEMBERED)


def judge_leaf(der: bytes) -> Identity | str:
    """Whom a client's certificate names, whose chain OpenSSL finds good.

    Gives the identity, or why there is none, as the end of a sentence.
    """
    known = _known.get(der)
    if known is None:
        if len(der) > _LEAF_BYTES:  # nor remembered
            return f"it is longer than {_LEAF_BYTES} bytes"
        try:
            # What cryptography only warns of is decided here, and no peer writes to stderr.
            with warnings.catch_warnings(action="ignore"):
                known = _read(x509.load_der_x509_certificate(der), der)
        except _Odd as odd:
            known = str(odd)
        except _MALFORMED:
            known = "it is malformed"
        _known.put(der, known)
    return known


def judge_issuer(kind: int, bits: int) -> str | None:
    """Refuse a chain in which a key's work is not worth doing for a client (S15).

    A curve that is given by numbers (CVE-2022-0778) has been refused by OpenSSL before.

    Args:
        kind: OpenSSL's number for the kind of key.
        bits: its length.
    """
    if kind in _RSA_KINDS and bits not in _RSA_BITS:
        return f"an issuer in its chain has an RSA key of {bits} bits; 2048 to 4096 are allowed"
    if kind not in _KINDS:
        return "an issuer in its chain has a key of a kind that is not used here"
    return None


def judge_chain(chain: Sequence[x509.Certificate]) -> Identity | str:
    """The same for a chain that was verified without a handshake, leaf first."""
    for one in chain[1:]:
        key = X509.from_cryptography(one).get_pubkey()
        if (why := judge_issuer(key.type(), key.bits())) is not None:
            return why
    found = judge_leaf(chain[0].public_bytes(Encoding.DER))
    if isinstance(found, Identity) and found.claims is not None:
        return _with_anchor(found, chain[-1].public_bytes(Encoding.DER))
    return found


def identity_of(connection: SSL.Connection) -> Identity | None:
    """Who the client of a finished handshake is, as verified in this very handshake.

    None when it has shown no certificate, or was asked for none, or when the
    certificate is that of an earlier session: only our callback leaves an identity.

    Raises:
        BadCertificate: it came with too many others.
    """
    found = binding.finding(connection)
    if not isinstance(found, Identity):
        return None
    if (count := binding.peer_certificates(connection)) > _CERTIFICATES:
        raise BadCertificate(f"{count} certificates came, {_CERTIFICATES} are allowed")
    if found.claims is None:  # of another CA, and nobody asks for its anchor
        return found
    if (anchor := binding.anchor_der(connection)) is None:
        raise BadCertificate("it was not verified")
    return _with_anchor(found, anchor)


def _with_anchor(identity: Identity, anchor_der: bytes) -> Identity:
    """*identity* with the CA that it leads to in this connection; one leaf may lead to two."""
    key = id(identity), anchor_der
    known = _anchored.get(key)
    if known is None or known[0] is not identity:
        anchor = hashlib.sha256(anchor_der).digest()
        known = identity, evolve(identity, anchor=anchor)
        _anchored.put(key, known)
    return known[1]


def recheck(
    connection: SSL.Connection,
    *,
    rule: CertRule,
    token: bytes | None,
    server_name: str | None,
    route: str,
) -> Identity | None:
    """Make sure that a finished handshake is the one that was decided on (F1-F3, S06).

    Args:
        connection: the server's side.
        rule: what the chosen route demands.
        token: the token that had to be confirmed.
        server_name: from our own reading of the hello, normalised.
        route: its name, for messages.

    Returns:
        The client's identity; None without a certificate, or where none is asked for.

    Raises:
        NoCertificate: the rule is `required`, and there is no verified certificate.
        BadCertificate: as `identity_of`.
        HandshakeFailed: OpenSSL took part in another handshake than the one we read.
    """
    if binding.resumed(connection):
        raise HandshakeFailed("an earlier session was resumed")
    if connection.get_alpn_proto_negotiated() != (token or b""):
        raise HandshakeFailed("another protocol was confirmed than the one that was chosen")
    asked = connection.get_servername()
    heard = None if asked is None else asked.decode("latin-1").lower().removesuffix(".")
    if heard != server_name:
        raise HandshakeFailed("the name in the handshake is not the one that was routed by")
    if rule is CertRule.NONE:
        return None
    identity = identity_of(connection)
    if identity is None and rule is CertRule.REQUIRED:
        raise NoCertificate(route)
    if identity is not None and binding.verify_result(connection) > 0:
        raise BadCertificate("it was not verified")
    return identity


def check_server(connection: SSL.Connection, name: str, *, target: str | None = None) -> None:
    """Make sure that the server we dialled is *name*; its chain has been verified before.

    Args:
        connection: the client's side, after the handshake and before the first byte.
        name: a host name or an address literal.
        target: how messages call the server; None: by its name.

    Raises:
        TargetUntrusted: its certificate is for other names, or has none.
    """
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if certificate is None:
        raise TargetUntrusted(target or name, "it shows no certificate")
    try:
        if _is_address(name):
            verify_certificate_ip_address(certificate, name)
        else:
            verify_certificate_hostname(certificate, name)
    except service_identity.VerificationError as error:
        raise TargetUntrusted(target or name, f"its certificate is not for {name}") from error
    except (service_identity.CertificateError, ValueError) as error:
        raise TargetUntrusted(target or name, "its certificate names no server") from error


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _read(certificate: x509.Certificate, der: bytes) -> Identity:
    """What a client's certificate says.

    Raises:
        _Odd: it says it in a way that two readers could understand differently.
        ValueError: or one of cryptography's own: it is not DER.
    """
    serial = certificate.serial_number
    if serial <= 0 or serial.bit_length() > _SERIAL_BITS:
        raise _Odd("its serial number is not positive or longer than 20 bytes")
    _check_key(certificate)
    extensions = certificate.extensions
    if len(extensions) and certificate.version is not x509.Version.v3:
        raise _Odd("it has extensions and is not of version 3")
    dns: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    claims: Claims | None = None
    for extension in extensions:
        match extension.value:
            case x509.BasicConstraints(ca=True):
                raise _Odd("it is a certificate authority's own")
            case x509.SubjectAlternativeName() as names:
                if len(names) > _NAMES:
                    raise _Odd(f"it has more than {_NAMES} names")
                dns = tuple(names.get_values_for_type(x509.DNSName))
                uris = tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
            case x509.UnrecognizedExtension(oid=oid, value=value) if oid == _CLAIMS:
                claims = _claims(value)
    for name in (*dns, *uris):
        if not name or not all("!" <= letter <= "~" for letter in name):
            raise _Odd("a name in it is empty or has bytes that no name has")
    common_names = tuple(_common_names(certificate))
    if claims is not None and common_names != (claims.name,):
        raise _Odd("its common name is not the name in the cluster's extension")
    return Identity(
        common_names=common_names,
        uris=uris,
        dns_names=dns,
        serial=serial,
        not_after=certificate.not_valid_after_utc.timestamp(),
        claims=claims,
        fingerprint="" if claims is None else hashlib.sha256(der).hexdigest(),
    )


def _claims(der: bytes) -> Claims:
    try:
        return decode(der)
    except BadBytes as error:
        raise _Odd(f"the cluster's extension in it cannot be taken: {error.why}") from error


def _common_names(certificate: x509.Certificate) -> list[str]:
    found = []
    for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        text = attribute.value
        # isprintable is False for NUL, line ends, escapes and bidirectional overrides.
        if not isinstance(text, str) or not text or not text.isprintable():
            raise _Odd("its common name is empty or has characters that cannot be printed")
        if len(text.encode()) > _COMMON_NAME_BYTES:
            raise _Odd(f"its common name is longer than {_COMMON_NAME_BYTES} bytes")
        found.append(text)
    return found


def _check_key(certificate: x509.Certificate) -> None:
    match certificate.public_key():
        case rsa.RSAPublicKey(key_size=bits):
            if bits not in _RSA_BITS:
                raise _Odd(f"its RSA key has {bits} bits; 2048 to 4096 are allowed")
        case ec.EllipticCurvePublicKey() | ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            pass
        case _:
            raise _Odd("its key is of a kind that is not used here")
