"""Dialling the auth service of a cluster with Twisted: TLS that knows whom it talks to.

1. `ClusterTls` makes the TLS object of one connection, from a context of its own.
2. When the handshake is done, and before a byte of ours is under TLS, it holds what the
   server has shown against what is expected: the ALPN token, the cluster's extension, the
   role, an authority that is known or pinned, and the name of the cluster's auth service.
3. Whoever is somebody else gets nothing: the connection ends with an `Untrusted`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import frozen
from cryptography import x509
from OpenSSL import SSL
from service_identity import VerificationError
from service_identity.cryptography import verify_certificate_hostname
from service_identity.exceptions import CertificateError
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IReactorTime,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.core.claims import Claims
from tlsgate.errors import Unreachable, Untrusted
from tlsgate.tls import peer, reasons
from tlsgate.tls.contexts import member_context
from tlsgate.tls.keypair import LoadedPair

#: The system role of who answers for the cluster.
AUTH: Final = "auth"
#: A handshake that takes longer is none.
HANDSHAKE_SECONDS: Final = 2.0

_WHAT: Final = "the auth service"


@frozen(kw_only=True)
class Expected:
    """Who has to answer.

    Attributes:
        cluster: its name; None: whichever the authority says, at a first join.
        cas: host authorities that are trusted.
        pins: of authorities that are believed where the server shows them.
        anyone: True: believe the authority that the server shows, whichever it is.
    """

    cluster: str | None
    cas: tuple[x509.Certificate, ...] = ()
    pins: tuple[str, ...] = ()
    anyone: bool = False


def check_auth(chain: Sequence[x509.Certificate], expected: Expected, now: float) -> Claims:
    """Make sure that *chain* is that of the cluster's auth service.

    Args:
        chain: as it was shown, leaf first; the handshake has proven the leaf's key.
        now: seconds since the epoch.

    Raises:
        Untrusted: it is anybody else's.
        BadAsk: a pin is none.
    """
    cas = expected.cas
    if expected.pins:
        cas = (peer.pinned(chain, expected.pins),)
    elif expected.anyone:
        cas = tuple(chain[1:])
    claims = peer.check_host(chain, AUTH, expected.cluster, cas, now)
    try:
        # Whatever address leads there, this is the name that only the auth service has.
        verify_certificate_hostname(chain[0], f"{AUTH}.{claims.cluster}")
    except (VerificationError, CertificateError, ValueError) as error:
        raise Untrusted(_WHAT, f"its certificate is not for {AUTH}.{claims.cluster}") from error
    return claims


def why(error: BaseException) -> str | None:
    """OpenSSL's reason for the end of a connection in a sentence; None: it is another error."""
    return f"TLS: {reasons.quoted(error)}" if isinstance(error, SSL.Error) else None


@implementer(IOpenSSLClientConnectionCreator)
class ClusterTls:
    """TLS of connections to an auth service.

    Args:
        token: the ALPN token, which says what is spoken inside.
        expected: who has to answer; asked anew for each connection.
        pair: what is shown; asked anew for each connection.
        server_name: what the hello says, or None.
        clock: for the handshake's deadline.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        token: bytes,
        expected: Callable[[], Expected],
        pair: Callable[[], LoadedPair | None],
        server_name: str | None,
        clock: IReactorTime,
        now: Callable[[], float],
    ) -> None:
        self._token = token
        self._expected = expected
        self._pair = pair
        self._server_name = server_name
        self._clock = clock
        self._now = now

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Make the TLS object of one connection (Twisted calls this)."""
        # A context for each: its callback knows its connection, whatever app data Twisted sets.
        context = member_context(self._token, self._pair())
        deadline = self._clock.callLater(HANDSHAKE_SECONDS, _too_late, tlsProtocol)
        look = _Look(self._token, self._expected(), tlsProtocol, deadline, self._now)
        context.set_info_callback(look.progress)
        connection = SSL.Connection(context, None)
        if self._server_name is not None:
            connection.set_tlsext_host_name(self._server_name.encode("ascii"))
        return connection


@implementer(IOpenSSLClientConnectionCreator)
class Signpost:
    """TLS to ask anybody for the way, and for nothing else: whoever answers is not looked at.

    What is learnt that way must be proven by whom it leads to.

    Args:
        host: for the hello, where it is a name.
    """

    def __init__(self, host: str) -> None:
        self._host = host.strip("[]")

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Make the TLS object of one connection (Twisted calls this)."""
        connection = SSL.Connection(member_context(b"http/1.1"), None)
        if ":" not in self._host and not self._host.replace(".", "").isdigit():
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        return connection


class _Look:
    """The look at one server, once."""

    def __init__(
        self,
        token: bytes,
        expected: Expected,
        tls: Any,
        deadline: IDelayedCall,
        now: Callable[[], float],
    ) -> None:
        self._token = token
        self._expected = expected
        self._tls = tls
        self._deadline = deadline
        self._now = now
        self._done = False

    def progress(self, connection: SSL.Connection, where: int, _: int) -> None:
        """OpenSSL calls this; what it raises would be lost, and the look with it."""
        if self._done or not where & SSL.SSL_CB_HANDSHAKE_DONE:
            return  # in TLS 1.3 the handshake is done again with each ticket
        self._done = True
        try:
            if self._deadline.active():
                self._deadline.cancel()
            if connection.get_alpn_proto_negotiated() != self._token:
                raise Untrusted(_WHAT, f"it does not speak {self._token.decode('ascii')}")
            check_auth(peer.presented(connection), self._expected, self._now())
        except Exception:  # whatever it is, nothing is said to one who was not looked at
            self._tls.failVerification(Failure())


def _too_late(tls: Any) -> None:
    if tls.transport is not None and tls.connected:
        error = Unreachable(_WHAT, f"no handshake within {HANDSHAKE_SECONDS:g} s")
        tls.failVerification(Failure(error))
