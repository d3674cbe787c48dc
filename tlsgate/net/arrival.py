"""A connection of which only the first bytes have been looked at.

`Arrival` peeks: the bytes stay in the kernel until whoever takes the connection reads
them, so that nothing is lost at any split and nothing has to be replayed. A transport
without a socket of its own (an upgraded connection, a plug-in's) is bridged to one by
`net.bridge`, and arrives here like any other.

The peek must not spin. A socket whose bytes are left in it stays readable for ever, so on
TCP `SO_RCVLOWAT` asks the kernel for what is still lacking; and a wake-up that brings no
new byte means that none will come (FIN or reset): measured, seven bytes and a FIN otherwise
burn a whole core. On other sockets epoll does not heed `SO_RCVLOWAT`; there the watch is
edge-triggered, and the end is told by EPOLLRDHUP.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from tlsgate.interfaces import IArrival
from tlsgate.net.lease import Lease
from tlsgate.net.poller import READ, TROUBLE

#: No opening is longer; a ClientHello has its own, equal limit.
HEAD_BYTES: Final = 16 * 1024 + 5

_EDGE: Final = READ | select.EPOLLET | select.EPOLLRDHUP
_INTERNET: Final = (socket.AF_INET, socket.AF_INET6)


@implementer(IArrival)
class Arrival:
    """A lent socket whose first bytes are looked at.

    Args:
        lease: the socket.
        listener: the listener's name.
        hung_up: called when the client goes away before it has said enough.
    """

    __slots__ = ("_hung_up", "_seen", "_then", "lease", "listener", "lowered", "peer")

    def __init__(
        self,
        lease: Lease,
        listener: str,
        peer: IAddress,
        hung_up: Callable[[int], None],
    ) -> None:
        self.lease = lease
        self.listener = listener
        self.peer = peer
        self.lowered = False  #: SO_RCVLOWAT is not 1
        self._hung_up = hung_up
        self._seen = b""
        self._then: Callable[[], None] | None = None

    @property
    def local(self) -> IAddress:
        """See `IArrival.local`."""
        return self.lease.local()

    def head(self) -> bytes:
        """See `IArrival.head`; asks the kernel when nothing has been seen yet."""
        if not self._seen:
            try:
                self._seen = self.lease.socket.recv(HEAD_BYTES, socket.MSG_PEEK)
            except OSError:
                # Nothing yet; or broken, and then the wake-up tells.
                return b""
        return self._seen

    def more(self, lacks: int, then: Callable[[], None]) -> None:
        """See `IArrival.more`."""
        self._then = then
        seen = len(self._seen)
        self.lease.on_ready = self._ready
        if self.lease.socket.family not in _INTERNET:
            self.lease.want(_EDGE)
            return
        if seen + lacks > 1 or self.lowered:
            self._mark(min(seen + lacks, HEAD_BYTES))
        self.lease.want(READ)

    def consume(self, count: int) -> None:
        """See `IArrival.consume`."""
        if count:
            self.lease.socket.recv(count)
            self._seen = self._seen[count:]

    def write(self, data: bytes) -> None:
        """See `IArrival.write`; an answer is short, and the send buffer empty."""
        if data:
            try:
                self.lease.socket.send(data)
            except OSError:
                return  # the next look at the socket tells

    def take(self) -> Lease:
        """Give the socket as it is, with every byte that was seen still in it."""
        if self.lowered:
            self._mark(1)
        self.forget()
        return self.lease

    def forget(self) -> None:
        """Call nobody any more."""
        # Whom it calls holds the arrival: that cycle would wait for the collector (S57).
        self._then = None
        self._hung_up = _nobody
        self._seen = b""

    def _mark(self, low: int) -> None:
        self.lease.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low)
        self.lowered = low != 1

    def _ready(self, mask: int) -> None:
        before = len(self._seen)
        try:
            self._seen = self.lease.socket.recv(HEAD_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            self._hung_up(before)
            return
        then = self._then
        if len(self._seen) > before and then is not None:
            then()
        elif mask & (TROUBLE | select.EPOLLRDHUP) or self.lease.socket.family in _INTERNET:
            self._hung_up(before)


def _nobody(received: int) -> None:
    """Stand in for an owner that has moved on."""
