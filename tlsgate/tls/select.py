"""The ALPN callback: it confirms the token that was chosen, and decides nothing.

The choice is made from the peeked hello (`core.routing`), before there is a TLS
object; the connection carries it as its app data. So the negotiated protocol and the
dispatched one cannot differ (S02).
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from OpenSSL import SSL


@frozen(slots=True)
class Confirm:
    """The least that a connection's app data must be; any object with `token` will do."""

    token: bytes | None  #: None: no protocol is confirmed, the handshake goes on without ALPN


class NoCommonProtocol(SSL.Error):
    """The client does not offer what was chosen for it (RFC 7301 section 3.2, alert 120).

    An SSL.Error because Twisted lets nothing else out of a handshake in good order.
    """


def confirm(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """Give the token of `connection.get_app_data()`, or the sentinel for "no ALPN".

    Raises:
        NoCommonProtocol: the token is not among *offered*, or nothing was chosen.
    """
    try:
        token: bytes | None = connection.get_app_data().token
    except AttributeError:  # app data was forgotten: a bug of ours, and closed
        raise NoCommonProtocol([("tlsgate", "alpn", "no application protocol")]) from None
    if token is None:
        return SSL.NO_OVERLAPPING_PROTOCOLS
    if token in offered:
        return token
    raise NoCommonProtocol([("tlsgate", "alpn", "no application protocol")])
