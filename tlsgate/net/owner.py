"""The owner of a socket that no Twisted transport has: one we dialled, or half of a pair."""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

#: struct linger {l_onoff=1, l_linger=0}: close() resets (socket(7)).
_RESET: Final = b"\x01\0\0\0\0\0\0\0"


class Owned:
    """What a `Lease` expects of an owner, and nothing else.

    Attributes:
        protocol: hears `connectionLost` when the socket is closed; may be None.
    """

    __slots__ = ("_host", "_peer", "_socket", "protocol")

    def __init__(
        self, sock: socket.socket, peer: IAddress | None = None, host: IAddress | None = None
    ) -> None:
        self._socket = sock
        self._peer = peer
        self._host = host
        self.protocol: Any = None

    def getHandle(self) -> socket.socket:
        """The socket."""
        return self._socket

    def getPeer(self) -> IAddress:
        """Who is at the other side."""
        return self._peer or UNIXAddress(None)

    def getHost(self) -> IAddress:
        """Our own address; asked of the socket when nobody has said it."""
        if self._host is None:
            self._host = _address_of(self._socket.getsockname())
        return self._host

    def pauseProducing(self) -> None:
        """Nothing reads the socket but its borrower."""

    def resumeProducing(self) -> None:
        """Nothing reads the socket but its borrower."""

    def connectionLost(self, reason: Failure) -> None:
        """Close the socket; with a reset after an abort."""
        if reason.check(ConnectionAborted):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.close()
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(reason)


def _address_of(name: Any) -> IAddress:
    """What `socket.getsockname` gave, as Twisted has it."""
    if not isinstance(name, tuple):
        return UNIXAddress(name or None)
    return (IPv6Address if len(name) == 4 else IPv4Address)("TCP", *name[:2])
