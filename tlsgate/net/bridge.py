"""A socket for connections that have none: upgraded streams, transports of plug-ins.

1. Twisted's transport keeps the stream; `Bridge` is its protocol.
2. A socket pair stands in for it: one end is the bridge's, the other is accepted by the
   gateway like any other connection, with the stream's own addresses.
3. Bytes go through in both directions, and each side can slow the other.

So there is one way to peek, one TLS and one relay, whatever a connection came through;
it costs a copy more, on connections that have been through an HTTP upgrade anyway.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet.abstract import FileDescriptor
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import READ, TROUBLE, WRITE, Poller

_CHUNK: Final = 64 * 1024


def has_socket(transport: Any) -> bool:
    """True when the bytes on *transport*'s own socket are the connection's bytes.

    A wrapper may hand out the handle of what it wraps, so only Twisted's own socket
    transports and the ones of this package count.
    """
    if isinstance(transport, FileDescriptor):
        return isinstance(getattr(transport, "socket", None), socket.socket)
    return isinstance(transport, Owned)


class Bridge(Protocol):
    """Carries one stream to and from a socket.

    Args:
        poller: the gateway's.
        protocol: what is to live on the socket, such as a `Dispatcher`.
    """

    def __init__(self, poller: Poller, protocol: Any) -> None:
        self._poller = poller
        self._protocol = protocol
        self._lease: Lease | None = None
        self._output = b""  #: from the stream, not yet taken by the socket
        self._ended = False  #: the stream has ended
        self._slow = False  #: the stream takes no more for now

    def connectionMade(self) -> None:
        """Twisted calls this: the stream is there."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        owner = Owned(ours)
        owner.protocol = _Told(self)
        self._lease = lease = Lease(owner, self._poller)
        lease.on_ready = self._ready
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self._attend()
        stand_in = Owned(theirs, self.transport.getPeer(), self.transport.getHost())  # type: ignore[union-attr]
        stand_in.protocol = self._protocol
        self._protocol.makeConnection(stand_in)

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this: the stream has *data*."""
        self._output += data
        self._write()

    def connectionLost(self, reason: Failure = Failure(Exception("closed"))) -> None:  # noqa: B008
        """Twisted calls this: the stream has ended; the socket is told in order."""
        self._ended = True
        self._write()

    # -- the socket's side

    def pauseProducing(self) -> None:
        """The stream's peer is slow."""
        self._slow = True
        self._attend()

    def resumeProducing(self) -> None:
        """The stream's peer takes more."""
        self._slow = False
        self._attend()

    def stopProducing(self) -> None:
        """The stream is over; `connectionLost` follows."""

    def closed(self) -> None:
        """The gateway has closed the connection."""
        if self._lease is not None:
            self._lease = None
            if not self._ended:
                self.transport.unregisterProducer()  # type: ignore[union-attr]
                self.transport.loseConnection()  # type: ignore[union-attr]

    def _attend(self) -> None:
        if self._lease is not None:
            mask = 0 if self._slow or self._ended else READ
            self._lease.want(mask | (WRITE if self._output else 0))

    def _ready(self, mask: int) -> None:
        if mask & (WRITE | TROUBLE) and self._output:
            self._write()
        if self._lease is not None and mask & (READ | TROUBLE):
            self._read()

    def _write(self) -> None:
        lease = self._lease
        if lease is None:
            return
        try:
            while self._output:
                self._output = self._output[lease.socket.send(self._output) :]
        except BlockingIOError:
            if not self._ended:
                self.transport.pauseProducing()  # type: ignore[union-attr]
            self._attend()
            return
        except OSError:
            lease.close()
            return
        if self._ended:
            lease.close()
            return
        self.transport.resumeProducing()  # type: ignore[union-attr]
        self._attend()

    def _read(self) -> None:
        assert self._lease is not None
        try:
            data = self._lease.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.transport.write(data)  # type: ignore[union-attr]
        else:
            self._lease.close()


class _Told:
    """Hears that the bridge's own socket is closed."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def connectionLost(self, reason: Failure) -> None:
        self._bridge.closed()
