"""OpenSSL's reasons in our words, and alerts by their numbers.

No other module looks at what OpenSSL says. Its texts change with its versions (3.x says
"sslv3 alert bad certificate", 4.x "tls alert bad certificate"), so alerts are told by what
stands after " alert "; a text that is not in the table is quoted.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from OpenSSL import SSL

from tlsgate.errors import (
    BadCertificate,
    GateError,
    HandshakeFailed,
    NoCertificate,
    NoRoute,
    TargetRefused,
    TargetUntrusted,
)
from tlsgate.tls import binding
from tlsgate.tls.select import NoCommonProtocol


class Alert(enum.IntEnum):
    """Alert numbers, RFC 8446 section 6 and RFC 7301."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    HANDSHAKE_FAILURE = 40
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70
    INTERNAL_ERROR = 80
    USER_CANCELED = 90
    NO_RENEGOTIATION = 100
    UNRECOGNIZED_NAME = 112
    CERTIFICATE_REQUIRED = 116
    NO_APPLICATION_PROTOCOL = 120


#: The same as plain values: number to name, "unknown_ca".
ALERTS: Final[Mapping[int, str]] = {alert.value: alert.name.lower() for alert in Alert}


def alert_record(number: int) -> bytes:
    """A fatal alert in the clear, for a refusal before there is a TLS object.

    RFC 8446 section 5.1: type 21, the legacy version, two bytes.
    """
    return bytes((21, 3, 3, 0, 2, 2, number))


def alert_for(error: GateError) -> int:
    """The alert that says *error* to a client whose hello has been read."""
    if isinstance(error, NoRoute):
        return Alert.UNRECOGNIZED_NAME if error.name_unknown else Alert.NO_APPLICATION_PROTOCOL
    return _ALERT_FOR.get(error.reason, Alert.HANDSHAKE_FAILURE)


_ALERT_FOR: Final[Mapping[str, int]] = {
    "bad_hello": Alert.DECODE_ERROR,
    "bad_name": Alert.UNRECOGNIZED_NAME,
    "denied": Alert.ACCESS_DENIED,
    # Not the client's mistake: an alert after which clients try again.
    "limit": Alert.INTERNAL_ERROR,
    "draining": Alert.INTERNAL_ERROR,
    "deadline": Alert.USER_CANCELED,
    "bad_key_pair": Alert.INTERNAL_ERROR,
}


def explain(
    error: SSL.Error, connection: SSL.Connection | None = None, *, route: str = ""
) -> GateError:
    """Say why the handshake of a client failed.

    Args:
        error: what `do_handshake`, or a read in its stead, has raised.
        connection: the server's side; without it a refused certificate has no reason.
        route: the name of the chosen route, for messages.
    """
    if isinstance(error, NoCommonProtocol):
        return HandshakeFailed("the client does not offer the protocol that was chosen")
    reason = _reason(error)
    if reason == _NO_CERTIFICATE:
        return NoCertificate(route)
    if reason == _NOT_VERIFIED:
        return BadCertificate(_why_not_verified(connection))
    return HandshakeFailed(_sentence(error, reason, "client", "gateway"))


def explain_target(
    error: SSL.Error, target: str, connection: SSL.Connection | None = None
) -> GateError:
    """The same for a server that we dialled.

    Args:
        target: its endpoint, as written.
        connection: the client's side.
    """
    reason = _reason(error)
    if reason == _NOT_VERIFIED:
        return TargetUntrusted(target, _why_not_verified(connection))
    return TargetRefused(target, _sentence(error, reason, "target", "gateway"))


def _reason(error: SSL.Error) -> str:
    """The reason in pyOpenSSL's list of (library, function, reason): the first of TLS itself."""
    entries = error.args[0] if error.args else None
    if not isinstance(entries, list) or not entries:
        return ""
    of_tls = (entry for entry in entries if entry[0] == "SSL routines")
    return str(next(of_tls, entries[0])[2])


def _sentence(error: SSL.Error, reason: str, peer: str, own: str) -> str:
    if isinstance(error, SSL.ZeroReturnError):
        return f"the {peer} ended it in good order"
    if isinstance(error, SSL.SysCallError):
        return f"the {peer} went away"
    _, is_alert, alert = reason.partition(" alert ")
    if is_alert:
        said = _PEER_SAYS.get(alert)
        return f"the {peer} {said.format(own=own)}" if said else f"the {peer} sent alert {alert!r}"
    ours = _WE_SAY.get(reason)
    if ours is not None:
        return ours.format(peer=peer)
    return f"OpenSSL says {reason!r}" if reason else "OpenSSL gives no reason"


def quoted(error: SSL.Error) -> str:
    """OpenSSL's own words about a file, for an operator."""
    return _reason(error) or "it gives no reason"


def not_good(number: int) -> str:
    """Why a chain does not verify, by its X509_V_ERR *number*, as the end of a sentence."""
    return _NOT_GOOD.get(number) or f"it does not verify (X509_V_ERR {number})"


def _why_not_verified(connection: SSL.Connection | None) -> str:
    if connection is None:
        return "it does not verify"
    if isinstance(found := binding.finding(connection), str):
        return found
    number = binding.verify_result(connection)
    return not_good(number) if number > 0 else "it does not verify"


_NO_CERTIFICATE: Final = "peer did not return a certificate"
_NOT_VERIFIED: Final = "certificate verify failed"

