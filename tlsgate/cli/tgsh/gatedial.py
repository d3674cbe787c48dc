"""TLS to a gateway with a certificate of the user's, looked at before a byte is sent.

`dial` takes one of the cluster's own protocols, where the gateway shows a certificate of the
cluster; `dial_web` takes HTTP by an application's name, where it shows the web certificate.

ssh waits for this on every connection, so it imports the standard library and little else.
"""

from __future__ import annotations

import ssl

from tlsgate.cli.gatecert import not_a_gateway
from tlsgate.cli.outward import connect
from tlsgate.cli.tgsh.flat import Place, bad, text_of
from tlsgate.cli.tgsh.tlspipe import TlsPipe

TYPE_CHECKING = False  # as typing has it, which takes 5 ms to be imported
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

#: From the first packet to the gateway's answer.
DIAL_SECONDS = 20.0


def dial(
    place: Place,
    tokens: Sequence[str],
    certificate: str | None = None,
    key: str | None = None,
) -> TlsPipe:
    """TLS to the gateway at *place*.

    Args:
        place: the login.
        tokens: one protocol, framed (`-ping`) first; a gateway without frames takes the other.
        certificate: the file of the certificate to show; None: the login's.
        key: of its key.

    Raises:
        OSError: the connection fails, or the handshake.
        GateError: it is not a gateway of the cluster.
    """
    context = _context(place, certificate, key)
    context.check_hostname = False  # a cluster's certificate names roles too: `not_a_gateway`
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(place.authorities)
    except (OSError, ssl.SSLError) as e:
        _unusable(place, e)
    context.set_alpn_protocols([*tokens])
    name = place.host if _is_name(place.host) else ""
    pipe = _shaken(place, context, name)
    try:
        token = pipe.tls.selected_alpn_protocol()
        if token is None or token not in tokens:
            _unreachable(place, f"it does not speak {tokens[-1]}")
        told = pipe.tls.getpeercert() or {}
        shown = pipe.tls.getpeercert(binary_form=True) or b""
        fault = not_a_gateway(shown, told, name, place.cluster)
        if fault is not None:
            from tlsgate.errors import Untrusted

            raise Untrusted(place.where, fault)
        if token.endswith("-ping"):
            pipe.framed()
    except BaseException:
        pipe.sock.close()
        raise
    return pipe


def dial_web(place: Place, name: str, certificate: str, key: str) -> TlsPipe:
    """TLS to the application that the gateway at *place* serves as *name*, for HTTP/1.1.

    Raises:
        OSError: the connection fails, or the handshake: so it does where the web certificate
            is not by whom the login believed, or does not name *name*.
    """
    context = _context(place, certificate, key)
    trust_web(context, place)
    context.set_alpn_protocols(["http/1.1"])
    return _shaken(place, context, name)


def trust_web(context: ssl.SSLContext, place: Place) -> None:
    """Have *context* believe whom the login believed about the web certificate."""
    kept = (text_of(place.web_authorities) or "").strip()
    if kept in ("", "system"):
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=kept)
        # A gateway that signed its own web certificate shows no authority but that one.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN


def _context(place: Place, certificate: str | None, key: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python up to 3.11.3 sets it: a connection that was cut would look like one that ended.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    try:
        context.load_cert_chain(certificate or place.certificate, key or place.key, _no_password)
    except (OSError, ssl.SSLError) as e:
        _unusable(place, e)
    return context


def _unusable(place: Place, error: OSError) -> None:
    known = error.strerror and not isinstance(error, ssl.SSLError)
    why = error.strerror if known else "it is no PEM"
    bad(f"the files of the login cannot be used ({why}); log in again with `{place.login}`")


def _shaken(place: Place, context: ssl.SSLContext, name: str) -> TlsPipe:
    sock = connect(place.host, place.port, DIAL_SECONDS)
    try:
        pipe = TlsPipe(sock, context, name or None)
        pipe.shake()
    except BaseException:
        sock.close()
        raise
    return pipe


def _is_name(host: str) -> bool:
    return ":" not in host and not host.replace(".", "").isdecimal()


def _unreachable(place: Place, why: str) -> NoReturn:
    from tlsgate.errors import Unreachable

    raise Unreachable(place.where, why)


def _no_password() -> str:
    """Refuse to ask in the middle of a connection: keys of ours have no password."""
    raise ssl.SSLError("the key has a password")
