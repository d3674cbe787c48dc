"""Why a TLS connection failed, as a sentence with the command that heals.

The standard library's `ssl` has OpenSSL's words. As in `tls.reasons`, an alert is told by
what stands after " alert "; that module is the daemon's, with a library that takes its time
to be imported.
"""

from __future__ import annotations

import socket
import ssl
import time

from tlsgate.cli.faults import ClockWrong, GatewayRefused
from tlsgate.errors import GateError, Unreachable, Untrusted

#: OpenSSL's words for an alert (RFC 8446 section 6) to its number.
NUMBERS = {
    "handshake failure": 40,
    "bad certificate": 42,
    "certificate revoked": 44,
    "certificate expired": 45,
    "certificate unknown": 46,
    "unknown ca": 48,
    "access denied": 49,
    "protocol version": 70,
    "internal error": 80,
    "unrecognized name": 112,
    "certificate required": 116,
    "no application protocol": 120,
}

_LOGIN = "log in again with `tgsh login`"
#: What an alert of a gateway means for somebody at a terminal.
MEANINGS = {
    40: f"it wants a certificate that is still good; {_LOGIN}",
    42: f"it cannot use your certificate; {_LOGIN}",
    44: f"your certificate was revoked; {_LOGIN}",
    45: f"your certificate has expired, or the clocks differ; {_LOGIN}",
    46: f"it does not know your certificate; {_LOGIN}",
    48: f"your certificate is of another cluster, or of before a rotation; {_LOGIN}",
    49: "your roles do not allow it; ask an operator, or see `tgctl explain --user`",
    70: "it takes TLS 1.2 or later only",
    80: "it is busy or has a fault of its own; try again in a moment",
    112: "it does not serve that name; name its public address with --proxy",
    116: "it wants a certificate; log in with `tgsh login`",
    120: "it does not serve this protocol; is --proxy the address of a tlsgate gateway, "
    "with no balancer between that ends TLS?",
}

#: X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL.
_NOT_YET, _EXPIRED = 9, 10
#: X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_OTHER_NAME, _OTHER_ADDRESS = 62, 64


def alert_of(error: ssl.SSLError) -> int | None:
    """The number of the alert that ended a handshake; None where none came."""
    words = str(error).partition("] ")[2].partition(" (_ssl")[0]
    said = words.partition(" alert ")[2] or words.partition("tlsv1 ")[2]
    return NUMBERS.get(said)


def translate(error: ssl.SSLError, gateway: str, now: float | None = None) -> GateError:
    """Our error for what `ssl` raised in a connection to *gateway*.

    Args:
        error: what it raised.
        gateway: the address that was dialled.
        now: seconds since the epoch; the machine's clock unless given.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _not_verified(error, gateway, time.time() if now is None else now)
    number = alert_of(error)
    if number is not None:
        return GatewayRefused(gateway, number, MEANINGS[number])
    # Python up to 3.11.3 has no class of its own for it.
    eof = getattr(error, "reason", None) == "UNEXPECTED_EOF_WHILE_READING"
    if eof or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Unreachable(gateway, "it hung up without a word")
    if "WRONG_VERSION_NUMBER" in str(error) or "HTTP_REQUEST" in str(error):
        return Unreachable(gateway, "it does not speak TLS there; is it the right port?")
    words = str(error).partition("] ")[2].partition(" (_ssl")[0]
    return Unreachable(gateway, words or "the handshake failed")


def explained(error: OSError, gateway: str, seconds: float) -> GateError:
    """Our error for whatever ended a connection to *gateway*.

    Args:
        error: what was raised; `ssl.SSLError` is one as well.
        gateway: the address that was dialled.
        seconds: how long a word was waited for.
    """
    match error:
        case ssl.SSLError() | ConnectionResetError() | BrokenPipeError():
            ended = error if isinstance(error, ssl.SSLError) else ssl.SSLEOFError(str(error))
            return translate(ended, gateway)
        case TimeoutError():
            return Unreachable(gateway, f"it said nothing for {seconds:g} s")
        case socket.gaierror():
            return Unreachable(gateway, "no address is known for that name")
        case ConnectionRefusedError():
            return Unreachable(gateway, "nobody listens there; is the port right?")
        case _:
            return Unreachable(gateway, str(error) or type(error).__name__)


def _not_verified(error: ssl.SSLCertVerificationError, gateway: str, now: float) -> GateError:
    clock = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if error.verify_code == _NOT_YET:
        return ClockWrong(f"at {clock} the certificate of {gateway} is not valid yet")
    if error.verify_code == _EXPIRED:
        return ClockWrong(f"at {clock} the certificate of {gateway} is not valid any more")
    if error.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        asked = str(error.verify_message).partition("'")[2].partition("'")[0]
        than = f" than {asked}" if asked else ""
        return Untrusted(
            gateway,
            f"its certificate names another host{than}; is --proxy right, and has the gateway a "
            "certificate for that name?",
        )
    return Untrusted(
        gateway,
        f"{error.verify_message}; where its certificate is not a public one, log in with the "
        "--ca-pin that `tgctl status` shows",
    )