#: What a peer's fatal alert means, by OpenSSL's name for it.
_PEER_SAYS: Final[Mapping[str, str]] = {
    "access denied": "denies access",
    "bad certificate": "finds the {own}'s certificate bad",
    "bad certificate status response": "refuses the {own}'s certificate status",
    "bad record mac": "got bytes that were changed on the way",
    "certificate expired": "says that the {own}'s certificate has expired",
    "certificate required": "demands a client certificate",
    "certificate revoked": "says that the {own}'s certificate is revoked",
    "certificate unknown": "does not accept the {own}'s certificate",
    "decode error": "could not read what the {own} sent",
    "decrypt error": "could not verify a signature or key of the {own}",
    "handshake failure": "finds no parameters that both sides take",
    "illegal parameter": "finds a value of the {own} out of range",
    "inappropriate fallback": "says that the version was lowered on the way",
    "insufficient security": "demands stronger ciphers",
    "internal error": "has an internal error",
    "no application protocol": "speaks none of the protocols that were offered",
    "no certificate": "demands a client certificate",
    "no renegotiation": "does not renegotiate",
    "protocol version": "does not speak TLS 1.2 or 1.3 as the {own} does",
    "record overflow": "got a record that is too long",
    "unexpected message": "got a message at the wrong moment",
    "unknown ca": "does not know the authority of the {own}'s certificate",
    "unrecognized name": "does not know the name that was asked for",
    "unsupported certificate": "does not take the {own}'s certificate for this purpose",
    "unsupported extension": "got an extension that it did not ask for",
    "user canceled": "gave up",
}

#: What OpenSSL itself finds wrong.
_WE_SAY: Final[Mapping[str, str]] = {
    "app data in handshake": "the {peer} sent data before the handshake was done",
    "bad extension": "the {peer}'s hello has a malformed extension",
    "bad key share": "the {peer}'s key share is malformed",
    "bad record type": "the {peer} sent a record of a type that TLS does not have",
    "bad signature": "the {peer}'s signature does not verify: it does not hold the key",
    "ccs received early": "the {peer} sent a message at the wrong moment",
    "data length too long": "the {peer} sent a record that is too long",
    "decryption failed or bad record mac": "the {peer}'s bytes were changed on the way",
    "digest check failed": "the two sides did not see the same handshake",
    "excessive message size": "the {peer} sent too many or too big certificates",
    "http request": "the {peer} speaks plain HTTP, and this port TLS",
    "https proxy request": "the {peer} takes this port for an HTTP proxy",
    "inappropriate fallback": "the {peer} lowered its version though both sides can do better",
    "invalid ccs message": "the {peer} sent a message at the wrong moment",
    "length mismatch": "the {peer} sent a message whose length is wrong",
    "length too short": "the {peer} sent a message that is cut short",
    "no application protocol": "the {peer} speaks none of the protocols that were offered",
    "no protocols available": "no version of TLS is common",
    "no renegotiation": "the {peer} wants to renegotiate, which is refused",
    "no shared cipher": "no cipher suite is common; TLS 1.2 ECDHE with AEAD or TLS 1.3 is needed",
    "no shared group": "no key exchange group is common",
    "no shared groups": "no key exchange group is common",
    "no shared signature algorithms": "no signature algorithm is common",
    "no suitable groups": "no key exchange group is common",
    "no suitable key share": "no key exchange group is common",
    "no suitable signature algorithm": "no signature algorithm is common",
    "packet length too long": "the {peer} sent a record that is too long",
    "record layer failure": "the {peer} sent a record that is malformed",
    "sslv2 client hello": "the {peer} speaks SSL 2",
    "unexpected ccs message": "the {peer} sent a message at the wrong moment",
    "unexpected eof while reading": "the {peer} went away",
    "unexpected message": "the {peer} sent a message at the wrong moment",
    "unknown protocol": "the {peer} does not speak TLS",
    "unsupported protocol": "the {peer} speaks no version of TLS from 1.2 on",
    "version too low": "the {peer} speaks no version of TLS from 1.2 on",
    "wrong certificate type": "the {peer}'s certificate has a key of a kind that is not used here",
    "wrong signature type": "the {peer} signs in a way that was not offered to it",
    "wrong ssl version": "the {peer} speaks no version of TLS from 1.2 on",
    "wrong version number": "the {peer} does not speak TLS, or an old version of it",
}

#: Why a chain does not verify, by X509_V_ERR number (x509_vfy.h; stable since OpenSSL 1.1).
_NOT_GOOD: Final[Mapping[int, str]] = {
    2: "its issuer is not known here",
    6: "the key of its issuer cannot be read",
    7: "its signature does not verify",
    9: "it is not valid yet; is a clock wrong?",
    10: "it has expired",
    13: "its times cannot be read",
    14: "its times cannot be read",
    18: "it is signed by itself and not known here",
    19: "its chain ends in a root that is not known here",
    20: "its issuer is not known here",
    21: "its issuer is not known here",
    22: "its chain is too long",
    23: "it is revoked",
    24: "an issuer in its chain is not a certificate authority, or has no key",
    25: "its chain is longer than an issuer in it allows",
    26: "it is not made for this purpose (extended key usage)",
    27: "its root is not trusted for this",
    28: "it is refused",
    32: "an issuer in its chain may not sign certificates (key usage)",
    34: "it has a critical extension that is not known here",
    37: "an issuer in its chain is not a certificate authority",
    41: "an extension in it is malformed",
    47: "a name in it is outside of what its issuer may name",
    48: "a name in it is excluded by its issuer",
    66: "its key is too short; RSA needs 2048 bits",
    67: "the key of an issuer in its chain is too short; RSA needs 2048 bits",
    68: "it or an issuer in its chain is signed with SHA-1 or MD5",
    79: "an issuer in its chain is not a proper certificate authority",
    94: "its key is on a curve that is given by numbers instead of a name",
}
