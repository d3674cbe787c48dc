"""One TLS handshake on a non-blocking socket, from either side.

1. `Handshake.step` is called whenever the socket is ready, until it is done.
2. Then the facts are asked for: the negotiated token, the peer's identity.
3. `session` hands the connection to the relay, or `say` ends it with some last words.

What goes wrong leaves as one of our errors, with the alert written already.
"""

from __future__ import annotations

import contextlib
import socket
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from OpenSSL import SSL

from tlsgate.core.access import Identity
from tlsgate.core.routing import CertRule
from tlsgate.errors import TargetRefused
from tlsgate.tls import binding, peer, reasons, verify
from tlsgate.tls.fast import AGAIN, BLOCKED, HAS_BINDING, Session, open_session

Context = SSL.Context

DONE: Final = 1  #: `Handshake.step`: the handshake is complete


class Handshake:
    """The TLS object of one connection while it is made.

    Attributes:
        token: what the ALPN callback confirms (`tls.select`); None confirms none.
    """

    __slots__ = ("_connection", "_label", "_serving", "token")

    def __init__(
        self, connection: SSL.Connection, token: bytes | None, label: str, *, serving: bool
    ) -> None:
        self._connection = connection
        self._label = label
        self._serving = serving
        self.token = token

    @classmethod
    def accept(
        cls, context: Context, sock: socket.socket, token: bytes | None, route: str
    ) -> Handshake:
        """Be the server of *route*, with a finished context of its policy."""
        connection = SSL.Connection(context, sock)
        made = cls(connection, token, route, serving=True)
        connection.set_app_data(made)
        connection.set_accept_state()
        return made

    @classmethod
    def dial(cls, context: Context, sock: socket.socket, name: str, target: str) -> Handshake:
        """Be the client of *name* at *target*; `check_server` must follow."""
        connection = SSL.Connection(context, sock)
        if not _is_address(name):
            connection.set_tlsext_host_name(name.encode("ascii"))
        connection.set_connect_state()
        return cls(connection, None, target, serving=False)

    def step(self) -> int:
        """Go on; gives DONE, or AGAIN or BLOCKED to be called again.

        Raises:
            GateError: it failed: of a client HandshakeFailed, NoCertificate or
                BadCertificate, of a target TargetRefused or TargetUntrusted.
        """
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return AGAIN
        except SSL.WantWriteError:
            return BLOCKED
        except SSL.Error as error:
            self._connection.set_app_data(None)
            if self._serving:
                raise reasons.explain(error, self._connection, route=self._label) from error
            raise reasons.explain_target(error, self._label, self._connection) from error
        # The callback has had its answer; the cycle would keep every TLS object for the
        # collector, at three times the memory (S57).
        self._connection.set_app_data(None)
        return DONE

    @property
    def certificate(self) -> object:
        """The peer's certificate as pyOpenSSL has it, or None."""
        return self._connection.get_peer_certificate()

    @property
    def der(self) -> bytes:
        """The peer's certificate; b"" without one."""
        return binding.leaf_der(self._connection)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What the server has shown, its own certificate first; nobody has verified it."""
        return peer.presented(self._connection)

    @property
    def negotiated(self) -> bytes:
        """The token that both sides agreed on; b"" without one."""
        return self._connection.get_alpn_proto_negotiated()

    def recheck(self, rule: CertRule, server_name: str | None) -> Identity | None:
        """See `verify.recheck`: what was negotiated has to be what was decided.

        Raises:
            GateError: it is not; or the certificate is missing, or odd (S10).
        """
        return verify.recheck(
            self._connection,
            rule=rule,
            token=self.token,
            server_name=server_name,
            route=self._label,
        )

    def check_server(self, name: str) -> None:
        """Hold the server's certificate against *name*.

        Raises:
            TargetUntrusted: it does not match.
        """
        verify.check_server(self._connection, name, target=self._label)

    def greet(self, words: bytes) -> None:
        """Write the first bytes of a connection, once the handshake is done.

        Raises:
            TargetRefused: the socket, which is empty, does not take them.
        """
        if not words:
            return
        try:
            sent = self._connection.send(words)
        except SSL.Error as error:
            raise reasons.explain_target(error, self._label, self._connection) from error
        if sent != len(words):
            raise TargetRefused(self._label, f"it took {sent} of the first {len(words)} bytes")

    def say(self, words: bytes) -> None:
        """Write some last words and close_notify, as far as the socket takes them."""
        with contextlib.suppress(SSL.Error):
            if words:
                self._connection.send(words)
            self._connection.shutdown()

    def session(self, binding: bool = HAS_BINDING) -> Session:
        """Hand the connection over; the handshake must be done."""
        return open_session(self._connection, binding)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
